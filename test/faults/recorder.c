/*
 * Preloaded into jobq's processes: what they do to the files below RECORD_ROOT, and what they say, goes into the file
 * RECORD_LOG, each as one appended record, in the order in which it was done.
 *
 * A record follows what it tells of, but for the beginning of a sync, which comes before. So what a sync makes durable is
 * exactly what stands before its beginning, and what one process does after another's lock is gone stands after what that
 * one did. A -shm is not recorded: nothing of it outlives a power cut. What this library does not know how to tell
 * (KIND_UNKNOWN) makes a test fail.
 *
 * RECORD_SAYS: what it says on its stdout and stderr is recorded, too, and under this name.
 * RECORD_ROOM: in a -wal nothing is written beyond so many bytes, as where the disk is full.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
  KIND_OPENED = 'o',
  KIND_WRITTEN = 'w',
  KIND_TRUNCATED = 't',
  KIND_SYNCING = 's',
  KIND_SYNCED = 'S',
  KIND_UNLINKED = 'u',
  KIND_RENAMED = 'r',
  KIND_FOLDER_MADE = 'm',
  KIND_SAID = 'a',
  KIND_UNKNOWN = '!',
};

/* recording.ts reads it */
struct header {
  uint32_t bytes; /* of all of the record */
  uint32_t thread;
  uint64_t inode;
  uint64_t offset; /* or the length of what was cut, or the descriptor of what was said */
  uint32_t name_bytes;
  uint32_t kind;
};

#define REAL(name) (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define MOST_FDS 4096

static const char *root;
static size_t root_length;
static long long room = -1;
static const char *says; /* under which name */
static int log_fd = -1;
static dev_t root_device;
/* The inode of what is recorded, by its descriptor; 0: nothing is. Checked with each use: a number may have been closed. */
static ino_t inodes[MOST_FDS];
/* Is it a -wal? */
static char is_wal[MOST_FDS];

__attribute__((constructor)) static void begin(void) {
  const char *log = getenv("RECORD_LOG"), *limit = getenv("RECORD_ROOM");
  struct stat stat_;
  root = getenv("RECORD_ROOT");
  if (!root || !log || stat(root, &stat_)) return;
  root_length = strlen(root);
  root_device = stat_.st_dev;
  if (limit) room = atoll(limit);
  says = getenv("RECORD_SAYS");
  int low = (REAL(open64))(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  log_fd = fcntl(low, F_DUPFD_CLOEXEC, 1000); /* out of the way of those who close what they don't know */
  if (log_fd < 0) log_fd = low;
  else close(low);
}

static void record(uint32_t kind, ino_t inode, uint64_t offset, const char *name, const void *data, size_t bytes) {
  if (log_fd < 0) return;
  int before = errno;
  size_t name_bytes = name ? strlen(name) : 0;
  struct header head = {(uint32_t)(sizeof head + name_bytes + bytes), (uint32_t)gettid(), inode, offset,
                        (uint32_t)name_bytes, kind};
  struct iovec parts[] = {{&head, sizeof head}, {(void *)name, name_bytes}, {(void *)data, bytes}};
  if ((REAL(writev))(log_fd, parts, 3) != (ssize_t)head.bytes) abort();
  errno = before;
}

/* Where a path lies below the root; NULL: elsewhere, or a -shm. */
static const char *below(const char *path) {
  static __thread char absolute[2 * PATH_MAX];
  if (!path || log_fd < 0) return NULL;
  if (path[0] != '/') {
    char here[PATH_MAX];
    if (!getcwd(here, sizeof here)) return NULL;
    int length = strlen(here);
    if (length + strlen(path) + 2 > sizeof absolute) return NULL;
    memcpy(absolute, here, length);
    absolute[length] = '/';
    strcpy(absolute + length + 1, path);
    path = absolute;
  }
  if (strncmp(path, root, root_length) || (path[root_length] && path[root_length] != '/')) return NULL;
  size_t length = strlen(path);
  if (length > 4 && !strcmp(path + length - 4, "-shm")) return NULL;
  return path[root_length] ? path + root_length + 1 : ".";
}

static ino_t inode_at(const char *path) {
  struct stat found;
  return lstat(path, &found) ? 0 : found.st_ino;
}

/* 0 if nothing of this descriptor is recorded. */
static ino_t inode_of(int fd) {
  struct stat found;
  if (fd < 0 || fd >= MOST_FDS || !inodes[fd]) return 0;
  int before = errno;
  int is_it = !fstat(fd, &found) && found.st_ino == inodes[fd] && found.st_dev == root_device;
  errno = before;
  return is_it ? inodes[fd] : 0;
}

static int opened(int fd, const char *path, int flags) {
  const char *name = fd < 0 || fd >= MOST_FDS ? NULL : below(path);
  struct stat found;
  if (!name || fstat(fd, &found)) return fd;
  size_t length = strlen(name);
  inodes[fd] = found.st_ino;
  is_wal[fd] = length > 4 && !strcmp(name + length - 4, "-wal");
  if (S_ISREG(found.st_mode)) record(KIND_OPENED, found.st_ino, 0, name, NULL, 0);
  if (S_ISREG(found.st_mode) && (flags & O_TRUNC)) record(KIND_TRUNCATED, found.st_ino, 0, NULL, NULL, 0);
  return fd;
}

static void written(int fd, ssize_t done, const void *data, off64_t offset) {
  ino_t inode = done > 0 ? inode_of(fd) : 0;
  if (inode) record(KIND_WRITTEN, inode, offset, NULL, data, done);
  else if (done > 0 && says && (fd == 1 || fd == 2)) record(KIND_SAID, 0, fd, says, data, done);
}

static void unknown(int fd, const char *call) {
  if (inode_of(fd)) record(KIND_UNKNOWN, 0, 0, call, NULL, 0);
}

static int has_no_room(int fd, uint64_t end) {
  if (room < 0 || fd < 0 || fd >= MOST_FDS || !is_wal[fd] || end <= (uint64_t)room || !inode_of(fd)) return 0;
  errno = ENOSPC;
  return 1;
}

#define MODE(flags)                              \
  mode_t mode = 0;                               \
  if ((flags) & (O_CREAT | O_TMPFILE)) {         \
    va_list rest;                                \
    va_start(rest, flags);                       \
    mode = va_arg(rest, mode_t);                 \
    va_end(rest);                                \
  }
#define OPEN(name)                                          \
  int name(const char *path, int flags, ...) {              \
    MODE(flags)                                             \
    return opened((REAL(name))(path, flags, mode), path, flags); \
  }
OPEN(open)
OPEN(open64)

#define PWRITE(name, offset_type)                                             \
  ssize_t name(int fd, const void *data, size_t bytes, offset_type offset) {  \
    if (has_no_room(fd, offset + bytes)) return -1;                           \
    ssize_t done = (REAL(name))(fd, data, bytes, offset);                     \
    written(fd, done, data, offset);                                          \
    return done;                                                              \
  }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t write(int fd, const void *data, size_t bytes) {
  off64_t at = inode_of(fd) ? lseek64(fd, 0, SEEK_CUR) : 0;
  if (has_no_room(fd, at + bytes)) return -1;
  ssize_t done = (REAL(write))(fd, data, bytes);
  written(fd, done, data, at);
  return done;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  ssize_t done = (REAL(writev))(fd, parts, count), left = done;
  if (done > 0) unknown(fd, "writev");
  for (int i = 0; i < count && left > 0 && !inode_of(fd); left -= parts[i++].iov_len)
    written(fd, (size_t)left < parts[i].iov_len ? left : (ssize_t)parts[i].iov_len, parts[i].iov_base, 0);
  return done;
}

#define TRUNCATE(name, offset_type)                                                     \
  int name(int fd, offset_type length) {                                                \
    int failed = (REAL(name))(fd, length);                                              \
    ino_t inode = failed ? 0 : inode_of(fd);                                            \
    if (inode) record(KIND_TRUNCATED, inode, length, NULL, NULL, 0);                    \
    return failed;                                                                      \
  }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

#define SYNC(name)                                                \
  int name(int fd) {                                              \
    ino_t inode = inode_of(fd);                                   \
    if (inode) record(KIND_SYNCING, inode, 0, NULL, NULL, 0);     \
    int failed = (REAL(name))(fd);                                \
    if (inode && !failed) record(KIND_SYNCED, inode, 0, NULL, NULL, 0); \
    return failed;                                                \
  }
SYNC(fsync)
SYNC(fdatasync)

int unlink(const char *path) {
  const char *name = below(path);
  ino_t inode = name ? inode_at(path) : 0;
  int failed = (REAL(unlink))(path);
  if (name && !failed) record(KIND_UNLINKED, inode, 0, name, NULL, 0);
  return failed;
}

/* The name's data is the new name. */
int rename(const char *from, const char *to) {
  char new_name[PATH_MAX] = "";
  const char *name = below(to);
  if (name) strncpy(new_name, name, sizeof new_name - 1);
  name = below(from);
  ino_t inode = inode_at(from);
  int failed = (REAL(rename))(from, to);
  if (!failed && (name || *new_name))
    record(name && *new_name ? KIND_RENAMED : KIND_UNKNOWN, inode, 0, name ? name : "rename", new_name,
           strlen(new_name));
  return failed;
}

int mkdir(const char *path, mode_t mode) {
  int failed = (REAL(mkdir))(path, mode);
  const char *name = failed ? NULL : below(path);
  if (name) record(KIND_FOLDER_MADE, inode_at(path), 0, name, NULL, 0);
  return failed;
}

/* What is not expected of SQLite, nor of jobq: to be told, should that change. */
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
  unknown(fd, "pwritev");
  return (REAL(pwritev))(fd, parts, count, offset);
}

int truncate(const char *path, off_t length) {
  if (below(path)) record(KIND_UNKNOWN, 0, 0, "truncate", NULL, 0);
  return (REAL(truncate))(path, length);
}

int link(const char *from, const char *to) {
  if (below(from) || below(to)) record(KIND_UNKNOWN, 0, 0, "link", NULL, 0);
  return (REAL(link))(from, to);
}

void *mmap64(void *at, size_t bytes, int protection, int flags, int fd, off64_t offset) {
  if ((flags & MAP_SHARED) && (protection & PROT_WRITE)) unknown(fd, "mmap");
  return (REAL(mmap64))(at, bytes, protection, flags, fd, offset);
}
