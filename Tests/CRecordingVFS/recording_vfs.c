#include "recording_vfs.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

static sqlite3_vfs *usual;
static sqlite3_vfs recording;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *directory;
static struct recorded_event *events;
static size_t event_count, event_room;
static char *names[64];
static int name_count;

struct recorded_file {
    sqlite3_file base;
    /// -1: not one of ours.
    int file;
    sqlite3_file *real;
};

// The caller holds the lock.
static int file_number(const char *path) {
    if (directory == NULL || path == NULL || strncmp(path, directory, strlen(directory)) != 0) return -1;
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    for (int i = 0; i < name_count; i++)
        if (strcmp(names[i], name) == 0) return i;
    if (name_count == 64) abort();
    names[name_count] = strdup(name);
    return name_count++;
}

static void note(int kind, int file, int64_t offset, int64_t size, const void *bytes) {
    if (file < 0) return;
    pthread_mutex_lock(&lock);
    if (directory != NULL) {
        if (event_count == event_room) {
            event_room = event_room == 0 ? 1024 : 2 * event_room;
            events = realloc(events, event_room * sizeof *events);
            if (events == NULL) abort();
        }
        unsigned char *copy = NULL;
        if (bytes != NULL) {
            copy = malloc((size_t)size);
            if (copy == NULL) abort();
            memcpy(copy, bytes, (size_t)size);
        }
        events[event_count++] = (struct recorded_event){kind, file, offset, size, copy};
    }
    pthread_mutex_unlock(&lock);
}

#define REAL(f) (((struct recorded_file *)(f))->real)
#define NUMBER(f) (((struct recorded_file *)(f))->file)
#define CALL(f, method, ...) REAL(f)->pMethods->method(REAL(f), ##__VA_ARGS__)

static int file_close(sqlite3_file *f) { return CALL(f, xClose); }
static int file_read(sqlite3_file *f, void *to, int n, sqlite3_int64 at) { return CALL(f, xRead, to, n, at); }
static int file_write(sqlite3_file *f, const void *from, int n, sqlite3_int64 at) {
    int code = CALL(f, xWrite, from, n, at);
    if (code == SQLITE_OK) note(recorded_write, NUMBER(f), at, n, from);
    return code;
}
static int file_truncate(sqlite3_file *f, sqlite3_int64 size) {
    int code = CALL(f, xTruncate, size);
    if (code == SQLITE_OK) note(recorded_truncate, NUMBER(f), 0, size, NULL);
    return code;
}
static int file_sync(sqlite3_file *f, int flags) {
    int code = CALL(f, xSync, flags);
    if (code == SQLITE_OK) note(recorded_sync, NUMBER(f), 0, 0, NULL);
    return code;
}
static int file_size(sqlite3_file *f, sqlite3_int64 *size) { return CALL(f, xFileSize, size); }
static int file_lock(sqlite3_file *f, int level) { return CALL(f, xLock, level); }
static int file_unlock(sqlite3_file *f, int level) { return CALL(f, xUnlock, level); }
static int file_reserved(sqlite3_file *f, int *out) { return CALL(f, xCheckReservedLock, out); }
static int file_control(sqlite3_file *f, int op, void *argument) { return CALL(f, xFileControl, op, argument); }
static int file_sector(sqlite3_file *f) { return CALL(f, xSectorSize); }
// No promises about the device: SQLite must then assume the worst that the test makes.
static int file_device(sqlite3_file *f) { (void)f; return 0; }
static int file_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **out) {
    return CALL(f, xShmMap, page, size, extend, out);
}
static int file_shm_lock(sqlite3_file *f, int at, int n, int flags) { return CALL(f, xShmLock, at, n, flags); }
static void file_shm_barrier(sqlite3_file *f) { CALL(f, xShmBarrier); }
static int file_shm_unmap(sqlite3_file *f, int delete) { return CALL(f, xShmUnmap, delete); }

// Version 2: without memory mapping, past which nothing could be written down.
static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_reserved,
    .xFileControl = file_control,
    .xSectorSize = file_sector,
    .xDeviceCharacteristics = file_device,
    .xShmMap = file_shm_map,
    .xShmLock = file_shm_lock,
    .xShmBarrier = file_shm_barrier,
    .xShmUnmap = file_shm_unmap,
};

static int vfs_open(sqlite3_vfs *vfs, sqlite3_filename path, sqlite3_file *f, int flags, int *out) {
    (void)vfs;
    struct recorded_file *file = (struct recorded_file *)f;
    int exists = 1;
    if (path != NULL) usual->xAccess(usual, path, SQLITE_ACCESS_EXISTS, &exists);
    file->real = (sqlite3_file *)(file + 1);
    file->base.pMethods = NULL;
    int code = usual->xOpen(usual, path, file->real, flags, out);
    if (file->real->pMethods != NULL) file->base.pMethods = &methods;
    pthread_mutex_lock(&lock);
    file->file = file_number(path);
    pthread_mutex_unlock(&lock);
    if (code == SQLITE_OK && !exists) note(recorded_create, file->file, 0, 0, NULL);
    return code;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *path, int sync) {
    (void)vfs;
    int code = usual->xDelete(usual, path, sync);
    if (code == SQLITE_OK) {
        pthread_mutex_lock(&lock);
        int file = file_number(path);
        pthread_mutex_unlock(&lock);
        note(recorded_delete, file, 0, 0, NULL);
    }
    return code;
}

int recording_install(void) {
    if (usual != NULL) return SQLITE_OK;
    usual = sqlite3_vfs_find(NULL);
    if (usual == NULL) return SQLITE_ERROR;
    // All that is not about files is the usual one's, which finds itself by its own name and data.
    recording = *usual;
    recording.szOsFile = (int)sizeof(struct recorded_file) + usual->szOsFile;
    recording.zName = "recording";
    recording.pNext = NULL;
    recording.xOpen = vfs_open;
    recording.xDelete = vfs_delete;
    return sqlite3_vfs_register(&recording, 1);
}

void recording_begin(const char *path) {
    recording_end();
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < event_count; i++) free((void *)events[i].bytes);
    for (int i = 0; i < name_count; i++) free(names[i]);
    event_count = 0;
    name_count = 0;
    directory = strdup(path);
    pthread_mutex_unlock(&lock);
}

void recording_end(void) {
    pthread_mutex_lock(&lock);
    free(directory);
    directory = NULL;
    pthread_mutex_unlock(&lock);
}

size_t recording_count(void) {
    pthread_mutex_lock(&lock);
    size_t count = event_count;
    pthread_mutex_unlock(&lock);
    return count;
}

struct recorded_event recording_event(size_t index) {
    pthread_mutex_lock(&lock);
    struct recorded_event event = events[index];
    pthread_mutex_unlock(&lock);
    return event;
}

const char *recording_name(int file) { return names[file]; }
