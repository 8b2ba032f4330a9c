/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Host: packets that the kernel's own stack would answer, or deliver to a socket without its cgroup's programs. They are judged
 * where they enter a network namespace, at the ingress of its interfaces. See docs/adr/0016-host-stack.md.
 *
 *  - An ICMP error carries data to a socket. It passes if the socket's workload allowed the flow that it quotes.
 *  - A packet for an address that isolated workloads declare, and for no socket, passes if a policy of one of them allows it. The
 *    stack would answer it, and so tell whether there is a socket.
 */
#ifndef ZTAP_HOST_H
#define ZTAP_HOST_H

#include "channels.h"

/* The next program of the interface decides. */
#define HOST_NEXT -1
#define HOST_DROP 2

#define ETHERNET_BYTES 14
#define ICMP4_TIMESTAMP 13
#define ICMP4_INFORMATION 15
#define ICMP4_ADDRESS_MASK 17
#define ICMP6_FIRST_INFORMATIONAL 128
#define ICMP6_NODE_INFORMATION 139
#define EXT_AUTHENTICATION 51

/*
 * Returns the offset of the IP header: not every interface has a link-layer header. -1 if it is neither missing nor Ethernet's. A
 * missing one is looked for first: where there is one, it begins with an address of this machine, and not as the sender likes.
 */
static __always_inline int offset_of_ip(struct __sk_buff *skb)
{
	const __u8 *data = (const __u8 *)(long)skb->data, *end = (const __u8 *)(long)skb->data_end;
	const __u64 *bare = (const void *)data, *behind = (const void *)(data + ETHERNET_BYTES);
	__u64 head[2], found[2];

	if (bpf_skb_load_bytes_relative(skb, 0, head, sizeof(head), BPF_HDR_START_NET))
		return -1;
	if (data + ETHERNET_BYTES + sizeof(head) <= end) {
		if (bare[0] == head[0] && bare[1] == head[1])
			return 0;
		return behind[0] == head[0] && behind[1] == head[1] ? ETHERNET_BYTES : -1;
	}
	if (!bpf_skb_load_bytes(skb, 0, found, sizeof(found)) && found[0] == head[0] && found[1] == head[1])
		return 0;
	if (!bpf_skb_load_bytes(skb, ETHERNET_BYTES, found, sizeof(found)) && found[0] == head[0] && found[1] == head[1])
		return ETHERNET_BYTES;
	return -1;
}

/* Returns whether this is a TCP or UDP packet for an address that no workload declares: most are, and no more is read of them. */
static __always_inline bool concerns_nobody(struct __sk_buff *skb, __u32 base, __u32 set)
{
	const __u8 *data = (const __u8 *)(long)skb->data + (base & 15), *end = (const __u8 *)(long)skb->data_end;
	const struct ip4 *ip4 = (const void *)data;
	const struct ip6 *ip6 = (const void *)data;
	__u8 address[16] = {};

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		if (data + sizeof(*ip4) > end || (ip4->protocol != IPPROTO_TCP && ip4->protocol != IPPROTO_UDP))
			return false;
		__builtin_memcpy(address, ip4->destination, 4);
		return !lookup_address(address, AF_INET, ZTAP_SCOPE_NODE, set);
	}
	if (data + sizeof(*ip6) > end || (ip6->next != IPPROTO_TCP && ip6->next != IPPROTO_UDP))
		return false;
	__builtin_memcpy(address, ip6->destination, 16);
	return !lookup_address(address, AF_INET6, ZTAP_SCOPE_NODE, set);
}

/* Returns the socket that receives packets from remote to local in this network namespace, or NULL. The caller releases it. */
static __always_inline struct bpf_sock *receiver_of(struct __sk_buff *skb, const struct packet *p)
{
	struct bpf_sock_tuple tuple = {};
	__u32 size;

	if (p->family == AF_INET) {
		__builtin_memcpy(&tuple.ipv4.saddr, p->remote, 4);
		__builtin_memcpy(&tuple.ipv4.daddr, p->local, 4);
		tuple.ipv4.sport = p->be_remote_port;
		tuple.ipv4.dport = p->be_local_port;
		size = sizeof(tuple.ipv4);
	} else {
		__builtin_memcpy(tuple.ipv6.saddr, p->remote, 16);
		__builtin_memcpy(tuple.ipv6.daddr, p->local, 16);
		tuple.ipv6.sport = p->be_remote_port;
		tuple.ipv6.dport = p->be_local_port;
		size = sizeof(tuple.ipv6);
	}
	if (p->protocol == IPPROTO_TCP)
		return bpf_skc_lookup_tcp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	return bpf_sk_lookup_udp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
}

/* Returns whether the cached verdict is of this epoch and lets packets pass. */
static __always_inline bool allows_now(__u64 remembered, __u64 epoch)
{
	return remembered >> 32 == (__u32)epoch && ((remembered & 3) == ZTAP_ALLOWED || (remembered & 3) == ZTAP_AUDITED);
}

/* Returns whether the workload's flow has let a packet pass under this epoch. */
static __noinline int has_open_flow(const struct packet *quoted, __u32 subject, __u64 epoch)
{
	struct scope scope = {};
	__u32 now = now_ticks(&scope);
	struct ztap_flow *flow = find_flow(quoted, subject);

	if (!flow)
		return 0;
	for (int i = 0; i < 2; i++) {
		if (is_alive(&flow->asked[i], now, quoted->protocol) && allows_now(flow->asked[i].remembered, epoch))
			return 1;
	}
	return 0;
}

/*
 * Returns whether every isolated workload of the socket's cgroup allowed the flow that the error quotes. `address` is the socket's,
 * as a number; `is_open` tells whether the socket has a connection that policy allows under this epoch.
 */
static __noinline int may_receive_error(const struct packet *quoted, __u64 address, __u64 epoch, bool is_open)
{
	struct cgroup *cgroup = BPF_CORE_READ((struct sock *)address, sk_cgrp_data.cgroup);
	struct ztap_births *all = births();
	__u32 levels, subject;
	__u64 found;

	if (!all)
		return 1;
	levels = all->levels;
	for (__u32 level = 1; level <= ZTAP_MAX_LEVEL; level++) {
		if (!(levels >> level & 1))
			continue;
		subject = owner_of(id_at(cgroup, level));
		found = confinement_of(subject, epoch & 1);
		if (!(found & (ZTAP_CONFINED_INGRESS | ZTAP_CONFINED_EGRESS)) || is_open)
			continue;
		if (quoted->protocol == IPPROTO_TCP || !has_open_flow(quoted, subject, epoch))
			return 0;
	}
	return 1;
}

/*
 * Reads the quoted packet as the kernel does, which looks neither at the IP version nor at fragments: a stricter reader could be
 * led to another socket, or to none. Returns 0 if it cannot be read.
 */
static __always_inline int read_quoted(struct __sk_buff *skb, struct packet *quoted, __u32 offset, __u32 end)
{
	__u8 next, head[8];

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct ip4 ip;

		if (bpf_skb_load_bytes(skb, offset, &ip, sizeof(ip)))
			return 0;
		quoted->family = AF_INET;
		__builtin_memcpy(quoted->local, ip.source, 4);
		__builtin_memcpy(quoted->remote, ip.destination, 4);
		next = ip.protocol;
		offset += (ip.version_ihl & 15) * 4;
	} else {
		struct ip6 ip;

		if (bpf_skb_load_bytes(skb, offset, &ip, sizeof(ip)))
			return 0;
		quoted->family = AF_INET6;
		__builtin_memcpy(quoted->local, ip.source, 16);
		__builtin_memcpy(quoted->remote, ip.destination, 16);
		next = ip.next;
		offset += sizeof(ip);
#pragma clang loop unroll(full)
		for (int i = 0; i < ZTAP_MAX_EXTENSIONS; i++) {
			if (!is_extension(next))
				break;
			if (bpf_skb_load_bytes(skb, offset, head, 8))
				return 0;
			offset += next == EXT_FRAGMENT ? 8 : (head[1] + 1) * 8;
			next = head[0];
		}
		if (is_extension(next) || next == EXT_AUTHENTICATION)
			return 0;
	}
	quoted->protocol = next;
	if (offset + 4 > end || bpf_skb_load_bytes(skb, offset, head, 4))
		return 0;
	quoted->be_local_port = *(__be16 *)head;
	quoted->be_remote_port = *(__be16 *)(head + 2);
	return 1;
}

/*
 * Returns the end of the IP packet that begins at `base`. A frame may be longer: what follows is no part of it, and could pass for
 * the contents of a fragment that comes later.
 */
static __always_inline __u32 end_of_ip(struct __sk_buff *skb, __u32 base)
{
	__be16 length;
	bool is_ip4 = skb->protocol == bpf_htons(ETH_P_IP);

	if (bpf_skb_load_bytes(skb, base + (is_ip4 ? offsetof(struct ip4, length) : offsetof(struct ip6, length)), &length, 2))
		return 0;
	return base + bpf_ntohs(length) + (is_ip4 ? 0 : sizeof(struct ip6));
}

/*
 * Returns whether an ICMP error may be delivered: the packet begins at `base`, the one that it quotes at `offset`. A global function,
 * so that the verifier checks it once.
 */
__noinline int is_error_allowed(struct __sk_buff *skb, __u32 base, __u32 offset, __u64 epoch)
{
	struct packet quoted = {};
	struct bpf_sock *found, *sk;
	struct ztap_sock *held;
	__u64 address = 0;
	int allowed = 1;

	if (!offset || !read_quoted(skb, &quoted, offset, end_of_ip(skb, base)))
		return 0;
	if (quoted.protocol != IPPROTO_TCP && quoted.protocol != IPPROTO_UDP)
		return 1;
	found = receiver_of(skb, &quoted);
	if (!found)
		return 1;
	/* A handshake that a listener has, or a connection that has ended: no process reads its errors. */
	sk = bpf_sk_fullsock(found);
	if (sk && sk->state != BPF_TCP_LISTEN) {
		held = quoted.protocol == IPPROTO_TCP ? bpf_sk_storage_get(&ztap_socks, sk, NULL, 0) : NULL;
		/* The verifier lets nobody read a socket of this type; so it is read as memory. */
		bpf_probe_read_kernel(&address, sizeof(address), &sk);
		allowed = may_receive_error(&quoted, address, epoch, held && allows_now(held->remembered, epoch));
	}
	bpf_sk_release(found);
	return allowed;
}

/* Returns whether the stack would answer the message, if it is for this machine. */
static __always_inline bool asks(const struct packet *p)
{
	__u8 type = p->icmp >> 8;

	if (p->icmp_is_v6)
		return type == ICMP6_ECHO || type == ICMP6_NODE_INFORMATION;
	return type == ICMP4_ECHO || type == ICMP4_TIMESTAMP || type == ICMP4_INFORMATION || type == ICMP4_ADDRESS_MASK;
}

/* Returns whether the packet is for an address of this network namespace: otherwise it is forwarded. */
static __noinline int is_for_this_machine(struct __sk_buff *skb, const struct packet *p)
{
	struct bpf_fib_lookup route = { .family = p->family, .ifindex = skb->ifindex };
	long result;

	if (p->family == AF_INET) {
		__builtin_memcpy(&route.ipv4_src, p->remote, 4);
		__builtin_memcpy(&route.ipv4_dst, p->local, 4);
	} else {
		__builtin_memcpy(route.ipv6_src, p->remote, 16);
		__builtin_memcpy(route.ipv6_dst, p->local, 16);
	}
	result = bpf_fib_lookup(skb, &route, sizeof(route), 0);
	return result == BPF_FIB_LKUP_RET_NOT_FWDED || result == BPF_FIB_LKUP_RET_FWD_DISABLED;
}

/*
 * Returns whether the packet is for no socket of this machine, and no policy of the workloads that declare its address allows it.
 * A global function, so that the verifier checks it once.
 */
__noinline int is_refused_by_host(struct __sk_buff *skb, const struct packet *p, __u64 epoch)
{
	__u32 guard, set = epoch & 1;
	struct bpf_sock *receiver;

	if (!p || !p->family)
		return 0;
	guard = lookup_address(p->local, p->family, ZTAP_SCOPE_NODE, set);
	if (!guard || guard == ZTAP_DECLARED_ADDRESS)
		return 0;
	if (p->protocol == ZTAP_PROTOCOL_ICMP) {
		if (!asks(p))
			return 0;
	} else if ((p->protocol != IPPROTO_TCP && p->protocol != IPPROTO_UDP) || p->port_bits != ZTAP_PORT_FULL_BITS) {
		return 0;
	} else {
		receiver = receiver_of(skb, p);
		if (receiver) {
			bpf_sk_release(receiver);
			return 0;
		}
	}
	if ((decide_by_profile(p, guard, set, ZTAP_MODE_ENFORCE, port_of(p, ZTAP_INGRESS)) & 3) == ZTAP_ALLOWED)
		return 0;
	return is_for_this_machine(skb, p);
}

/* Returns whether it is an error, as the kernel sees it: for ICMPv6 also one of an unknown type. */
static __always_inline bool is_delivered_as_error(const struct packet *p)
{
	if (p->protocol != ZTAP_PROTOCOL_ICMP || p->port_bits != ZTAP_PORT_FULL_BITS)
		return false;
	return p->icmp_is_v6 ? p->icmp >> 8 < ICMP6_FIRST_INFORMATIONAL : p->quoted_at != 0;
}

/* The one program behind all interfaces: ztap_interface calls it. */
SEC("tc")
int ztap_host(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct ztap_control *control = bpf_map_lookup_elem(&ztap_control, &zero);
	struct packet p = {};
	__u64 epoch;
	int offset;

	if (!control || (skb->protocol != bpf_htons(ETH_P_IP) && skb->protocol != bpf_htons(ETH_P_IPV6)))
		return HOST_NEXT;
	offset = offset_of_ip(skb);
	if (offset < 0)
		return HOST_NEXT;
	epoch = *(volatile __u64 *)&control->epoch;
	if (concerns_nobody(skb, offset, epoch & 1))
		return HOST_NEXT;
	parse(skb, &p, ZTAP_INGRESS, offset);
	/* More extension headers than ztap reads may hide an error. */
	if (is_delivered_as_error(&p) ? !is_error_allowed(skb, offset, p.quoted_at, epoch) :
					p.family == AF_INET6 && !p.protocol && is_for_this_machine(skb, &p)) {
		count(ZTAP_COUNT_ICMP_ERROR);
		return HOST_DROP;
	}
	/* A process of this machine learns nothing from the stack that it could not learn otherwise. */
	if (skb->ifindex == LOOPBACK_IFINDEX || !is_refused_by_host(skb, &p, epoch))
		return HOST_NEXT;
	count(ZTAP_COUNT_NO_RECEIVER);
	return HOST_DROP;
}

/*
 * Attached to interfaces. Without ztap_host, as after the removal of the pins, it lets everything pass: an attachment that cannot be
 * pinned (before Linux 6.6) may be left over.
 */
SEC("tc")
int ztap_interface(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &ztap_decider_host, 0);
	return HOST_NEXT;
}

/*
 * Iterates over all threads: returns the network namespace of each process of an isolated workload. Namespaces of other users are
 * left out: whoever made one may detach programs there, and nothing reaches it but through a process outside.
 */
SEC("iter/task")
int ztap_find_namespaces(struct bpf_iter__task *ctx)
{
	struct ztap_namespace found = {};
	struct task_struct *task = ctx->task;
	struct net *net;

	if (!task || BPF_CORE_READ(task, tgid) != BPF_CORE_READ(task, pid))
		return 0;
	if (!confinement_between((__u64)BPF_CORE_READ(task, cgroups, dfl_cgrp), 0))
		return 0;
	net = BPF_CORE_READ(task, nsproxy, net_ns);
	if (!net || BPF_CORE_READ(net, user_ns, level))
		return 0;
	found.inode = BPF_CORE_READ(net, ns.inum);
	found.process = BPF_CORE_READ(task, tgid);
	bpf_seq_write(ctx->meta->seq, &found, sizeof(found));
	return 0;
}

#define SOL_IP 0
#define IP_RECVERR 11
#define SOL_IPV6 41
#define IPV6_RECVERR 25
#define PAGE_BYTES 4096
#define SOCK_RAW 3

/*
 * At the cgroup root: an isolated workload asks for the data of ICMP errors only at TCP and UDP sockets. For others, such as
 * raw and ping sockets, nothing tells at the interface who would get an error.
 */
SEC("cgroup/setsockopt")
int ztap_guard_setsockopt(struct bpf_sockopt *ctx)
{
	struct bpf_sock *sk = ctx->sk;

	/* The kernel wants it for a value that is longer than what a program sees. */
	if (ctx->optlen > PAGE_BYTES)
		ctx->optlen = 0;
	if (!(ctx->level == SOL_IP && ctx->optname == IP_RECVERR) &&
	    !(ctx->level == SOL_IPV6 && ctx->optname == IPV6_RECVERR))
		return 1;
	if (sk && (sk->protocol == IPPROTO_TCP || sk->protocol == IPPROTO_UDP) && sk->type != SOCK_RAW)
		return 1;
	if (!(confinement_between(current_cgroup(), 0) & (ZTAP_CONFINED_INGRESS | ZTAP_CONFINED_EGRESS)))
		return 1;
	refuse_channel(ZTAP_REFUSED_ERRORS);
	return 0;
}

#endif
