#define _GNU_SOURCE
#include "cnetlink.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

int cnetlink_open(int family, uint32_t groups) {
    int descriptor = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, family);
    if (descriptor < 0) return -errno;
    int on = 1, room = 4 << 20;
    // Older kernels know neither; they answer more than was asked, and without words.
    setsockopt(descriptor, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
    setsockopt(descriptor, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
    setsockopt(descriptor, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof on);
    setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
    struct sockaddr_nl self = {.nl_family = AF_NETLINK, .nl_groups = groups};
    if (bind(descriptor, (struct sockaddr *)&self, sizeof self) < 0) {
        int error = errno;
        close(descriptor);
        return -error;
    }
    return descriptor;
}

int cnetlink_send(int descriptor, const uint8_t *bytes, size_t count) {
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    ssize_t sent;
    do sent = sendto(descriptor, bytes, count, 0, (struct sockaddr *)&kernel, sizeof kernel);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

ssize_t cnetlink_receive(int descriptor, uint8_t *bytes, size_t capacity, int milliseconds) {
    struct pollfd waiting = {.fd = descriptor, .events = POLLIN};
    int ready;
    do ready = poll(&waiting, 1, milliseconds);
    while (ready < 0 && errno == EINTR);
    if (ready < 0) return -errno;
    if (ready == 0) return 0;
    ssize_t received;
    do received = recv(descriptor, bytes, capacity, MSG_TRUNC);
    while (received < 0 && errno == EINTR);
    return received < 0 ? -errno : received;
}

void cnetlink_close(int descriptor) { close(descriptor); }

int cnetlink_enter(const char *path) {
    int namespace = open(path, O_RDONLY | O_CLOEXEC);
    if (namespace < 0) return -errno;
    int result = setns(namespace, CLONE_NEWNET) ? -errno : 0;
    close(namespace);
    return result;
}

ssize_t cnetlink_read_file(const char *path, char *bytes, size_t capacity) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return -errno;
    ssize_t count = read(file, bytes, capacity);
    if (count < 0) count = -errno;
    close(file);
    return count;
}

int cnetlink_write_file(const char *path, const char *bytes, size_t count) {
    int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0) return -errno;
    ssize_t written = write(file, bytes, count);
    int result = written < 0 ? -errno : 0;
    close(file);
    return result;
}

int cnetlink_run(const char *path, char *const arguments[]) {
    char *environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    for (int descriptor = 0; descriptor < 3; descriptor++)
        posix_spawn_file_actions_addopen(&actions, descriptor, "/dev/null", O_RDWR, 0);
    pid_t child;
    int error = posix_spawn(&child, path, &actions, NULL, arguments, environment);
    posix_spawn_file_actions_destroy(&actions);
    if (error) return -error;
    int status;
    pid_t ended;
    do ended = waitpid(child, &status, 0);
    while (ended < 0 && errno == EINTR);
    if (ended < 0) return -errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

const char *cnetlink_words(int error) {
    const char *words = strerrordesc_np(error);
    return words ? words : "unknown error";
}
