// SPDX-License-Identifier: Apache-2.0
// Runs a program as a service manager does that kept descriptors for it: they are 3 and up, and LISTEN_PID says for whom.
//
//   with_fds SOCKET PROGRAM [ARGUMENT...]
//
// The descriptors come with the one message that whoever listens at SOCKET sends.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FIRST 3
#define MOST 32

static void need(int good, const char *what) {
  if (good) return;
  perror(what);
  exit(1);
}

int main(int argc, char **argv) {
  if (argc < 3) return 1;
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, argv[1], sizeof address.sun_path - 1);
  int socket_fd = socket(AF_UNIX, SOCK_STREAM, 0);
  need(connect(socket_fd, (struct sockaddr *)&address, sizeof address) == 0, "connect");

  union {
    char bytes[CMSG_SPACE(MOST * sizeof(int))];
    struct cmsghdr align;
  } control;
  char byte;
  struct iovec iov = {.iov_base = &byte, .iov_len = 1};
  struct msghdr message = {
      .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
  need(recvmsg(socket_fd, &message, 0) == 1, "recvmsg");
  close(socket_fd);

  // First out of the way of their places, then into them.
  int fds[MOST], count = 0;
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  if (header) count = (int)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
  if (header) memcpy(fds, CMSG_DATA(header), count * sizeof(int));
  for (int i = 0; i < count; i++) {
    int high = fcntl(fds[i], F_DUPFD_CLOEXEC, FIRST + MOST);
    need(high >= 0, "fcntl");
    close(fds[i]);
    fds[i] = high;
  }
  for (int i = 0; i < count; i++) need(dup2(fds[i], FIRST + i) >= 0, "dup2");

  char pid[16];
  snprintf(pid, sizeof pid, "%d", getpid());
  setenv("LISTEN_PID", pid, 0);
  execvp(argv[2], argv + 2);
  need(0, argv[2]);
}
