/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Answers: a reset, an ICMP error or an echo reply of the kernel, from an address that only isolated workloads declare, tells who has
 * a socket there. It passes if a policy of one of them allows what it answers. Nothing is refused before: whether a packet is for
 * a socket of this machine is known only behind address translation.
 */
#ifndef ZTAP_ANSWERS_H
#define ZTAP_ANSWERS_H

#include "datagram.h"
#include "policy.h"

#define TCP_FLAG_RST_BIT 0x04
#define ICMP4_PROTOCOL_UNREACHABLE 2
#define ICMP4_PORT_UNREACHABLE 3
#define ICMP4_TIMESTAMP_REPLY 14
#define ICMP4_EXTENDED_ECHO_REPLY 43
#define ICMP6_UNREACHABLE 1
#define ICMP6_PORT_UNREACHABLE 4
#define ICMP6_PARAMETER_PROBLEM 4
#define ICMP6_NODE_INFORMATION_REPLY 140
#define ICMP6_EXTENDED_ECHO_REPLY 161
/* Beside the type, in one number. */
#define IS_ICMP6 0x100

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
		if (is_allowed_by(p, profile, set, port_of(p, ZTAP_INGRESS)))
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
	switch ((asked->icmp_is_v6 ? IS_ICMP6 : 0) | head[0]) {
	case ICMP4_ECHO_REPLY:
		asked->icmp = ICMP4_ECHO << 8;
		return true;
	case ICMP4_TIMESTAMP_REPLY:
	case ICMP4_EXTENDED_ECHO_REPLY:
	case IS_ICMP6 | ICMP6_ECHO_REPLY:
	case IS_ICMP6 | ICMP6_NODE_INFORMATION_REPLY:
	case IS_ICMP6 | ICMP6_EXTENDED_ECHO_REPLY:
		asked->icmp = (head[0] - 1) << 8;
		return true;
	case ICMP4_UNREACHABLE:
		if (head[1] != ICMP4_PORT_UNREACHABLE && head[1] != ICMP4_PROTOCOL_UNREACHABLE)
			return false;
		break;
	case IS_ICMP6 | ICMP6_UNREACHABLE:
		if (head[1] != ICMP6_PORT_UNREACHABLE)
			return false;
		break;
	case IS_ICMP6 | ICMP6_PARAMETER_PROBLEM:
		break;
	default:
		return false;
	}
	read_headers(skb, &quoted, d->offset + 8, NO_END, true);
	/* About a packet that was forwarded. */
	if (!same_address(quoted.destination, d->source))
		return false;
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

	read_headers(skb, &d, 0, NO_END, false);
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

#endif
