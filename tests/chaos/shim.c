/* Preloaded into a process that shall be struck: counts its calls that change files below a folder, and acts at one of them.

The plan is a page of shared memory (tests/chaos/shim.py has the same layout), so one preloaded process and all of its children follow it, and
the count goes on over all of them. A call counts if it changes a file below `root`: opened for writing, written to, flushed, renamed, removed,
made. Other processes' files, the console and pipes are never touched. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { NOTHING, KILL_BEFORE, KILL_AFTER, KILL_HALFWAY, FAIL_ONCE, FAIL_ON };

struct plan {
  int32_t action;
  int32_t error;            /* errno of FAIL_ONCE and FAIL_ON */
  _Atomic int64_t at;       /* the call that is struck, counted from 1; 0: none */
  _Atomic int64_t seen;     /* calls so far */
  _Atomic int64_t fired;    /* calls that were struck */
  _Atomic int64_t clock_s;  /* what the wall clock is wrong by */
  char root[PATH_MAX];
};

static struct plan *plan;

__attribute__((constructor)) static void attach(void) {
  const char *path = getenv("CHAOS_PLAN");
  int file = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;
  if (file < 0) return;
  void *page = mmap(NULL, sizeof(struct plan), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (page != MAP_FAILED) plan = page;
  syscall(SYS_close, file);
}

static int below(const char *path) {
  size_t length = strlen(plan->root);
  return length && !strncmp(path, plan->root, length) && (path[length] == '/' || !path[length]);
}

static int names_ours(int folder, const char *path) {
  char whole[2 * PATH_MAX + 2];
  if (!plan || !plan->root[0] || !path) return 0;
  if (path[0] == '/') return below(path);
  if (folder == AT_FDCWD) {
    if (syscall(SYS_getcwd, whole, PATH_MAX) < 0) return 0;
  } else {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, whole, PATH_MAX - 1);
    if (length < 0) return 0;
    whole[length] = 0;
  }
  size_t length = strlen(whole);
  whole[length] = '/';
  strncpy(whole + length + 1, path, PATH_MAX);
  return below(whole);
}

static int holds_ours(int file) {
  char link[64], path[PATH_MAX];
  if (!plan || !plan->root[0] || file < 0) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return below(path);
}

/* What happens at this call: 0 nothing, else an errno, or -1: kill after it, or -2: kill in the middle of it. */
static int strike(int frees_space) {
  int64_t now = atomic_fetch_add(&plan->seen, 1) + 1, at = atomic_load(&plan->at);
  if (!at || now < at || (now > at && plan->action != FAIL_ON)) return 0;
  if (plan->action == FAIL_ON && frees_space && plan->error != EROFS) return 0;
  atomic_fetch_add(&plan->fired, 1);
  switch (plan->action) {
    case KILL_BEFORE: syscall(SYS_kill, getpid(), SIGKILL); return 0;
    case KILL_AFTER: return -1;
    case KILL_HALFWAY: return -2;
    case FAIL_ONCE: case FAIL_ON: return plan->error;
  }
  return 0;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define STRUCK(ours, frees, call)                          \
  int happens = (ours) ? strike(frees) : 0;                \
  if (happens > 0) { errno = happens; return -1; }         \
  __typeof__(call) result = (call);                        \
  if (happens < 0) syscall(SYS_kill, getpid(), SIGKILL);   \
  return result

/* Half of what was to be written, then the end: what a power cut leaves. */
#define STRUCK_WRITE(file, half, call)                                                \
  int happens = holds_ours(file) ? strike(0) : 0;                                     \
  if (happens > 0) { errno = happens; return -1; }                                    \
  if (happens == -2) { (void)!(half); syscall(SYS_kill, getpid(), SIGKILL); }         \
  ssize_t result = (call);                                                            \
  if (happens == -1) syscall(SYS_kill, getpid(), SIGKILL);                            \
  return result

static int changes(int flags) { return (flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT); }

#define MODE(flags, mode)                                      \
  mode_t mode = 0;                                             \
  if ((flags) & (O_CREAT | O_TMPFILE)) {                       \
    va_list list;                                              \
    va_start(list, flags);                                     \
    mode = va_arg(list, mode_t);                               \
    va_end(list);                                              \
  }

int open(const char *path, int flags, ...) { MODE(flags, mode) STRUCK(changes(flags) && names_ours(AT_FDCWD, path), 0, REAL(open)(path, flags, mode)); }
int open64(const char *path, int flags, ...) { MODE(flags, mode) STRUCK(changes(flags) && names_ours(AT_FDCWD, path), 0, REAL(open64)(path, flags, mode)); }
int openat(int at, const char *path, int flags, ...) { MODE(flags, mode) STRUCK(changes(flags) && names_ours(at, path), 0, REAL(openat)(at, path, flags, mode)); }
int openat64(int at, const char *path, int flags, ...) { MODE(flags, mode) STRUCK(changes(flags) && names_ours(at, path), 0, REAL(openat64)(at, path, flags, mode)); }
ssize_t write(int file, const void *data, size_t size) { STRUCK_WRITE(file, REAL(write)(file, data, size / 2), REAL(write)(file, data, size)); }
ssize_t pwrite(int file, const void *data, size_t size, off_t place) { STRUCK_WRITE(file, REAL(pwrite)(file, data, size / 2, place), REAL(pwrite)(file, data, size, place)); }
ssize_t pwrite64(int file, const void *data, size_t size, off_t place) { STRUCK_WRITE(file, REAL(pwrite64)(file, data, size / 2, place), REAL(pwrite64)(file, data, size, place)); }
ssize_t writev(int file, const struct iovec *pieces, int count) { STRUCK_WRITE(file, REAL(writev)(file, pieces, count / 2), REAL(writev)(file, pieces, count)); }
ssize_t sendfile(int to, int from, off_t *place, size_t size) { STRUCK_WRITE(to, 0, REAL(sendfile)(to, from, place, size)); }
ssize_t sendfile64(int to, int from, off_t *place, size_t size) { STRUCK_WRITE(to, 0, REAL(sendfile64)(to, from, place, size)); }
ssize_t copy_file_range(int from, off64_t *a, int to, off64_t *b, size_t size, unsigned flags) { STRUCK_WRITE(to, 0, REAL(copy_file_range)(from, a, to, b, size, flags)); }
int fsync(int file) { STRUCK(holds_ours(file), 0, REAL(fsync)(file)); }
int fdatasync(int file) { STRUCK(holds_ours(file), 0, REAL(fdatasync)(file)); }
int ftruncate(int file, off_t size) { STRUCK(holds_ours(file), 0, REAL(ftruncate)(file, size)); }
int ftruncate64(int file, off64_t size) { STRUCK(holds_ours(file), 0, REAL(ftruncate64)(file, size)); }
int rename(const char *old, const char *new) { STRUCK(names_ours(AT_FDCWD, new), 1, REAL(rename)(old, new)); }
int renameat(int a, const char *old, int b, const char *new) { STRUCK(names_ours(b, new), 1, REAL(renameat)(a, old, b, new)); }
int unlink(const char *path) { STRUCK(names_ours(AT_FDCWD, path), 1, REAL(unlink)(path)); }
int unlinkat(int at, const char *path, int flags) { STRUCK(names_ours(at, path), 1, REAL(unlinkat)(at, path, flags)); }
int rmdir(const char *path) { STRUCK(names_ours(AT_FDCWD, path), 1, REAL(rmdir)(path)); }
int mkdir(const char *path, mode_t mode) { STRUCK(names_ours(AT_FDCWD, path), 0, REAL(mkdir)(path, mode)); }
int mkdirat(int at, const char *path, mode_t mode) { STRUCK(names_ours(at, path), 0, REAL(mkdirat)(at, path, mode)); }
int link(const char *old, const char *new) { STRUCK(names_ours(AT_FDCWD, new), 0, REAL(link)(old, new)); }
int linkat(int a, const char *old, int b, const char *new, int flags) { STRUCK(names_ours(b, new), 0, REAL(linkat)(a, old, b, new, flags)); }
int symlink(const char *target, const char *path) { STRUCK(names_ours(AT_FDCWD, path), 0, REAL(symlink)(target, path)); }

/* A wall clock that jumps. The monotonic clock stays, as it does where an administrator sets the time. */
int clock_gettime(clockid_t clock, struct timespec *now) {
  int result = REAL(clock_gettime)(clock, now);
  if (plan && clock == CLOCK_REALTIME && !result) now->tv_sec += atomic_load(&plan->clock_s);
  return result;
}
