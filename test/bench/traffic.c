// SPDX-License-Identifier: Apache-2.0
// Both ends of a connection in one thread on one CPU, each in a network namespace and a cgroup of its own, so that what
// is measured is the way of the packets and not the scheduler. Prints nanoseconds per operation, a line for each chunk.
//
//   traffic rtt|connect|udp CPU CHUNKS COUNT CLIENT_NS SERVER_NS CLIENT_PROCS SERVER_PROCS ADDRESS PORT
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void check(int ok, const char *what) {
  if (ok) return;
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

static void enter(const char *namespace, const char *procs) {
  int fd = open(procs, O_WRONLY);
  check(fd >= 0 && write(fd, "0", 1) == 1, procs);
  close(fd);
  fd = open(namespace, O_RDONLY);
  check(fd >= 0 && setns(fd, CLONE_NEWNET) == 0, namespace);
  close(fd);
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1e9 + time.tv_nsec;
}

static struct sockaddr_in address;
static int listener, client, server;

static void byte(int from, int to) {
  char one = 'x';
  check(send(from, &one, 1, 0) == 1, "send");
  check(recv(to, &one, 1, 0) == 1, "recv");
}

static void connectBoth(void) {
  int yes = 1;
  client = socket(AF_INET, SOCK_STREAM, 0);
  check(connect(client, (struct sockaddr *)&address, sizeof(address)) == 0, "connect");
  server = accept(listener, NULL, NULL);
  check(server >= 0, "accept");
  setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
  setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
}

static void roundTrip(void) {
  byte(client, server);
  byte(server, client);
}

static void connection(void) {
  connectBoth();
  byte(client, server);
  close(client);
  close(server);
}

static void datagram(void) { byte(client, listener); }

int main(int argc, char **argv) {
  check(argc == 11, "usage");
  int isUdp = strcmp(argv[1], "udp") == 0, yes = 1;
  int chunks = atoi(argv[3]), count = atoi(argv[4]);
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(atoi(argv[2]), &cpus);
  check(sched_setaffinity(0, sizeof(cpus), &cpus) == 0, "sched_setaffinity");
  address.sin_family = AF_INET;
  address.sin_port = htons(atoi(argv[10]));
  check(inet_pton(AF_INET, argv[9], &address.sin_addr) == 1, argv[9]);

  enter(argv[6], argv[8]);
  listener = socket(AF_INET, isUdp ? SOCK_DGRAM : SOCK_STREAM, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  check(bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0, "bind");
  check(isUdp || listen(listener, 16) == 0, "listen");
  enter(argv[5], argv[7]);

  void (*operation)(void) = datagram;
  if (strcmp(argv[1], "rtt") == 0) {
    operation = roundTrip;
    connectBoth();
  } else if (strcmp(argv[1], "connect") == 0) {
    operation = connection;
  } else {
    client = socket(AF_INET, SOCK_DGRAM, 0);
    check(connect(client, (struct sockaddr *)&address, sizeof(address)) == 0, "connect");
  }
  for (int i = 0; i < count; i++) operation();
  for (int chunk = 0; chunk < chunks; chunk++) {
    double from = now();
    for (int i = 0; i < count; i++) operation();
    printf("%.1f\n", (now() - from) / count);
  }
  return 0;
}
