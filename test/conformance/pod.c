// SPDX-License-Identifier: Apache-2.0
/*
 * A pod for test/conformance/kernel.test.ts: echo servers on its TCP and UDP ports, an answerer for
 * SCTP made by hand (this kernel has no SCTP sockets), and probes to other pods on command.
 *
 *   pod PORT...                           the ports that it serves, over all three protocols
 *   stdin:  <id> tcp|udp|sctp <ip> <port> starts a probe; the one before it is given up
 *   stdout: <id> open | <id> <errno name>; no line for as long as nothing is known
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_PORTS = 4, MAX_SOCKETS = 3 + 2 * MAX_PORTS + 16, SCTP_SOURCE = 40000 };

/* The SCTP common header (RFC 9260), and what an INIT chunk would be. */
struct sctp {
	uint16_t source, destination;
	uint32_t tag, checksum;
	char kind[4];
	uint32_t id;
};

static struct pollfd sockets[MAX_SOCKETS];
static int count, probe = -1;
static unsigned probe_id;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void say(const char *outcome)
{
	printf("%u %s\n", probe_id, outcome);
	fflush(stdout);
}

static struct sockaddr_in address_of(uint32_t be_address, int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };

	address.sin_addr.s_addr = be_address;
	return address;
}

static int add(int fd)
{
	if (count == MAX_SOCKETS) {
		close(fd);
		return -1;
	}
	sockets[count++] = (struct pollfd){ .fd = fd, .events = POLLIN };
	return fd;
}

static void serve(int type, int port)
{
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0), yes = 1;
	struct sockaddr_in any = address_of(INADDR_ANY, port);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (bind(fd, (struct sockaddr *)&any, sizeof(any)) != 0)
		die("bind");
	if (type == SOCK_STREAM && listen(fd, 64) != 0)
		die("listen");
	add(fd);
}

/* A reset in place of a farewell: nothing of a probe is under way any more when the next one starts. */
static void drop(int fd)
{
	struct linger now = { .l_onoff = 1 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
}

static void send_sctp(int raw, const char *kind, unsigned id, const struct sockaddr_in *to, int source, int port)
{
	struct sctp packet = { .source = htons(source), .destination = htons(port), .id = id };
	struct sockaddr_in host = address_of(to->sin_addr.s_addr, 0);

	memcpy(packet.kind, kind, 4);
	if (sendto(raw, &packet, sizeof(packet), 0, (struct sockaddr *)&host, sizeof(host)) < 0 && kind[0] == 'A')
		say(strerrorname_np(errno));
}

static void on_sctp(int raw)
{
	struct sockaddr_in from;
	socklen_t length = sizeof(from);
	char bytes[256];
	int size = recvfrom(raw, bytes, sizeof(bytes), 0, (struct sockaddr *)&from, &length);
	int header = size > 0 ? (bytes[0] & 15) * 4 : 0;
	struct sctp packet;

	/* A raw socket gets the IP header too. */
	if (size < header + (int)sizeof(packet))
		return;
	memcpy(&packet, bytes + header, sizeof(packet));
	if (memcmp(packet.kind, "ASK", 4) == 0)
		send_sctp(raw, "RE:", packet.id, &from, ntohs(packet.destination), ntohs(packet.source));
	else if (packet.id == probe_id)
		say("open");
}

static void start_probe(int raw, const char *line)
{
	char protocol[8], ip[64];
	int port, type;
	struct sockaddr_in to;

	if (probe >= 0)
		drop(probe);
	probe = -1;
	if (sscanf(line, "%u %7s %63s %d", &probe_id, protocol, ip, &port) != 4)
		return;
	to = address_of(inet_addr(ip), port);
	if (strcmp(protocol, "sctp") == 0) {
		send_sctp(raw, "ASK", probe_id, &to, SCTP_SOURCE, port);
		return;
	}
	type = strcmp(protocol, "tcp") == 0 ? SOCK_STREAM : SOCK_DGRAM;
	probe = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (connect(probe, (struct sockaddr *)&to, sizeof(to)) != 0 && errno != EINPROGRESS)
		say(strerrorname_np(errno));
	else if (type == SOCK_DGRAM && send(probe, "ask", 3, 0) < 0)
		say(strerrorname_np(errno));
	else
		return;
	close(probe);
	probe = -1;
}

/* TCP: connected is open, without a word. UDP: an answer is. */
static void on_probe(short events)
{
	int type, error = 0;
	socklen_t length = sizeof(int);
	char bytes[16];

	getsockopt(probe, SOL_SOCKET, SO_TYPE, &type, &length);
	if (type == SOCK_STREAM)
		getsockopt(probe, SOL_SOCKET, SO_ERROR, &error, &length);
	else if (recv(probe, bytes, sizeof(bytes), 0) < 0)
		error = errno;
	if (error == 0 && type == SOCK_STREAM && !(events & POLLOUT))
		return;
	say(error ? strerrorname_np(error) : "open");
	drop(probe);
	probe = -1;
}

static void on_socket(struct pollfd *socket)
{
	struct sockaddr_in from;
	socklen_t length = sizeof(from), option = sizeof(int);
	int type, listening;
	char bytes[256];
	ssize_t size;

	getsockopt(socket->fd, SOL_SOCKET, SO_TYPE, &type, &option);
	getsockopt(socket->fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &option);
	if (type == SOCK_STREAM && listening) {
		add(accept4(socket->fd, NULL, NULL, SOCK_CLOEXEC));
		return;
	}
	size = recvfrom(socket->fd, bytes, sizeof(bytes), 0, (struct sockaddr *)&from, &length);
	if (type == SOCK_DGRAM && size > 0)
		sendto(socket->fd, bytes, size, 0, (struct sockaddr *)&from, length);
	else if (type == SOCK_STREAM && size <= 0) {
		close(socket->fd);
		*socket = sockets[--count];
	}
}

int main(int argc, char **argv)
{
	int raw = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_SCTP);
	char line[256];

	if (raw < 0)
		die("a raw socket");
	add(0);
	add(raw);
	for (int i = 1; i < argc && i <= MAX_PORTS; i++) {
		serve(SOCK_STREAM, atoi(argv[i]));
		serve(SOCK_DGRAM, atoi(argv[i]));
	}
	printf("0 ready\n");
	fflush(stdout);
	for (;;) {
		struct pollfd all[MAX_SOCKETS + 1];
		int held = count;

		memcpy(all, sockets, sizeof(sockets));
		all[held] = (struct pollfd){ .fd = probe, .events = POLLIN | POLLOUT };
		if (probe >= 0) {
			int type;
			socklen_t length = sizeof(type);

			getsockopt(probe, SOL_SOCKET, SO_TYPE, &type, &length);
			all[held].events = type == SOCK_STREAM ? POLLOUT : POLLIN;
		}
		if (poll(all, held + 1, -1) < 0)
			die("poll");
		if (all[held].revents)
			on_probe(all[held].revents);
		for (int i = held - 1; i > 1; i--) {
			if (all[i].revents)
				on_socket(&sockets[i]);
		}
		if (all[1].revents)
			on_sctp(raw);
		if (all[0].revents) {
			if (!fgets(line, sizeof(line), stdin))
				return 0;
			start_probe(raw, line);
		}
	}
}
