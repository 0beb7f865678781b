// A SQLite VFS that passes everything on to the usual one and writes down what reaches the files of one directory, and
// when it was synced: from that a test makes what a power cut at any moment would leave. For tests only.
#ifndef RECORDING_VFS_H
#define RECORDING_VFS_H

#include <stddef.h>
#include <stdint.h>

enum recorded_kind { recorded_create = 1, recorded_write, recorded_truncate, recorded_sync, recorded_delete };

struct recorded_event {
    int kind;
    /// Which file; see `recording_name`.
    int file;
    int64_t offset;
    /// Of a write: its bytes. Of a truncation: the new size.
    int64_t size;
    const unsigned char *bytes;
};

/// Makes it the default of this process; once. Until `recording_begin` nothing is written down.
/// Returns 0, or SQLite's code.
int recording_install(void);

/// Forgets what was written down, and begins anew with files whose path begins with `directory`.
void recording_begin(const char *directory);
void recording_end(void);

size_t recording_count(void);
struct recorded_event recording_event(size_t index);
/// The last part of the file's path.
const char *recording_name(int file);

#endif
