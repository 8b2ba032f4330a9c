// SPDX-License-Identifier: Apache-2.0
/*
 * Sockets that Node.js has not: raw, ping and packet sockets, for test/kernel/raw.test.ts. One
 * command a line on stdin, one answer a line on stdout, and a line for everything received:
 *
 *   socket DOMAIN TYPE PROTOCOL           → fd N, or an errno name; the numbers of <sys/socket.h>
 *   option FD LEVEL NAME VALUE            → ok, or an errno name; setsockopt of a number
 *   steer FD                              each packet to a socket of its SO_REUSEPORT group at random
 *   listen FD                             → ok, or an errno name; what it accepts is told as "got FD accepted", and closed
 *   close FD                              → ok
 *   include FD                            the IPv4 header comes with what is sent
 *   bind|connect FD ADDRESS PORT          → ok, or an errno name
 *   send FD ADDRESS PORT HEX              → ok, or an errno name; ADDRESS may be @ifname for packet
 *                                       sockets, unix:PATH, or unix:%NAME for an abstract Unix address
 *   dial ADDRESS PORT ...                → one TCP socket calls each port in turn, sends a byte and disconnects; ok, or an
 *                                           errno name, for each
 *   mtu FD                                → the path MTU of a connected IPv4 socket
 *   got FD HEX                            what arrived
 *   got FD error HEX                      what an ICMP error quoted; for sockets with IP_RECVERR
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { MAX_SOCKETS = 64, MAX_BYTES = 2048 };

static struct pollfd sockets[MAX_SOCKETS] = { { .fd = 0, .events = POLLIN } };
static int count = 1;

static void answer(const char *text)
{
	printf("%s\n", text);
	fflush(stdout);
}

static void answer_errno(int result)
{
	answer(result < 0 ? strerrorname_np(errno) : "ok");
}

static socklen_t read_address(const char *text, int port, struct sockaddr_storage *out)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)out;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
	struct sockaddr_ll *link = (struct sockaddr_ll *)out;

	memset(out, 0, sizeof(*out));
	if (strncmp(text, "unix:", 5) == 0) {
		struct sockaddr_un *name = (struct sockaddr_un *)out;
		size_t length = strlen(text + 5);

		name->sun_family = AF_UNIX;
		memcpy(name->sun_path, text + 5, length);
		if (text[5] == '%')
			name->sun_path[0] = 0;
		return offsetof(struct sockaddr_un, sun_path) + length;
	}
	if (text[0] == '@') {
		link->sll_family = AF_PACKET;
		link->sll_ifindex = if_nametoindex(text + 1);
		return sizeof(*link);
	}
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		return sizeof(*v4);
	}
	inet_pton(AF_INET6, text, &v6->sin6_addr);
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	return sizeof(*v6);
}

static int read_hex(const char *text, unsigned char *out)
{
	int length = 0;

	for (; text[0] && text[1] && length < MAX_BYTES; text += 2) {
		unsigned byte;

		if (sscanf(text, "%2x", &byte) != 1)
			break;
		out[length++] = byte;
	}
	return length;
}

static void open_socket(int domain, int type, int protocol)
{
	int fd = count < MAX_SOCKETS ? socket(domain, type | SOCK_CLOEXEC, protocol) : -1, yes = 1;

	if (fd < 0) {
		answer_errno(fd);
		return;
	}
	setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &yes, sizeof(yes));
	sockets[count++] = (struct pollfd){ .fd = fd, .events = POLLIN };
	printf("fd %d\n", fd);
	fflush(stdout);
}

static void close_socket(int fd)
{
	for (int i = 1; i < count; i++) {
		if (sockets[i].fd == fd)
			sockets[i] = sockets[--count];
	}
	close(fd);
	answer("ok");
}

static int steer(int fd)
{
	/* The least bit of a random number. */
	struct sock_filter code[] = {
		{ BPF_LD | BPF_W | BPF_ABS, 0, 0, SKF_AD_OFF + SKF_AD_RANDOM },
		{ BPF_ALU | BPF_AND | BPF_K, 0, 0, 1 },
		{ BPF_RET | BPF_A, 0, 0, 0 },
	};
	struct sock_fprog program = { .len = 3, .filter = code };

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program));
}

static void dial(const char *address, const char *ports)
{
	struct sockaddr_storage to, nobody = { .ss_family = AF_UNSPEC };
	int fd = socket(strchr(address, ':') ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), at = 0, port;
	int repeats = 1;

	/* A SYN that is lost comes again once, and not for two minutes. */
	setsockopt(fd, IPPROTO_TCP, TCP_SYNCNT, &repeats, sizeof(repeats));

	for (; sscanf(ports += at, "%d%n", &port, &at) == 1;) {
		socklen_t length = read_address(address, port, &to);
		int failed = connect(fd, (struct sockaddr *)&to, length) || send(fd, "x", 1, MSG_NOSIGNAL) != 1;

		printf("%s ", failed ? strerrorname_np(errno) : "ok");
		connect(fd, (struct sockaddr *)&nobody, sizeof(nobody));
	}
	close(fd);
	answer("");
}

static void obey(const char *line)
{
	static char hex[2 * MAX_BYTES + 1];
	static unsigned char bytes[MAX_BYTES];
	char verb[16] = "", address[64] = "";
	struct sockaddr_storage to;
	int fd = -1, a = 0, b = 0, value = 1;
	socklen_t size = sizeof(value);
	int rest = 0;

	if (sscanf(line, "socket %d %d %d", &fd, &a, &b) == 3)
		open_socket(fd, a, b);
	else if (sscanf(line, "option %d %d %d %d", &fd, &a, &b, &value) == 4)
		answer_errno(setsockopt(fd, a, b, &value, sizeof(value)));
	else if (sscanf(line, "steer %d", &fd) == 1)
		answer_errno(steer(fd));
	else if (sscanf(line, "close %d", &fd) == 1)
		close_socket(fd);
	else if (sscanf(line, "listen %d", &fd) == 1)
		answer_errno(fcntl(fd, F_SETFL, O_NONBLOCK) || listen(fd, 64) ? -1 : 0);
	else if (sscanf(line, "include %d", &fd) == 1)
		answer_errno(setsockopt(fd, IPPROTO_IP, IP_HDRINCL, &value, sizeof(value)));
	else if (sscanf(line, "dial %63s%n", address, &rest) == 1)
		dial(address, line + rest);
	else if (sscanf(line, "mtu %d", &fd) == 1) {
		getsockopt(fd, IPPROTO_IP, IP_MTU, &value, &size);
		printf("%d\n", value);
		fflush(stdout);
	} else if (sscanf(line, "send %d %63s %d %4096s", &fd, address, &a, hex) == 4) {
		socklen_t length = read_address(address, a, &to);

		answer_errno(sendto(fd, bytes, read_hex(hex, bytes), 0, (struct sockaddr *)&to, length));
	} else if (sscanf(line, "%15s %d %63s %d", verb, &fd, address, &a) == 4) {
		socklen_t length = read_address(address, a, &to);

		answer_errno(strcmp(verb, "bind") == 0 ? bind(fd, (struct sockaddr *)&to, length) :
							 connect(fd, (struct sockaddr *)&to, length));
	} else
		answer("EINVAL");
}

static void receive(int fd)
{
	unsigned char bytes[MAX_BYTES];
	ssize_t length = recv(fd, bytes, sizeof(bytes), MSG_ERRQUEUE);
	const char *kind = length < 0 ? "" : "error ";

	if (length < 0)
		length = recv(fd, bytes, sizeof(bytes), 0);
	if (length < 0 && errno == ENOTCONN) {
		/* A socket that does not listen yet looks as if it were hung up. */
		int accepted = accept(fd, NULL, NULL);

		if (accepted < 0)
			return;
		close(accepted);
		printf("got %d accepted\n", fd);
	} else if (length < 0) {
		printf("got %d %s\n", fd, strerrorname_np(errno));
	} else {
		printf("got %d %s", fd, kind);
		for (ssize_t at = 0; at < length; at++)
			printf("%02x", bytes[at]);
		printf("\n");
	}
	fflush(stdout);
}

int main(void)
{
	char line[2 * MAX_BYTES + 128];

	/* Lines are read as they come: nothing may wait in a buffer that poll does not see. */
	setvbuf(stdin, NULL, _IONBF, 0);
	answer("ready");
	for (;;) {
		if (poll(sockets, count, -1) < 0)
			return 1;
		for (int i = 1; i < count; i++) {
			if (sockets[i].revents)
				receive(sockets[i].fd);
		}
		if (sockets[0].revents) {
			if (!fgets(line, sizeof(line), stdin))
				return 0;
			obey(line);
		}
	}
}
