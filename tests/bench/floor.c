// SPDX-License-Identifier: Apache-2.0
// What a register access costs at least: a thread puts it in a page, rings an eventfd and waits for another to be rung.
// Who answers is a second thread of this program (the floor), or the process named, which has the three descriptors
// and serves a loopback device on them: the asking side is the same code in both. Or it is the kernel that asks, whenever
// a file in sysfs is read.
//
// The asking thread is bound to a CPU, the answering one too: where they run decides more than what they do.
//
//     floor COUNT CPU ANSWERING-CPU                 prints COUNT times in nanoseconds, one a line
//     floor COUNT CPU PID PAGE DOORBELL ANSWER
//     floor COUNT CPU /FILE
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// The page's fields, as in lib/loopback/page.ts.
struct page {
  uint64_t notification, data, size;
  uint8_t read;
  int32_t done;
};

static struct page *page;
static int doorbell, answer, epoll, file;

static long check(long result, const char *what) {
  if (result >= 0) return result;
  perror(what);
  exit(1);
}

static void ring(int fd) {
  uint64_t one = 1;
  check(write(fd, &one, sizeof one), "write");
}

static void pin(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  check(sched_setaffinity(0, sizeof set, &set), "sched_setaffinity");
}

static void *serve(void *cpu) {
  pin(*(int *)cpu);
  for (;;) {
    uint64_t count;
    check(read(doorbell, &count, sizeof count), "read");
    page->data = 0x74726976;
    __atomic_store_n(&page->done, 1, __ATOMIC_RELEASE);
    ring(answer);
  }
  return NULL;
}

static int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

// One read of the first register, as the kernel driver would do it.
static void access_register(void) {
  struct epoll_event event;
  *page = (struct page){.notification = 0, .size = 4, .read = 1, .done = 1};
  __atomic_store_n(&page->done, 0, __ATOMIC_RELEASE);
  ring(doorbell);
  while (__atomic_load_n(&page->done, __ATOMIC_ACQUIRE) == 0)
    if (check(epoll_wait(epoll, &event, 1, 5000), "epoll_wait") == 0) {
      fprintf(stderr, "no answer within 5 s\n");
      exit(1);
    }
}

// The file's text is made anew for each read.
static void read_file(void) {
  char text[64];
  check(pread(file, text, sizeof text, 0), "pread");
}

static int borrow(int pidfd, const char *number) { return check(syscall(SYS_pidfd_getfd, pidfd, atoi(number), 0), "pidfd_getfd"); }

static void use_page(int memory) {
  page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
  if (page == MAP_FAILED) check(-1, "mmap");
  // Edge-triggered: each ring is an event of its own, and the count need never be read.
  struct epoll_event event = {.events = EPOLLIN | EPOLLET};
  epoll = check(epoll_create1(0), "epoll_create1");
  check(epoll_ctl(epoll, EPOLL_CTL_ADD, answer, &event), "epoll_ctl");
}

int main(int argc, char **argv) {
  void (*ask)(void) = access_register;
  if (argc == 4 && argv[3][0] == '/') {
    file = check(open(argv[3], O_RDONLY), argv[3]);
    ask = read_file;
  } else if (argc == 4) {
    static int answering_cpu;
    pthread_t thread;
    answering_cpu = atoi(argv[3]);
    int memory = check(memfd_create("floor", 0), "memfd_create");
    check(ftruncate(memory, 4096), "ftruncate");
    doorbell = check(eventfd(0, 0), "eventfd");
    answer = check(eventfd(0, EFD_NONBLOCK), "eventfd");
    use_page(memory);
    check(-pthread_create(&thread, NULL, serve, &answering_cpu), "pthread_create");
  } else if (argc == 7) {
    int pidfd = check(syscall(SYS_pidfd_open, atoi(argv[3]), 0), "pidfd_open");
    doorbell = borrow(pidfd, argv[5]);
    answer = borrow(pidfd, argv[6]);
    use_page(borrow(pidfd, argv[4]));
  } else {
    fprintf(stderr, "usage: floor COUNT CPU (ANSWERING-CPU | PID PAGE DOORBELL ANSWER | /FILE)\n");
    return 1;
  }

  pin(atoi(argv[2]));
  int count = atoi(argv[1]);
  int32_t *times = calloc(count, sizeof *times);
  for (int i = -count / 10; i < count; i++) {
    int64_t start = now();
    ask();
    if (i >= 0) times[i] = now() - start;
  }
  for (int i = 0; i < count; i++) printf("%d\n", times[i]);
  return page == NULL || page->data == 0x74726976 ? 0 : 1;
}
