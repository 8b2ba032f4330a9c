// SPDX-License-Identifier: Apache-2.0
/*
 * Prober: sends RATE datagrams a second to an allowed port and as many to a forbidden one, and counts what arrives at
 * two of its own, for test/kernel/gap.test.ts. An empty line on stdin asks for the counters, the end of stdin ends it.
 *
 *   prober HOST ALLOWED FORBIDDEN     its own ports are any that are free; to ALLOWED 0 nothing is sent
 *   → ports ALLOWED FORBIDDEN         its own
 *   → SENT REFUSED SENT REFUSED GOT GOT DROPPED   of each pair the allowed port first; and what came to its allowed
 *     port and was not let in
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/sock_diag.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { RATE = 12000, BURST = 64, BUFFER = 64 << 20 };

enum { ALLOWED, FORBIDDEN };

static unsigned long sent[2], refused[2], got[2];

static int open_socket(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), size = BUFFER;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0) {
		perror("socket");
		exit(1);
	}
	return fd;
}

static int bind_any(int fd)
{
	struct sockaddr_in own = { .sin_family = AF_INET };
	socklen_t size = sizeof(own);

	if (bind(fd, (struct sockaddr *)&own, sizeof(own)) < 0 || getsockname(fd, (struct sockaddr *)&own, &size) < 0) {
		perror("bind");
		exit(1);
	}
	return ntohs(own.sin_port);
}

static unsigned int dropped(int fd)
{
	unsigned int info[SK_MEMINFO_VARS] = { 0 };
	socklen_t size = sizeof(info);

	if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &size) < 0) {
		perror("getsockopt");
		exit(1);
	}
	return info[SK_MEMINFO_DROPS];
}

static void drain(int fd, int kind)
{
	char byte;

	while (recv(fd, &byte, 1, 0) >= 0)
		got[kind]++;
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static void send_one(int fd, const struct sockaddr_in *to, int kind)
{
	if (sendto(fd, "x", 1, 0, (const struct sockaddr *)to, sizeof(*to)) == 1)
		sent[kind]++;
	else if (errno == EPERM)
		refused[kind]++;
	else if (errno != EAGAIN && errno != ENOBUFS) {
		perror("sendto");
		exit(1);
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in to[2] = { { .sin_family = AF_INET }, { .sin_family = AF_INET } };
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
	int sockets[2] = { open_socket(), open_socket() }, sender = open_socket();
	unsigned long done = 0;
	double start;
	char line[64];

	if (argc != 4)
		return 64;
	for (int kind = 0; kind < 2; kind++) {
		inet_pton(AF_INET, argv[1], &to[kind].sin_addr);
		to[kind].sin_port = htons(atoi(argv[2 + kind]));
	}
	setvbuf(stdin, NULL, _IONBF, 0);
	printf("ports %d %d\n", bind_any(sockets[ALLOWED]), bind_any(sockets[FORBIDDEN]));
	fflush(stdout);
	for (start = now();;) {
		/* What was missed while somebody else had the processor is sent as well, not all of it at once. */
		unsigned long due = atoi(argv[2]) ? (now() - start) * RATE : 0;

		for (int i = 0; i < BURST && done < due; i++, done++) {
			send_one(sender, &to[ALLOWED], ALLOWED);
			send_one(sender, &to[FORBIDDEN], FORBIDDEN);
		}
		drain(sockets[ALLOWED], ALLOWED);
		drain(sockets[FORBIDDEN], FORBIDDEN);
		if (poll(&input, 1, done < due ? 0 : 1) <= 0)
			continue;
		if (!fgets(line, sizeof(line), stdin))
			return 0;
		printf("%lu %lu %lu %lu %lu %lu %u\n", sent[ALLOWED], refused[ALLOWED], sent[FORBIDDEN],
		       refused[FORBIDDEN], got[ALLOWED], got[FORBIDDEN], dropped(sockets[ALLOWED]));
		fflush(stdout);
	}
}
