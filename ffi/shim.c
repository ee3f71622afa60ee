// SPDX-License-Identifier: Apache-2.0
// The system calls that Deno has no API for. One call, or one pair that must be one, per function; every function
// returns the call's value or -errno. No threads, no globals, no policy: that lives in TypeScript.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/can.h>
#include <linux/can/raw.h>
#include <linux/i2c-dev.h>
#include <linux/i2c.h>
#include <linux/magic.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/vfs.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define RESULT(call)            \
  ({                            \
    long r_ = (long)(call);     \
    r_ < 0 ? (long)-errno : r_; \
  })

// The kernel carries at most 253 descriptors in one message (SCM_MAX_FD).
enum { MAX_FDS = 32, MAX_RECEIVED = 253, MAX_EVENTS = 64 };

// ---- descriptors ----

EXPORT int32_t viola_open(const char *path, int32_t flags) { return RESULT(open(path, flags | O_CLOEXEC, 0600)); }

EXPORT int32_t viola_close(int32_t fd) { return RESULT(close(fd)); }

EXPORT int32_t viola_dup(int32_t fd) { return RESULT(fcntl(fd, F_DUPFD_CLOEXEC, 3)); }

EXPORT int32_t viola_read(int32_t fd, uint8_t *buffer, uint32_t offset, uint32_t length) {
  return RESULT(read(fd, buffer + offset, length));
}

EXPORT int32_t viola_write(int32_t fd, const uint8_t *buffer, uint32_t offset, uint32_t length) {
  return RESULT(write(fd, buffer + offset, length));
}

// A lock (flock) until this open file is closed; -EAGAIN when another process has it.
EXPORT int32_t viola_flock(int32_t fd) { return RESULT(flock(fd, LOCK_EX | LOCK_NB)); }

// The link's target, not terminated.
EXPORT int32_t viola_readlink(const char *path, char *buffer, uint32_t length) {
  return RESULT(readlink(path, buffer, length));
}

// Fills `entries` with linux_dirent64 records; 0 at the end of the folder.
EXPORT int32_t viola_getdents(int32_t fd, uint8_t *entries, uint32_t length) {
  return RESULT(syscall(SYS_getdents64, fd, entries, length));
}

// The file's size. Unlike fstat(2) it does not wait for a file system's server, unlike lseek(2) not for a thread of a peer
// that is using the file's position.
EXPORT double viola_size(int32_t fd) {
  struct statx file;
  int result = statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_SIZE, &file);
  return result < 0 ? -errno : (double)file.stx_size;
}

EXPORT int32_t viola_ioctl(int32_t fd, uint32_t request, void *argument) {
  return RESULT(ioctl(fd, (unsigned long)request, argument));
}

// fds[0] reads what fds[1] writes.
EXPORT int32_t viola_pipe(int32_t *fds) { return RESULT(pipe2(fds, O_CLOEXEC)); }

EXPORT int32_t viola_set_nonblocking(int32_t fd, int32_t on) {
  int flags = fcntl(fd, F_GETFL);
  return flags < 0 ? -errno : RESULT(fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK));
}

// ---- eventfd, timerfd, clock ----

EXPORT int32_t viola_eventfd(uint32_t initial, int32_t nonblocking) {
  return RESULT(eventfd(initial, EFD_CLOEXEC | (nonblocking ? EFD_NONBLOCK : 0)));
}

EXPORT int32_t viola_eventfd_signal(int32_t fd) {
  uint64_t one = 1;
  return RESULT(write(fd, &one, sizeof one));
}

// Returns the count, limited to 31 bits, and sets it to 0.
EXPORT int32_t viola_eventfd_take(int32_t fd) {
  uint64_t count;
  if (read(fd, &count, sizeof count) < 0) return -errno;
  return count > INT32_MAX ? INT32_MAX : (int32_t)count;
}

// A context for asynchronous reads, for one thread: its address, or -errno.
EXPORT double viola_aio_setup(void) {
  aio_context_t context = 0;
  return syscall(SYS_io_setup, 1, &context) < 0 ? -errno : (double)context;
}

EXPORT int32_t viola_aio_destroy(double context) { return RESULT(syscall(SYS_io_destroy, (aio_context_t)context)); }

// Signals an eventfd without ever blocking, full or not. A write blocks unless O_NONBLOCK is set, which all holders of the
// eventfd share and can clear; but the kernel signals it by itself at the end of a read that names it: here of no bytes of
// /dev/null.
EXPORT int32_t viola_aio_signal(double context, int32_t null, int32_t fd) {
  // The head of the ring that the address points to, as the kernel lays it out for libaio.
  struct { uint32_t id, nr, head, tail; } *completions = (void *)(uintptr_t)context;
  struct iocb read = {.aio_lio_opcode = IOCB_CMD_PREAD, .aio_fildes = null,
                      .aio_flags = IOCB_FLAG_RESFD, .aio_resfd = fd};
  struct iocb *reads[] = {&read};
  long submitted = syscall(SYS_io_submit, (aio_context_t)context, 1, reads);
  if (submitted < 0) return -errno;
  __atomic_store_n(&completions->head, __atomic_load_n(&completions->tail, __ATOMIC_ACQUIRE), __ATOMIC_RELEASE);
  return 0;
}

EXPORT int32_t viola_timerfd(void) { return RESULT(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)); }

// One expiry at `ns` on the monotonic clock; 0 disarms.
EXPORT int32_t viola_timerfd_set(int32_t fd, double ns) {
  int64_t t = (int64_t)ns;
  struct itimerspec spec = {.it_value = {.tv_sec = t / 1000000000, .tv_nsec = t % 1000000000}};
  return RESULT(timerfd_settime(fd, TFD_TIMER_ABSTIME, &spec, NULL));
}

EXPORT double viola_monotonic_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

// ---- memory ----

// Sealed against shrinking: a process that has it mapped would be killed at its next access beyond the new end.
EXPORT int32_t viola_memfd(const char *name, double size) {
  int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return -errno;
  if (ftruncate(fd, (off_t)size) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
    return fd;
  int error = errno;
  close(fd);
  return -error;
}

// A shared mapping that no fork copies: AGL's driver deletes its own entry for a mapping as soon as any copy of it closes.
EXPORT int64_t viola_mmap(int32_t fd, double length, double offset) {
  void *address = mmap(NULL, (size_t)length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);
  if (address == MAP_FAILED) return -errno;
  if (madvise(address, (size_t)length, MADV_DONTFORK) == 0) return (int64_t)(uintptr_t)address;
  int error = errno;
  munmap(address, (size_t)length);
  return -error;
}

EXPORT int32_t viola_munmap(uint64_t address, double length) {
  return RESULT(munmap((void *)(uintptr_t)address, (size_t)length));
}

// The seals (F_SEAL_*) of a file in memory; -EINVAL of any other file. Never blocks.
EXPORT int32_t viola_seals(int32_t fd) { return RESULT(fcntl(fd, F_GET_SEALS)); }

// Page size of a file: offsets and lengths of its mappings are multiples of it.
EXPORT int32_t viola_file_page_size(int32_t fd) {
  struct statfs system;
  if (fcntl(fd, F_GET_SEALS) < 0) return RESULT(sysconf(_SC_PAGESIZE)); // no file in memory: fstatfs could block
  if (fstatfs(fd, &system) < 0) return -errno;
  return system.f_type == HUGETLBFS_MAGIC ? (int32_t)system.f_bsize : RESULT(sysconf(_SC_PAGESIZE));
}

EXPORT int32_t viola_page_size(void) { return RESULT(sysconf(_SC_PAGESIZE)); }

// ---- epoll ----

EXPORT int32_t viola_epoll(void) { return RESULT(epoll_create1(EPOLL_CLOEXEC)); }

EXPORT int32_t viola_epoll_ctl(int32_t epoll, int32_t operation, int32_t fd, uint32_t events, uint32_t key) {
  struct epoll_event event = {.events = events, .data.u32 = key};
  return RESULT(epoll_ctl(epoll, operation, fd, &event));
}

// Fills `out` with pairs { key, events }: the kernel's own struct has another layout on each architecture.
EXPORT int32_t viola_epoll_wait(int32_t epoll, uint32_t *out, int32_t max, int32_t timeout_ms) {
  struct epoll_event events[MAX_EVENTS];
  int n = epoll_wait(epoll, events, max < MAX_EVENTS ? max : MAX_EVENTS, timeout_ms);
  if (n < 0) return errno == EINTR ? 0 : -errno;
  for (int i = 0; i < n; i++) {
    out[2 * i] = events[i].data.u32;
    out[2 * i + 1] = events[i].events;
  }
  return n;
}

// ---- Unix stream sockets ----

// The address's length, or -errno. A path that begins with '@' is an abstract address (unix(7)).
static int address_of(struct sockaddr_un *address, const char *path) {
  size_t length = strlen(path);
  if (length >= sizeof address->sun_path) return -ENAMETOOLONG;
  memset(address, 0, sizeof *address);
  address->sun_family = AF_UNIX;
  memcpy(address->sun_path, path, length);
  if (path[0] != '@') return sizeof *address;
  address->sun_path[0] = 0;
  return (int)(offsetof(struct sockaddr_un, sun_path) + length);
}

// Keeps out-of-band bytes in the stream. The kernel drops them otherwise, and closes the descriptors that came with them in
// this thread.
static int32_t inline_urgent(int fd) {
  int on = 1;
  if (fd < 0) return -errno;
  setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on);
  return fd;
}

EXPORT int32_t viola_unix_socket(void) {
  return inline_urgent(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

EXPORT int32_t viola_unix_datagram(void) {
  return RESULT(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

EXPORT int32_t viola_unix_connect(int32_t fd, const char *path) {
  struct sockaddr_un address;
  int length = address_of(&address, path);
  return length < 0 ? length : RESULT(connect(fd, (struct sockaddr *)&address, (socklen_t)length));
}

// Called before bind, so that the socket file never has a wider mode than this.
EXPORT int32_t viola_fchmod(int32_t fd, uint32_t mode) { return RESULT(fchmod(fd, (mode_t)mode)); }

EXPORT int32_t viola_unix_bind(int32_t fd, const char *path) {
  struct sockaddr_un address;
  int length = address_of(&address, path);
  return length < 0 ? length : RESULT(bind(fd, (struct sockaddr *)&address, (socklen_t)length));
}

EXPORT int32_t viola_unix_listen(int32_t fd, const char *path) {
  int result = viola_unix_bind(fd, path);
  return result < 0 ? result : RESULT(listen(fd, 4));
}

EXPORT int32_t viola_unix_accept(int32_t fd) {
  return inline_urgent(accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
}

// The process at the other end when the connection was made: { pid, uid, gid }.
EXPORT int32_t viola_unix_peer(int32_t fd, int32_t *out) {
  struct ucred peer;
  socklen_t length = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0) return -errno;
  out[0] = peer.pid;
  out[1] = (int32_t)peer.uid;
  out[2] = (int32_t)peer.gid;
  return 0;
}

// Whether it is a Unix stream socket, to which a send does not block; a peer can hold the lock of a TCP socket.
EXPORT int32_t viola_is_unix_stream(int32_t fd) {
  int domain, type;
  socklen_t length = sizeof domain;
  if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) < 0) return -errno;
  length = sizeof type;
  if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) < 0) return -errno;
  return domain == AF_UNIX && type == SOCK_STREAM;
}

// Whether it is a socket that listens.
EXPORT int32_t viola_is_listening(int32_t fd) {
  int listening;
  socklen_t length = sizeof listening;
  int result = getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length);
  return result < 0 ? -errno : listening != 0;
}

EXPORT int32_t viola_unix_pair(int32_t *fds) {
  int result = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds);
  return result < 0 ? -errno : inline_urgent(fds[0]) < 0 || inline_urgent(fds[1]) < 0 ? -EBADF : 0;
}

// Sends bytes and, with the first of them, descriptors. Never raises SIGPIPE.
EXPORT int32_t viola_unix_send(int32_t fd, const uint8_t *buffer, uint32_t offset, uint32_t length,
                               const int32_t *fds, uint32_t fd_count) {
  union {
    char bytes[CMSG_SPACE(MAX_FDS * sizeof(int))];
    struct cmsghdr align;
  } control;
  struct iovec iov = {.iov_base = (void *)(buffer + offset), .iov_len = length};
  struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
  if (fd_count > MAX_FDS) return -EINVAL;
  if (fd_count > 0) {
    memset(&control, 0, sizeof control);
    message.msg_control = control.bytes;
    message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
    memcpy(CMSG_DATA(header), fds, fd_count * sizeof(int));
  }
  // All holders of the socket share O_NONBLOCK, so a call that must not block says so itself.
  return RESULT(sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT));
}

// Ends the connection for all holders of the socket: nothing more is sent or received.
EXPORT int32_t viola_shutdown(int32_t fd) { return RESULT(shutdown(fd, SHUT_RDWR)); }

// Receives bytes, and descriptors (close-on-exec) into fds[1..], which has room for all that one message can carry;
// fds[0] is how many. If there are more than `max_fds` it is -EMSGSIZE; if the kernel cut the list, this process had no
// descriptor left, and it is -EMFILE. The caller closes those in fds then, too. No descriptor is lost without an error.
EXPORT int32_t viola_unix_receive(int32_t fd, uint8_t *buffer, uint32_t offset, uint32_t length, int32_t *fds,
                                  uint32_t max_fds) {
  union {
    char bytes[CMSG_SPACE(MAX_RECEIVED * sizeof(int))];
    struct cmsghdr align;
  } control;
  struct iovec iov = {.iov_base = buffer + offset, .iov_len = length};
  struct msghdr message = {
      .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
  fds[0] = 0;
  ssize_t n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (n < 0) return -errno;
  uint32_t count = 0;
  for (struct cmsghdr *h = CMSG_FIRSTHDR(&message); h; h = CMSG_NXTHDR(&message, h)) {
    if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS) continue;
    uint32_t here = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    if (count + here > MAX_RECEIVED) here = MAX_RECEIVED - count;
    memcpy(fds + 1 + count, CMSG_DATA(h), here * sizeof(int));
    count += here;
  }
  fds[0] = (int32_t)count;
  if (count > max_fds) return -EMSGSIZE;
  return message.msg_flags & MSG_CTRUNC ? -EMFILE : (int32_t)n;
}

// ---- files as disks ----

// Reads at a position; with RWF_NOWAIT, -EAGAIN instead of waiting for the medium.
EXPORT int32_t viola_pread(int32_t fd, uint8_t *buffer, uint32_t at, uint32_t length, double position, int32_t flags) {
  struct iovec iov = {.iov_base = buffer + at, .iov_len = length};
  return RESULT(preadv2(fd, &iov, 1, (off_t)position, flags));
}

// Writes at a position; with RWF_DSYNC it returns when the data is on the medium.
EXPORT int32_t viola_pwrite(int32_t fd, const uint8_t *buffer, uint32_t at, uint32_t length, double position,
                            int32_t flags) {
  struct iovec iov = {.iov_base = (void *)(buffer + at), .iov_len = length};
  return RESULT(pwritev2(fd, &iov, 1, (off_t)position, flags));
}

EXPORT int32_t viola_fdatasync(int32_t fd) { return RESULT(fdatasync(fd)); }

EXPORT int32_t viola_fallocate(int32_t fd, int32_t mode, double position, double length) {
  return RESULT(fallocate(fd, mode, (off_t)position, (off_t)length));
}

// The file's st_mode: what kind of file it is.
EXPORT int32_t viola_file_mode(int32_t fd) {
  struct stat file;
  return fstat(fd, &file) < 0 ? -errno : (int32_t)file.st_mode;
}

// ---- CAN sockets ----

EXPORT int32_t viola_can_socket(void) { return RESULT(socket(PF_CAN, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, CAN_RAW)); }

// Error frames of the kinds in `errors` are received, too. Both calls wait for the kernel's lock of its network interfaces.
EXPORT int32_t viola_can_bind(int32_t fd, int32_t interface, uint32_t errors) {
  if (setsockopt(fd, SOL_CAN_RAW, CAN_RAW_ERR_FILTER, &errors, sizeof errors) < 0) return -errno;
  struct sockaddr_can address = {.can_family = AF_CAN, .can_ifindex = interface};
  return RESULT(bind(fd, (struct sockaddr *)&address, sizeof address));
}

EXPORT int32_t viola_set_option(int32_t fd, int32_t level, int32_t option, int32_t value) {
  return RESULT(setsockopt(fd, level, option, &value, sizeof value));
}

// One message, and out[0]: its flags; out[1]: how many the socket had no room for so far, 0 where it does not count them.
EXPORT int32_t viola_receive_message(int32_t fd, uint8_t *buffer, uint32_t length, uint32_t *out) {
  union {
    char bytes[CMSG_SPACE(sizeof(uint32_t))];
    struct cmsghdr align;
  } control;
  struct iovec iov = {.iov_base = buffer, .iov_len = length};
  struct msghdr message = {
      .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  ssize_t received = recvmsg(fd, &message, MSG_DONTWAIT);
  if (received < 0) return -errno;
  out[0] = (uint32_t)message.msg_flags;
  out[1] = 0;
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  if (header != NULL && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SO_RXQ_OVFL)
    memcpy(&out[1], CMSG_DATA(header), sizeof out[1]);
  return (int32_t)received;
}

// ---- I2C adapters ----

// One transfer: `messages` are { address, flags, length } each, and their bytes follow one another in `data`.
EXPORT int32_t viola_i2c_transfer(int32_t fd, const uint16_t *messages, uint32_t count, uint8_t *data) {
  struct i2c_msg list[I2C_RDWR_IOCTL_MAX_MSGS];
  if (count > I2C_RDWR_IOCTL_MAX_MSGS) return -EINVAL;
  for (uint32_t i = 0; i < count; i++, messages += 3) {
    list[i] = (struct i2c_msg){.addr = messages[0], .flags = messages[1], .len = messages[2], .buf = data};
    data += messages[2];
  }
  struct i2c_rdwr_ioctl_data transfer = {.msgs = list, .nmsgs = count};
  return RESULT(ioctl(fd, I2C_RDWR, &transfer));
}

// One SMBus call, of the chip at `address`. `data` is a union i2c_smbus_data.
EXPORT int32_t viola_i2c_smbus(int32_t fd, uint32_t address, uint32_t read, uint32_t command, uint32_t size,
                               uint8_t *data) {
  struct i2c_smbus_ioctl_data call = {
      .read_write = (uint8_t)read, .command = (uint8_t)command, .size = size, .data = (union i2c_smbus_data *)data};
  if (ioctl(fd, I2C_SLAVE, (unsigned long)address) < 0) return -errno;
  return RESULT(ioctl(fd, I2C_SMBUS, &call));
}

// ---- TCP sockets ----

EXPORT int32_t viola_tcp_socket(int32_t family) {
  return RESULT(socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

EXPORT int32_t viola_bind(int32_t fd, const uint8_t *address, uint32_t length) {
  return RESULT(bind(fd, (const struct sockaddr *)address, length));
}

EXPORT int32_t viola_listen(int32_t fd, int32_t backlog) { return RESULT(listen(fd, backlog)); }

// The address that the socket has.
EXPORT int32_t viola_socket_name(int32_t fd, uint8_t *address, uint32_t length) {
  socklen_t bytes = length;
  return RESULT(getsockname(fd, (struct sockaddr *)address, &bytes));
}

// ---- files that others open ----

EXPORT int32_t viola_inotify(void) { return RESULT(inotify_init1(IN_CLOEXEC | IN_NONBLOCK)); }

EXPORT int32_t viola_inotify_watch(int32_t fd, const char *path, uint32_t mask) {
  return RESULT(inotify_add_watch(fd, path, mask));
}

// ---- the calling thread ----

// Bit n of `mask` is CPU n; the first 53 CPUs can be named.
EXPORT int32_t viola_thread_pin(double mask) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (int cpu = 0; cpu < 53; cpu++)
    if (((uint64_t)mask >> cpu) & 1) CPU_SET(cpu, &set);
  return RESULT(sched_setaffinity(0, sizeof set, &set));
}

// SCHED_FIFO at `priority` 1 to 99, or back to the ordinary scheduler with 0.
EXPORT int32_t viola_thread_realtime(int32_t priority) {
  struct sched_param param = {.sched_priority = priority};
  return RESULT(sched_setscheduler(0, priority ? SCHED_FIFO : SCHED_OTHER, &param));
}

// ---- child processes with descriptors of our choice ----

// Runs `sh -c command` in a process group of its own, or in a session of its own; `input` and `output` are its standard
// input and output (-1: /dev/null). By posix_spawn, whose child runs in our memory until it execs: no mapping is copied.
EXPORT int32_t viola_spawn(const char *command, int32_t input, int32_t output, int32_t session) {
  extern char **environ;
  char *arguments[] = {"sh", "-c", (char *)command, NULL};
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  pid_t pid = 0;
  sigset_t none, defaults;
  int error = posix_spawn_file_actions_init(&actions);
  if (error) return -error;
  sigemptyset(&none);
  // Deno ignores SIGPIPE; a command must end by it, as in any shell.
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, (session ? POSIX_SPAWN_SETSID : POSIX_SPAWN_SETPGROUP) |
                                            POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  if (input >= 0) error = posix_spawn_file_actions_adddup2(&actions, input, 0);
  else error = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  if (!error && output >= 0) error = posix_spawn_file_actions_adddup2(&actions, output, 1);
  else if (!error) error = posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  if (!error) error = posix_spawn(&pid, "/bin/sh", &actions, &attributes, arguments, environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return error ? -error : pid;
}

// Readable when the process has ended.
EXPORT int32_t viola_pidfd(int32_t pid) { return RESULT(syscall(SYS_pidfd_open, pid, 0)); }

// The ended child's exit status (128 + signal if one killed it); -EAGAIN while it runs.
EXPORT int32_t viola_reap(int32_t pid) {
  int status = 0;
  pid_t done = waitpid(pid, &status, WNOHANG);
  if (done < 0) return -errno;
  if (done == 0) return -EAGAIN;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

EXPORT int32_t viola_kill(int32_t pid, int32_t signal) { return RESULT(kill(pid, signal)); }
