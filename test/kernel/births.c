// SPDX-License-Identifier: Apache-2.0
/*
 * Births: makes cgroups as fast as it can, or at a rate, and in each a process that at once tries what is allowed and what is
 * forbidden, for test/kernel/pattern-births.test.ts.
 *
 *   births FOLDER NAME COUNT RATE HOST TCP UDP FORBIDDEN
 *     NAME: the name of the cgroups, with one %d; RATE: births a second, 0 for no limit; TCP and UDP: allowed ports at HOST, where a
 *     UDP server echoes; FORBIDDEN: a port for both
 *   → CONNECTED REFUSED ECHOED UNANSWERED LEAKED DENIED MILLISECONDS
 *     of each birth: the first connection to TCP, the first datagram to UDP, and both to FORBIDDEN
 *
 *   births once HOST TCP UDP FORBIDDEN
 *     sends to FORBIDDEN at HOST, and to UDP, every millisecond, until UDP has answered, at most for a minute
 *   → LEAKED DENIED WAITED
 *     WAITED: milliseconds until the answer, -1 without one
 *
 *   births serve
 *   → TCP UDP FORBIDDEN     its ports: it accepts, echoes, and counts what comes to the last one, of both protocols
 *     for each empty line on stdin → the count
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ANSWER_MS = 5000 };

struct counts {
	unsigned long connected, refused, echoed, unanswered, leaked, denied;
};

static struct counts *counts;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static int open_socket(int type)
{
	int fd = socket(AF_INET, type | SOCK_NONBLOCK, 0);

	if (fd < 0)
		fail("socket");
	return fd;
}

static void try_all(struct sockaddr_in to, int tcp, int udp, int forbidden)
{
	int stream = open_socket(SOCK_STREAM), datagram = open_socket(SOCK_DGRAM), bad = open_socket(SOCK_DGRAM);
	int refused = open_socket(SOCK_STREAM), error = 0, is_trying;
	struct pollfd wait = { .events = POLLOUT };
	socklen_t size = sizeof(error);
	char byte;

	/* What is forbidden first: nothing may have come in between. */
	to.sin_port = htons(forbidden);
	if (sendto(bad, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)) == 1)
		__sync_fetch_and_add(&counts->leaked, 1);
	else
		__sync_fetch_and_add(&counts->denied, 1);
	is_trying = !connect(refused, (struct sockaddr *)&to, sizeof(to)) || errno == EINPROGRESS;

	to.sin_port = htons(udp);
	connect(datagram, (struct sockaddr *)&to, sizeof(to));
	send(datagram, "x", 1, 0);
	to.sin_port = htons(tcp);
	connect(stream, (struct sockaddr *)&to, sizeof(to));
	wait.fd = stream;
	/* Within a retransmission: a first SYN that is dropped is no first try that succeeds. */
	if (poll(&wait, 1, 900) == 1 && !getsockopt(stream, SOL_SOCKET, SO_ERROR, &error, &size) && !error)
		__sync_fetch_and_add(&counts->connected, 1);
	else
		__sync_fetch_and_add(&counts->refused, 1);
	wait = (struct pollfd){ .fd = datagram, .events = POLLIN };
	if (poll(&wait, 1, ANSWER_MS) == 1 && recv(datagram, &byte, 1, 0) == 1)
		__sync_fetch_and_add(&counts->echoed, 1);
	else
		__sync_fetch_and_add(&counts->unanswered, 1);
	wait = (struct pollfd){ .fd = refused, .events = POLLOUT };
	if (is_trying && poll(&wait, 1, 0) == 1 && !getsockopt(refused, SOL_SOCKET, SO_ERROR, &error, &size) && !error)
		__sync_fetch_and_add(&counts->leaked, 1);
}

/* Starts a process in the cgroup: it is in it from its first instruction. */
static pid_t start_in(int cgroup)
{
	struct clone_args args = { .flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = cgroup };

	return syscall(SYS_clone3, &args, sizeof(args));
}

static char format[4096];
static pid_t *children;

/* Removes the cgroups of the processes that have ended; waits for one if it must. */
static void reap(int made, int options)
{
	char path[8192];
	pid_t child;

	while ((child = waitpid(-1, NULL, options)) > 0)
		for (int i = made - 1; i >= 0; i--)
			if (children[i] == child) {
				snprintf(path, sizeof(path), format, i);
				while (rmdir(path))
					usleep(100);
				break;
			}
}

static int bind_to(int fd, int port)
{
	struct sockaddr_in own = { .sin_family = AF_INET, .sin_port = htons(port) };
	socklen_t size = sizeof(own);

	if (bind(fd, (struct sockaddr *)&own, sizeof(own)) || getsockname(fd, (struct sockaddr *)&own, &size))
		fail("bind");
	return ntohs(own.sin_port);
}

static int serve(void)
{
	int tcp = open_socket(SOCK_STREAM), udp = open_socket(SOCK_DGRAM), bad = open_socket(SOCK_DGRAM);
	int bad_tcp = open_socket(SOCK_STREAM), buffer = 8 << 20, port, fd;
	struct pollfd polled[5] = { { .fd = tcp, .events = POLLIN }, { .fd = udp, .events = POLLIN },
				    { .fd = bad, .events = POLLIN }, { .fd = bad_tcp, .events = POLLIN },
				    { .fd = STDIN_FILENO, .events = POLLIN } };
	unsigned long arrived = 0;
	struct sockaddr_in from;
	socklen_t size;
	char line[64];

	setsockopt(udp, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer));
	setvbuf(stdin, NULL, _IONBF, 0);
	printf("%d %d ", bind_to(tcp, 0), bind_to(udp, 0));
	port = bind_to(bad, 0);
	printf("%d\n", bind_to(bad_tcp, port));
	fflush(stdout);
	if (listen(tcp, 4096) || listen(bad_tcp, 4096))
		fail("listen");
	for (;;) {
		poll(polled, 5, -1);
		while ((fd = accept(tcp, NULL, NULL)) >= 0)
			close(fd);
		while ((fd = accept(bad_tcp, NULL, NULL)) >= 0) {
			close(fd);
			arrived++;
		}
		for (size = sizeof(from); recvfrom(udp, line, 1, 0, (struct sockaddr *)&from, &size) == 1; size = sizeof(from))
			sendto(udp, line, 1, 0, (struct sockaddr *)&from, size);
		while (recv(bad, line, 1, 0) >= 0)
			arrived++;
		if (!polled[4].revents)
			continue;
		if (!fgets(line, sizeof(line), stdin))
			return 0;
		printf("%lu\n", arrived);
		fflush(stdout);
	}
}

static int try_once(struct sockaddr_in to, int udp, int forbidden)
{
	int good = open_socket(SOCK_DGRAM), bad = open_socket(SOCK_DGRAM);
	unsigned long leaked = 0, denied = 0;
	struct sockaddr_in other = to;
	double start = now();
	char byte;

	to.sin_port = htons(udp);
	other.sin_port = htons(forbidden);
	while (now() - start < 60) {
		if (sendto(bad, "x", 1, 0, (struct sockaddr *)&other, sizeof(other)) == 1)
			leaked++;
		else
			denied++;
		sendto(good, "x", 1, 0, (struct sockaddr *)&to, sizeof(to));
		usleep(1000);
		if (recv(good, &byte, 1, 0) == 1) {
			printf("%lu %lu %.0f\n", leaked, denied, (now() - start) * 1000);
			fflush(stdout);
			return 0;
		}
	}
	printf("%lu %lu -1\n", leaked, denied);
	return 0;
}

int main(int argc, char **argv)
{
	char path[8192];
	struct sockaddr_in to = { .sin_family = AF_INET };
	int count, rate, made = 0;
	double start, end;

	if (argc == 2)
		return serve();
	if (argc == 6) {
		inet_pton(AF_INET, argv[2], &to.sin_addr);
		return try_once(to, atoi(argv[4]), atoi(argv[5]));
	}
	if (argc != 9)
		return 64;
	count = atoi(argv[3]);
	rate = atoi(argv[4]);
	inet_pton(AF_INET, argv[5], &to.sin_addr);
	snprintf(format, sizeof(format), "%s/%s", argv[1], argv[2]);
	children = calloc(count, sizeof(*children));
	counts = mmap(NULL, sizeof(*counts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (!children || counts == MAP_FAILED)
		fail("memory");
	for (start = now(); made < count;) {
		int fd;
		pid_t child;

		if (rate && (now() - start) * rate < made) {
			usleep(200);
			reap(made, WNOHANG);
			continue;
		}
		snprintf(path, sizeof(path), format, made);
		if (mkdir(path, 0755))
			fail(path);
		fd = open(path, O_RDONLY | O_DIRECTORY);
		child = fd < 0 ? -1 : start_in(fd);
		if (child < 0)
			fail("clone3");
		if (!child) {
			try_all(to, atoi(argv[6]), atoi(argv[7]), atoi(argv[8]));
			_exit(0);
		}
		close(fd);
		children[made++] = child;
		reap(made, WNOHANG);
	}
	end = now();
	reap(made, 0);
	printf("%lu %lu %lu %lu %lu %lu %.0f\n", counts->connected, counts->refused, counts->echoed, counts->unanswered, counts->leaked,
	       counts->denied, (end - start) * 1000);
	return 0;
}
