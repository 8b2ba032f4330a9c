/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Errors: an ICMP error carries data to a socket, and passes no program of its cgroup. It passes if the socket's workload allowed the flow
 * that it quotes.
 */
#ifndef ZTAP_ERRORS_H
#define ZTAP_ERRORS_H

#include "channels.h"
#include "datagram.h"

#define VLAN_ID_MASK 0x0fff
#define ICMP4_FRAGMENTATION_NEEDED 4
#define ICMP6_TOO_BIG 2
#define ICMP6_FIRST_INFORMATIONAL 128
#define EXT_AUTHENTICATION 51

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
		address = (__u64)socket_in_kernel(sk);
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

	if ((skb->protocol != bpf_htons(ETH_P_8021Q) && skb->protocol != bpf_htons(ETH_P_8021AD)) ||
	    skb->vlan_tci & VLAN_ID_MASK)
		return false;
	return load(skb, 0, &tag, sizeof(tag)) || !(tag & bpf_htons(VLAN_ID_MASK));
}

/* Returns whether an ICMP error in the packet is to be dropped. A global function, so that the verifier checks it once. */
__noinline int is_refused_error(struct __sk_buff *skb, __u64 epoch)
{
	struct datagram d = {};
	__u8 type[2];
	bool v6;

	read_headers(skb, &d, 0, NO_END, false);
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

/* Returns whether the packet may be of ICMP: of others no more is read. */
static __always_inline bool may_be_error(struct __sk_buff *skb)
{
	__u8 next;

	if (skb->protocol == bpf_htons(ETH_P_IP))
		return !load(skb, offsetof(struct ip4, protocol), &next, 1) && next == IPPROTO_ICMP;
	if (skb->protocol != bpf_htons(ETH_P_IPV6) || load(skb, offsetof(struct ip6, next), &next, 1))
		return false;
	return next == IPPROTO_ICMPV6 || is_extension(next);
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
