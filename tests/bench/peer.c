// SPDX-License-Identifier: Apache-2.0
// What viola is compared with: a small adapter in C for one device on a soft loopback node, with direct memory, virtio-mmio
// version 2, no reset and one life of the back-end. Three threads: one answers register accesses, one raises interrupts for
// the back-end's calls, the main one waits for the end of the back-end.
//
//     peer NODE SOCKET DEVICE-ID QUEUES CONFIG-BYTES     ends with 0 when the back-end does, with 1 after a failure
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_QUEUES 16
#define MAX_CONFIG 256
#define QUEUE_SIZE 128

// The page's fields, as in lib/loopback/page.ts.
struct page {
  uint64_t notification, data, size;
  uint8_t read;
  int32_t done;
  uint8_t unused[32];
  int32_t started, padding;
  uint64_t magic, version, device_id, vendor;
};

struct queue {
  uint32_t num, ready;
  uint64_t desc, avail, used;
  int kick, call;
};

static struct page *page;
static int doorbell, answer, interrupt_fd, memory, back_end;
static double guest_base, guest_size;
static struct queue queues[MAX_QUEUES];
static uint32_t queue_count, config_size, device_id;
static uint8_t config[MAX_CONFIG];
static uint32_t status, interrupt_status, queue_sel, features_sel, driver_sel;
static uint64_t offered;
static uint32_t accepted[2];

static long check(long result, const char *what) {
  if (result >= 0) return result;
  perror(what);
  exit(1);
}

static void fail(const char *what) {
  fprintf(stderr, "peer: %s\n", what);
  exit(1);
}

static void ring(int fd) {
  uint64_t one = 1;
  check(write(fd, &one, sizeof one), "write");
}

static int connect_to(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path) fail("the path is too long");
  strcpy(address.sun_path, path);
  int fd = check(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
  check(connect(fd, (struct sockaddr *)&address, sizeof address), path);
  return fd;
}

// ---- vhost-user ----

enum {
  GET_FEATURES = 1, SET_FEATURES = 2, SET_OWNER = 3, SET_MEM_TABLE = 5, SET_VRING_NUM = 8, SET_VRING_ADDR = 9,
  SET_VRING_BASE = 10, SET_VRING_KICK = 12, SET_VRING_CALL = 13, GET_PROTOCOL_FEATURES = 15, SET_PROTOCOL_FEATURES = 16,
  SET_VRING_ENABLE = 18, GET_CONFIG = 24,
};
#define F_PROTOCOL_FEATURES (1ull << 30)
#define PROTOCOL_MQ (1ull << 0)
#define PROTOCOL_CONFIG (1ull << 9)
// The class's own bits, INDIRECT_DESC, EVENT_IDX, VERSION_1: what lib/bridge/presented.ts offers.
#define OFFERED (0xffffffull | 1ull << 28 | 1ull << 29 | 1ull << 32)

static void tell(uint32_t request, const void *body, uint32_t size, int fd) {
  uint32_t header[3] = {request, 1, size};
  struct iovec parts[2] = {{header, sizeof header}, {(void *)body, size}};
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
  } control = {0};
  struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
  if (fd >= 0) {
    message.msg_control = &control;
    message.msg_controllen = sizeof control;
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(rights), &fd, sizeof fd);
  }
  if (check(sendmsg(back_end, &message, 0), "sendmsg") != (long)(sizeof header + size)) fail("a message was cut");
}

static void receive(void *bytes, uint32_t size) {
  if (check(recv(back_end, bytes, size, MSG_WAITALL), "recv") != (long)size) fail("the back-end has closed");
}

static void hear(uint32_t request, void *body, uint32_t size) {
  uint32_t header[3];
  receive(header, sizeof header);
  if (header[0] != request || header[2] != size) fail("the reply is another's");
  receive(body, size);
}

static uint64_t ask(uint32_t request) {
  uint64_t value;
  tell(request, NULL, 0, -1);
  hear(request, &value, sizeof value);
  return value;
}

static void handshake(void) {
  uint64_t features = ask(GET_FEATURES);
  if ((features & F_PROTOCOL_FEATURES) == 0) fail("the back-end has no protocol features");
  uint64_t agreed = ask(GET_PROTOCOL_FEATURES) & (PROTOCOL_MQ | PROTOCOL_CONFIG);
  tell(SET_PROTOCOL_FEATURES, &agreed, sizeof agreed, -1);
  tell(SET_OWNER, NULL, 0, -1);
  offered = features & OFFERED;
  if (config_size == 0) return;
  uint8_t request[12 + MAX_CONFIG] = {0};
  memcpy(request + 4, &config_size, sizeof config_size);
  tell(GET_CONFIG, request, 12 + config_size, -1);
  hear(GET_CONFIG, request, 12 + config_size);
  memcpy(config, request + 12, config_size);
}

static void start_queue(uint32_t index) {
  struct queue *queue = &queues[index];
  uint32_t num[2] = {index, queue->num}, base[2] = {index, 0};
  uint64_t address[5] = {index, queue->desc, queue->used, queue->avail, 0}, number = index;
  tell(SET_VRING_NUM, num, sizeof num, -1);
  tell(SET_VRING_BASE, base, sizeof base, -1);
  tell(SET_VRING_ADDR, address, sizeof address, -1);
  tell(SET_VRING_CALL, &number, sizeof number, queue->call);
  tell(SET_VRING_KICK, &number, sizeof number, queue->kick);
}

// Before DRIVER_OK is answered. User addresses are guest addresses.
static void activate(void) {
  uint64_t features = accepted[0] | (uint64_t)accepted[1] << 32 | F_PROTOCOL_FEATURES;
  uint64_t table[5] = {1, guest_base, guest_size, guest_base, 0};
  tell(SET_FEATURES, &features, sizeof features, -1);
  tell(SET_MEM_TABLE, table, sizeof table, memory);
  for (uint32_t i = 0; i < queue_count; i++)
    if (queues[i].ready) start_queue(i);
  for (uint32_t i = 0; i < queue_count; i++) {
    uint32_t on[2] = {i, 1};
    if (queues[i].ready) tell(SET_VRING_ENABLE, on, sizeof on, -1);
  }
  ask(GET_FEATURES); // its reply comes when all of that is done
}

// ---- registers: virtio 1.2, section 4.2.2 ----

static uint32_t read_register(uint32_t offset, uint32_t size) {
  uint32_t value = 0;
  if (offset >= 0x100) {
    if (offset - 0x100 + size <= config_size) memcpy(&value, config + offset - 0x100, size);
    return value;
  }
  switch (offset) {
    case 0x00: return 0x74726976;
    case 0x04: return 2;
    case 0x08: return device_id;
    case 0x0c: return 0x52454550;
    case 0x10: return features_sel < 2 ? offered >> 32 * features_sel : 0;
    case 0x34: return queue_sel < queue_count ? QUEUE_SIZE : 0;
    case 0x44: return queue_sel < queue_count ? queues[queue_sel].ready : 0;
    case 0x60: return __atomic_load_n(&interrupt_status, __ATOMIC_ACQUIRE);
    case 0x70: return status;
    case 0xb0: case 0xb4: return ~0u;
    default: return 0;
  }
}

static void set_half(uint64_t *address, int half, uint32_t value) {
  *address = half ? (*address & 0xffffffff) | (uint64_t)value << 32 : (*address & ~0xffffffffull) | value;
}

static void write_register(uint32_t offset, uint32_t value) {
  static struct queue none;
  struct queue *queue = queue_sel < queue_count ? &queues[queue_sel] : &none;
  switch (offset) {
    case 0x14: features_sel = value; break;
    case 0x20: if (driver_sel < 2) accepted[driver_sel] = value; break;
    case 0x24: driver_sel = value; break;
    case 0x30: queue_sel = value; break;
    case 0x38: queue->num = value; break;
    case 0x44: queue->ready = value; break;
    case 0x50: if (value < queue_count) ring(queues[value].kick); break;
    case 0x64: __atomic_fetch_and(&interrupt_status, ~value, __ATOMIC_ACQ_REL); break;
    case 0x70:
      if ((value & ~status & 4) != 0) activate();
      status = value;
      break;
    case 0x80: case 0x84: set_half(&queue->desc, offset & 4, value); break;
    case 0x90: case 0x94: set_half(&queue->avail, offset & 4, value); break;
    case 0xa0: case 0xa4: set_half(&queue->used, offset & 4, value); break;
  }
}

// ---- threads ----

// Edge-triggered: each ring is an event of its own, and the count need never be read.
static void watch(int epoll, int fd, uint32_t number) {
  struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u32 = number};
  check(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
}

static int wait_for(int epoll, struct epoll_event *events, int most) {
  int n = epoll_wait(epoll, events, most, -1);
  return n < 0 && errno == EINTR ? 0 : check(n, "epoll_wait");
}

static void *serve_accesses(void *unused) {
  struct epoll_event event;
  int epoll = check(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
  watch(epoll, doorbell, 0);
  for (;; wait_for(epoll, &event, 1)) {
    if (__atomic_load_n(&page->done, __ATOMIC_ACQUIRE) != 0) continue;
    if (page->read) page->data = read_register(page->notification, page->size);
    else write_register(page->notification, page->data);
    __atomic_store_n(&page->done, 1, __ATOMIC_RELEASE);
    ring(answer);
  }
  return unused;
}

static void *serve_calls(void *unused) {
  struct epoll_event events[MAX_QUEUES];
  int epoll = check(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
  for (uint32_t i = 0; i < queue_count; i++) watch(epoll, queues[i].call, i);
  for (;;) {
    if (wait_for(epoll, events, MAX_QUEUES) == 0) continue;
    __atomic_fetch_or(&interrupt_status, 1, __ATOMIC_ACQ_REL);
    ring(interrupt_fd);
  }
  return unused;
}

// ---- the node: lib/loopback/soft_hello.ts ----

static void open_node(const char *path) {
  char hello[24];
  int fds[5], node = connect_to(path); // open until the process ends
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof fds)];
  } control;
  struct iovec part = {hello, sizeof hello};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  long length = check(recvmsg(node, &message, MSG_CMSG_CLOEXEC), "recvmsg");
  struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
  if (length != sizeof hello || rights == NULL || rights->cmsg_len != CMSG_LEN(sizeof fds)) fail("the node is in use");
  memcpy(fds, CMSG_DATA(rights), sizeof fds);
  memcpy(&guest_base, hello + 8, sizeof guest_base);
  memcpy(&guest_size, hello + 16, sizeof guest_size);
  memory = fds[1];
  doorbell = fds[2];
  answer = fds[3];
  interrupt_fd = fds[4];
  page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
  if (page == MAP_FAILED) check(-1, "mmap");
}

int main(int argc, char **argv) {
  if (argc != 6) fail("usage: peer NODE SOCKET DEVICE-ID QUEUES CONFIG-BYTES");
  device_id = atoi(argv[3]);
  queue_count = atoi(argv[4]);
  config_size = atoi(argv[5]);
  if (queue_count > MAX_QUEUES || config_size > MAX_CONFIG) fail("too many queues, or too large a config space");
  back_end = connect_to(argv[2]);
  handshake();
  for (uint32_t i = 0; i < queue_count; i++) {
    queues[i].kick = check(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd");
    queues[i].call = check(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd");
  }
  open_node(argv[1]);
  pthread_t thread;
  check(-pthread_create(&thread, NULL, serve_accesses, NULL), "pthread_create");
  check(-pthread_create(&thread, NULL, serve_calls, NULL), "pthread_create");
  page->magic = 0x74726976;
  page->version = 2;
  page->device_id = device_id;
  page->vendor = 0x52454550;
  __atomic_store_n(&page->started, 1, __ATOMIC_RELEASE);
  ring(interrupt_fd);
  // The access thread alone reads from the socket: this one waits for its end.
  struct epoll_event event = {.events = EPOLLRDHUP}, seen;
  int epoll = check(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
  check(epoll_ctl(epoll, EPOLL_CTL_ADD, back_end, &event), "epoll_ctl");
  while (wait_for(epoll, &seen, 1) == 0) {}
  return 0;
}
