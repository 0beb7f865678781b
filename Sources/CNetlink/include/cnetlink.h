// Netlink as Swift needs it: a socket, the kernel's numbers, and the namespace of a thread. Messages are made and read in
// Swift, as bytes; no C struct crosses this border.
#ifndef CNETLINK_H
#define CNETLINK_H

#include <stdint.h>
#include <sys/types.h>

#include <linux/fib_rules.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

// A socket bound to the caller's network namespace. FAMILY is NETLINK_ROUTE or NETLINK_NETFILTER; GROUPS a mask of
// multicast groups. Answers to a dump are restricted to what it asked for where the kernel can, and errors come with the
// kernel's words. Returns the descriptor or -errno.
int cnetlink_open(int family, uint32_t groups);
// Sends one buffer to the kernel. Returns 0 or -errno.
int cnetlink_send(int descriptor, const uint8_t *bytes, size_t count);
// Waits at most MILLISECONDS for a datagram. Returns its length, which may be more than CAPACITY (then it is cut), 0 when
// the time is over, or -errno.
ssize_t cnetlink_receive(int descriptor, uint8_t *bytes, size_t capacity, int milliseconds);
void cnetlink_close(int descriptor);
// Takes the calling thread into the network namespace that PATH names. Returns 0 or -errno.
int cnetlink_enter(const char *path);
// Reads a small file, such as one under /proc/sys, into BYTES. Returns its length or -errno.
ssize_t cnetlink_read_file(const char *path, char *bytes, size_t capacity);
// Writes a small file in one call. Returns 0 or -errno.
int cnetlink_write_file(const char *path, const char *bytes, size_t count);
// Runs a program with nothing to read and nowhere to write, in the namespace of the calling thread, and waits for its end.
// ARGUMENTS end with NULL. Returns its exit status, 128 and the signal that ended it, or -errno.
int cnetlink_run(const char *path, char *const arguments[]);
// What an errno says, as a string that lives for ever.
const char *cnetlink_words(int error);

#endif
