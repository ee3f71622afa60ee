// SPDX-License-Identifier: Apache-2.0
// Maps a node of the test driver, does something with the mappings, and then reads memory through a window:
//
//     misuse NODE fork       a child inherits them, and ends
//     misuse NODE dontfork   the same, but they are marked MADV_DONTFORK first, so that it inherits none
//     misuse NODE split      one is split in two
//     misuse NODE many       there are 201
//
// Exit status: 0 when memory can be read, 1 when that is SIGBUS, 2 when something else fails.
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SHARE_COM_STRUCT _IOC(_IOC_WRITE, 'k', 7, 0)
#define PAGE 4096
#define WINDOW (101 * PAGE)

static char *map(int node, size_t size) {
  char *address = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, node, 0);
  if (address != MAP_FAILED) return address;
  perror("mmap");
  _exit(2);
}

static void on_sigbus(int signal) {
  (void)signal;
  _exit(1);
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  const char *what = argv[2];
  int node = open(argv[1], O_RDWR);
  if (node < 0 || ioctl(node, SHARE_COM_STRUCT) != 0) return 2;
  char *page = map(node, PAGE);
  char *first = map(node, WINDOW);  // the machine's memory begins where the second window does
  char *second = map(node, WINDOW);

  if (strcmp(what, "dontfork") == 0) {
    if (madvise(page, PAGE, MADV_DONTFORK) || madvise(first, WINDOW, MADV_DONTFORK)) return 2;
    if (madvise(second, WINDOW, MADV_DONTFORK)) return 2;
  }
  if (strstr(what, "fork") != NULL) {
    if (fork() == 0) _exit(0);
    wait(NULL);
  } else if (strcmp(what, "split") == 0) {
    if (mprotect(second + PAGE, PAGE, PROT_NONE)) return 2;
  } else {
    for (int i = 3; i < 201; i++) munmap(map(node, WINDOW), WINDOW);
  }
  signal(SIGBUS, on_sigbus);
  (void)*(volatile char *)second;
  return 0;
}
