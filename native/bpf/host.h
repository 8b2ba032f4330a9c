/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Host: what the kernel's own stack delivers to a socket without its cgroup's programs, and what it answers by itself. Judged at the
 * interfaces of a network namespace. See docs/adr/0016-host-stack.md.
 *
 *  - Ingress: an ICMP error carries data to a socket. It passes if the socket's workload allowed the flow that it quotes.
 *  - Egress: a reset, an ICMP error or an echo reply of the kernel, from an address that only isolated workloads declare, tells who
 *    has a socket there. It passes if a policy of one of them allows what it answers. Nothing is refused before, since whether a packet
 *    is for a socket of this machine is known only behind address translation.
 */
#ifndef ZTAP_HOST_H
#define ZTAP_HOST_H

#include "channels.h"

/* The next program of the interface decides. */
#define HOST_NEXT -1
#define HOST_DROP 2

#define PACKET_OTHERHOST 3
#define VLAN_ID_MASK 0x0fff
#define IP4_MORE_FRAGMENTS 0x2000
#define IP4_FRAGMENT_OFFSET 0x1fff
#define IP6_MORE_FRAGMENTS 1
#define IP6_FRAGMENT_OFFSET 0xfff8
#define TCP_FLAG_RST_BIT 0x04
#define ICMP4_UNREACHABLE 3
#define ICMP4_PROTOCOL_UNREACHABLE 2
#define ICMP4_PORT_UNREACHABLE 3
#define ICMP4_FRAGMENTATION_NEEDED 4
#define ICMP6_FIRST_INFORMATIONAL 128
#define ICMP6_UNREACHABLE 1
#define ICMP6_PORT_UNREACHABLE 4
#define ICMP6_TOO_BIG 2
#define ICMP6_PARAMETER_PROBLEM 4
#define EXT_AUTHENTICATION 51

/* An IP packet at a network interface, as far as its headers were read. */
struct datagram {
	__u8 source[16], destination[16];
	/* Of the first header that is not an extension; 0: not known. */
	__u8 protocol;
	__u8 family;
	/* The first of several fragments, or a later one. */
	__u8 begins, follows;
	/* Of that header, and of the end of the packet: from the IP header. A frame may be longer than the packet in it. */
	__u32 offset, end;
};

static __always_inline long load(struct __sk_buff *skb, __u32 offset, void *to, __u32 size)
{
	return bpf_skb_load_bytes_relative(skb, offset, to, size, BPF_HDR_START_NET);
}

/*
 * Reads the headers of the packet at `base`. The kernel looks neither at the version nor at the fragments of a packet that an ICMP
 * error quotes: such a packet is read as the kernel does, since a stricter reader could be led to another socket. A global function, so
 * that the verifier checks it once.
 */
__noinline int read_headers(struct __sk_buff *skb, struct datagram *d, __u32 base, __u32 end, __u32 quoted)
{
	__u8 next, head[8];

	if (!d)
		return 0;
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct ip4 ip;

		if (base + sizeof(ip) > end || load(skb, base, &ip, sizeof(ip)))
			return 0;
		d->family = AF_INET;
		__builtin_memcpy(d->source, ip.source, 4);
		__builtin_memcpy(d->destination, ip.destination, 4);
		d->protocol = ip.protocol;
		d->offset = base + (ip.version_ihl & 15) * 4;
		d->end = quoted ? end : base + bpf_ntohs(ip.length);
		d->begins = !!(ip.fragment & bpf_htons(IP4_MORE_FRAGMENTS));
		d->follows = !!(ip.fragment & bpf_htons(IP4_FRAGMENT_OFFSET));
		return 0;
	}
	struct ip6 ip;

	if (base + sizeof(ip) > end || load(skb, base, &ip, sizeof(ip)))
		return 0;
	d->family = AF_INET6;
	__builtin_memcpy(d->source, ip.source, 16);
	__builtin_memcpy(d->destination, ip.destination, 16);
	d->end = quoted ? end : base + sizeof(ip) + bpf_ntohs(ip.length);
	d->offset = base + sizeof(ip);
	next = ip.next;
#pragma clang loop unroll(full)
	for (int i = 0; i < ZTAP_MAX_EXTENSIONS; i++) {
		if (!is_extension(next))
			break;
		if (d->offset + sizeof(head) > d->end || load(skb, d->offset, head, sizeof(head)))
			return 0;
		if (next == EXT_FRAGMENT) {
			d->begins |= head[3] & IP6_MORE_FRAGMENTS;
			d->follows |= !!(*(__be16 *)(head + 2) & bpf_htons(IP6_FRAGMENT_OFFSET));
		}
		d->offset += next == EXT_FRAGMENT ? 8 : (head[1] + 1) * 8;
		next = head[0];
	}
	if (!is_extension(next))
		d->protocol = next;
	return 0;
}

/* Returns the socket that receives packets of the protocol from remote to local in this network namespace, or NULL; to be released. */
static __always_inline struct bpf_sock *receiver_of(struct __sk_buff *skb, const struct datagram *d, const __u8 *local,
						    const __u8 *remote, __be16 local_port, __be16 remote_port)
{
	struct bpf_sock_tuple tuple = {};
	__u32 size;

	if (d->family == AF_INET) {
		__builtin_memcpy(&tuple.ipv4.saddr, remote, 4);
		__builtin_memcpy(&tuple.ipv4.daddr, local, 4);
		tuple.ipv4.sport = remote_port;
		tuple.ipv4.dport = local_port;
		size = sizeof(tuple.ipv4);
	} else {
		__builtin_memcpy(tuple.ipv6.saddr, remote, 16);
		__builtin_memcpy(tuple.ipv6.daddr, local, 16);
		tuple.ipv6.sport = remote_port;
		tuple.ipv6.dport = local_port;
		size = sizeof(tuple.ipv6);
	}
	if (d->protocol == IPPROTO_TCP)
		return bpf_skc_lookup_tcp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	return bpf_sk_lookup_udp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
}

/* Returns whether the cached verdict is of this epoch and lets packets pass. */
static __always_inline bool allows_now(__u64 remembered, __u64 epoch)
{
	return remembered >> 32 == (__u32)epoch && ((remembered & 3) == ZTAP_ALLOWED || (remembered & 3) == ZTAP_AUDITED);
}

/* A quoted packet: what of it identifies the flow. */
struct quoted {
	__u8 local[16], remote[16];
	__be16 be_local_port, be_remote_port;
	__u8 protocol, family;
};

/* Returns whether the workload's flow has let a packet pass under this epoch. */
__noinline int has_open_flow(const struct quoted *q, __u32 subject, __u64 epoch)
{
	struct ztap_flow_key key = { .subject = subject };
	struct scope scope = {};
	__u32 now = now_ticks(&scope);
	struct ztap_flow *flow;

	if (!q)
		return 0;
	key.protocol = q->protocol;
	key.family = q->family;
	__builtin_memcpy(key.local, q->local, 16);
	__builtin_memcpy(key.remote, q->remote, 16);
	key.be_local_port = q->be_local_port;
	key.be_remote_port = q->be_remote_port;
	flow = bpf_map_lookup_elem(&ztap_flows, &key);
	if (!flow)
		return 0;
	for (int i = 0; i < 2; i++) {
		if (is_alive(&flow->asked[i], now, key.protocol) && allows_now(flow->asked[i].remembered, epoch))
			return 1;
	}
	return 0;
}

/*
 * Returns whether every isolated workload of the socket's cgroup allowed the flow that the error quotes. `address` is the socket's,
 * as a number; `is_open` tells whether the socket has a connection that policy allows under this epoch.
 */
__noinline int may_receive_error(const struct quoted *q, __u64 address, __u64 epoch, __u32 is_open)
{
	struct cgroup *cgroup = BPF_CORE_READ((struct sock *)address, sk_cgrp_data.cgroup);
	struct ztap_births *all = births();
	__u32 levels, subject;
	__u64 found;

	if (!all || !q)
		return 1;
	levels = all->levels;
	for (__u32 level = 1; level <= ZTAP_MAX_LEVEL; level++) {
		if (!(levels >> level & 1))
			continue;
		subject = owner_of(id_at(cgroup, level));
		found = confinement_of(subject, epoch & 1);
		if (!(found & (ZTAP_CONFINED_INGRESS | ZTAP_CONFINED_EGRESS)) || is_open)
			continue;
		if (q->protocol == IPPROTO_TCP || !has_open_flow(q, subject, epoch))
			return 0;
	}
	return 1;
}

/* Returns whether the packet is for an address of this network namespace: otherwise it is forwarded. */
__noinline int is_for_this_machine(struct __sk_buff *skb, const struct datagram *d)
{
	struct bpf_fib_lookup route = { .ifindex = skb->ifindex };
	long result;

	if (!d)
		return 0;
	route.family = d->family;
	if (d->family == AF_INET) {
		__builtin_memcpy(&route.ipv4_src, d->source, 4);
		__builtin_memcpy(&route.ipv4_dst, d->destination, 4);
	} else {
		__builtin_memcpy(route.ipv6_src, d->source, 16);
		__builtin_memcpy(route.ipv6_dst, d->destination, 16);
	}
	result = bpf_fib_lookup(skb, &route, sizeof(route), 0);
	/* Where nothing is forwarded, the kernel drops what is for others. */
	return result == BPF_FIB_LKUP_RET_NOT_FWDED || result == BPF_FIB_LKUP_RET_FWD_DISABLED;
}

/*
 * Returns whether the error in the packet may be delivered: `offset` is that of the packet that it quotes, `is_mtu` whether it tells the
 * MTU of a path. A global function, so that the verifier checks it once.
 */
__noinline int may_deliver(struct __sk_buff *skb, __u32 offset, __u32 end, __u64 epoch, __u32 is_mtu)
{
	struct datagram d = {};
	struct bpf_sock *found, *sk;
	struct ztap_sock *held;
	struct quoted q = {};
	__u64 address = 0;
	__be16 ports[2];
	int allowed = 1;

	read_headers(skb, &d, offset, end, true);
	if (!d.protocol || d.protocol == EXT_AUTHENTICATION)
		return 0;
	/* Every process of the machine can read the MTU of every path. That of a tunnel is needed; that of a ping is not. */
	if (d.protocol == IPPROTO_ICMP || d.protocol == IPPROTO_ICMPV6)
		return !is_mtu;
	if (d.protocol != IPPROTO_TCP && d.protocol != IPPROTO_UDP)
		return 1;
	if (d.offset + sizeof(ports) > end || load(skb, d.offset, ports, sizeof(ports)))
		return 0;
	found = receiver_of(skb, &d, d.source, d.destination, ports[0], ports[1]);
	if (!found)
		return 1;
	/* A handshake that a listener has, or a connection that has ended: no process reads its errors. */
	sk = bpf_sk_fullsock(found);
	if (sk && sk->state != BPF_TCP_LISTEN) {
		__builtin_memcpy(q.local, d.source, 16);
		__builtin_memcpy(q.remote, d.destination, 16);
		q.be_local_port = ports[0];
		q.be_remote_port = ports[1];
		q.protocol = d.protocol;
		q.family = d.family;
		held = d.protocol == IPPROTO_TCP ? bpf_sk_storage_get(&ztap_socks, sk, NULL, 0) : NULL;
		/* The verifier lets nobody read a socket of this type; so it is read as memory. */
		bpf_probe_read_kernel(&address, sizeof(address), &sk);
		allowed = !is_refused_socket((struct sock *)address, bpf_sk_storage_get(&ztap_refused, sk, NULL, 0)) &&
			  may_receive_error(&q, address, epoch, held && allows_now(held->remembered, epoch));
	}
	bpf_sk_release(found);
	return allowed;
}

/* Returns whether the frame has two priority tags: the kernel takes both away, and no program sees what is behind them. */
static __always_inline bool is_tagged_twice(struct __sk_buff *skb)
{
	__be16 tag;

	if (skb->protocol != bpf_htons(ETH_P_8021Q) && skb->protocol != bpf_htons(ETH_P_8021AD))
		return false;
	return load(skb, 0, &tag, sizeof(tag)) || !(tag & bpf_htons(VLAN_ID_MASK));
}

static __always_inline bool is_icmp(const struct datagram *d)
{
	return d->protocol == (d->family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

/* Returns whether an ICMP error in the packet is to be dropped. A global function, so that the verifier checks it once. */
__noinline int is_refused_error(struct __sk_buff *skb, __u64 epoch)
{
	struct datagram d = {};
	__u8 type[2];
	bool v6;

	read_headers(skb, &d, 0, 0xffff, false);
	v6 = d.family == AF_INET6;
	if (d.follows)
		return 0;
	/* More extension headers than are read may hide an error. */
	if (!d.protocol)
		return v6 && is_for_this_machine(skb, &d);
	if (!is_icmp(&d) || d.offset + 8 > d.end || load(skb, d.offset, type, sizeof(type)))
		return 0;
	/* An ICMPv6 error of an unknown type is delivered as well. */
	if (!(v6 ? type[0] < ICMP6_FIRST_INFORMATIONAL : icmp_is_error(type[0], false)))
		return 0;
	/* No router sends an error in fragments. */
	if (!d.begins && may_deliver(skb, d.offset + 8, d.end, epoch,
				     v6 ? type[0] == ICMP6_TOO_BIG :
					  type[0] == ICMP4_UNREACHABLE && type[1] == ICMP4_FRAGMENTATION_NEEDED))
		return 0;
	return is_for_this_machine(skb, &d);
}

static __always_inline __u64 current_epoch(void)
{
	__u32 zero = 0;
	struct ztap_control *control = bpf_map_lookup_elem(&ztap_control, &zero);

	return control ? *(volatile __u64 *)&control->epoch : 0;
}

/* Returns whether the packet is of neither TCP nor UDP, whose headers need not be read at ingress. */
static __always_inline bool may_be_error(struct __sk_buff *skb)
{
	__u8 next;

	if (skb->protocol == bpf_htons(ETH_P_IP))
		return !load(skb, offsetof(struct ip4, protocol), &next, 1) && next == IPPROTO_ICMP;
	if (skb->protocol != bpf_htons(ETH_P_IPV6) || load(skb, offsetof(struct ip6, next), &next, 1))
		return false;
	return next == IPPROTO_ICMPV6 || is_extension(next);
}

SEC("tc")
int ztap_host_ingress(struct __sk_buff *skb)
{
	/* A frame for another machine: a bridge may pass it on, and the stack does not take it. */
	if (skb->pkt_type == PACKET_OTHERHOST)
		return HOST_NEXT;
	if (!is_tagged_twice(skb) && (!may_be_error(skb) || !is_refused_error(skb, current_epoch())))
		return HOST_NEXT;
	count(ZTAP_COUNT_ICMP_ERROR);
	return HOST_DROP;
}

/* Returns whether a policy of the workloads that declare the packet's local address allows it. A global function, as above. */
__noinline int is_allowed_at(const struct packet *p, __u32 guard, __u32 set)
{
	__u8 place[16] = {};
	__u32 profile;

	if (!p)
		return 0;
	for (__u32 i = 0; i < ZTAP_MAX_GUARD_PROFILES; i++) {
		*(__be32 *)place = bpf_htonl(i);
		profile = lookup_address(place, AF_INET, guard, set);
		if (!profile)
			return 0;
		if ((decide_by_profile(p, profile, set, ZTAP_MODE_ENFORCE, port_of(p, ZTAP_INGRESS)) & 3) == ZTAP_ALLOWED)
			return 1;
	}
	return 0;
}

/*
 * Finds what the kernel's packet answers: a packet to its local address. Returns false if it is no answer that tells of a socket. Resets of
 * connections have their socket.
 */
static __always_inline bool find_question(struct __sk_buff *skb, const struct datagram *d, struct packet *asked)
{
	struct bpf_sock *sk = skb->sk ? bpf_sk_fullsock(skb->sk) : NULL, *found;
	struct datagram quoted = {};
	__u8 head[14] = {};
	__be16 ports[2];

	asked->family = d->family;
	__builtin_memcpy(asked->local, d->source, 16);
	__builtin_memcpy(asked->remote, d->destination, 16);
	asked->port_bits = ZTAP_PORT_FULL_BITS;
	if (d->protocol == IPPROTO_TCP) {
		if ((sk && sk->type == SOCK_STREAM) || load(skb, d->offset, head, 14) || !(head[13] & TCP_FLAG_RST_BIT))
			return false;
		asked->protocol = IPPROTO_TCP;
		asked->be_local_port = *(__be16 *)head;
		asked->be_remote_port = *(__be16 *)(head + 2);
		found = receiver_of(skb, d, d->source, d->destination, asked->be_local_port, asked->be_remote_port);
		if (found)
			bpf_sk_release(found);
		return !found;
	}
	if (!is_icmp(d) || load(skb, d->offset, head, 8))
		return false;
	asked->protocol = ZTAP_PROTOCOL_ICMP;
	asked->icmp_is_v6 = d->family == AF_INET6;
	switch (asked->icmp_is_v6 << 8 | head[0]) {
	/* Replies to echo, timestamp and extended echo; of ICMPv6 to echo, node information and extended echo. */
	case ICMP4_ECHO_REPLY:
		asked->icmp = ICMP4_ECHO << 8;
		return true;
	case 14:
	case 43:
	case 1 << 8 | ICMP6_ECHO_REPLY:
	case 1 << 8 | 140:
	case 1 << 8 | 161:
		asked->icmp = (head[0] - 1) << 8;
		return true;
	case ICMP4_UNREACHABLE:
		if (head[1] != ICMP4_PORT_UNREACHABLE && head[1] != ICMP4_PROTOCOL_UNREACHABLE)
			return false;
		break;
	case 1 << 8 | ICMP6_UNREACHABLE:
		if (head[1] != ICMP6_PORT_UNREACHABLE)
			return false;
		break;
	case 1 << 8 | ICMP6_PARAMETER_PROBLEM:
		break;
	default:
		return false;
	}
	read_headers(skb, &quoted, d->offset + 8, 0xffff, true);
	asked->protocol = quoted.protocol;
	asked->port_bits = ZTAP_PORT_PROTOCOL_BITS;
	if ((quoted.protocol == IPPROTO_UDP || quoted.protocol == IPPROTO_TCP || quoted.protocol == IPPROTO_SCTP) &&
	    !load(skb, quoted.offset, ports, sizeof(ports))) {
		asked->port_bits = ZTAP_PORT_FULL_BITS;
		asked->be_remote_port = ports[0];
		asked->be_local_port = ports[1];
	}
	return true;
}

/* Returns whether the kernel's answer is to be dropped. A global function, as above. */
__noinline int is_refused_answer(struct __sk_buff *skb, __u64 epoch)
{
	struct packet asked = {};
	struct datagram d = {};
	__u32 guard, set = epoch & 1;

	read_headers(skb, &d, 0, 0xffff, false);
	if (!d.protocol || d.follows)
		return 0;
	guard = lookup_address(d.source, d.family, ZTAP_SCOPE_NODE, set);
	if (!guard || guard == ZTAP_DECLARED_ADDRESS || !find_question(skb, &d, &asked))
		return 0;
	return !is_allowed_at(&asked, guard, set);
}

/* Returns whether the packet may be a reset, or one of ICMP: other packets are not read further. */
static __always_inline bool may_be_answer(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk ? bpf_sk_fullsock(skb->sk) : NULL;
	__u8 next;

	/* Forwarded, or of a connection. */
	if (skb->ingress_ifindex || (sk && sk->type == SOCK_STREAM))
		return false;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		return !load(skb, offsetof(struct ip4, protocol), &next, 1) && (next == IPPROTO_ICMP || next == IPPROTO_TCP);
	if (skb->protocol != bpf_htons(ETH_P_IPV6) || load(skb, offsetof(struct ip6, next), &next, 1))
		return false;
	return next == IPPROTO_ICMPV6 || next == IPPROTO_TCP || is_extension(next);
}

SEC("tc")
int ztap_host_egress(struct __sk_buff *skb)
{
	/* A process of this machine learns nothing from the stack that it could not learn otherwise. */
	if (skb->ifindex == LOOPBACK_IFINDEX || !may_be_answer(skb) || !is_refused_answer(skb, current_epoch()))
		return HOST_NEXT;
	count(ZTAP_COUNT_NO_RECEIVER);
	return HOST_DROP;
}

/*
 * Attached to interfaces. Without the program that they call, as after the removal of the pins, they let everything pass: an attachment
 * that cannot be pinned (before Linux 6.6) may be left over.
 */
SEC("tc")
int ztap_interface_ingress(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &ztap_decider_host, ZTAP_INGRESS);
	return HOST_NEXT;
}

SEC("tc")
int ztap_interface_egress(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &ztap_decider_host, ZTAP_EGRESS);
	return HOST_NEXT;
}

/*
 * Iterates over all threads: returns the network namespace of each process of an isolated workload, and of each thread that has
 * another one than its process; the first thread of a process may have ended.
 */
SEC("iter/task")
int ztap_find_namespaces(struct bpf_iter__task *ctx)
{
	struct ztap_namespace found = {};
	struct task_struct *task = ctx->task;
	struct net *net;
	__u64 bits;

	if (!task)
		return 0;
	net = BPF_CORE_READ(task, nsproxy, net_ns);
	if (!net || (BPF_CORE_READ(task, tgid) != BPF_CORE_READ(task, pid) &&
		     net == BPF_CORE_READ(task, group_leader, nsproxy, net_ns)))
		return 0;
	bits = confinement_between((__u64)BPF_CORE_READ(task, cgroups, dfl_cgrp), 0);
	if (!bits)
		return 0;
	found.inode = BPF_CORE_READ(net, ns.inum);
	found.thread = BPF_CORE_READ(task, pid);
	found.subject = bits >> 32;
	found.is_users = BPF_CORE_READ(net, user_ns, level) > 0;
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
