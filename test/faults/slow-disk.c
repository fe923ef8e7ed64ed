/* A disk that is slow to flush: preloaded, it makes each fsync and fdatasync take SYNC_MS milliseconds longer, and writes a byte for each into SYNC_COUNT. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static void held_up(void) {
  const char *ms = getenv("SYNC_MS"), *path = getenv("SYNC_COUNT");
  if (ms) usleep(atoi(ms) * 1000);
  int fd = path ? open(path, O_WRONLY | O_APPEND | O_CLOEXEC) : -1;
  if (fd < 0) return;
  if (write(fd, ".", 1) < 0) _exit(1);
  close(fd);
}

int fsync(int fd) {
  held_up();
  return syscall(SYS_fsync, fd);
}

int fdatasync(int fd) {
  held_up();
  return syscall(SYS_fdatasync, fd);
}
