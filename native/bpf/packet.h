/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Packet: the properties of one packet that policy needs, seen from the workload (local, remote).
 *
 * Unknown properties narrow the possible matches, and never widen them: without ports only "all ports" entries match
 * (port_bits 48), and behind a header chain that is too long, truncated or malformed only rules for any protocol do
 * (port_bits 32).
 */
#ifndef ZTAP_PACKET_H
#define ZTAP_PACKET_H

#include "common.h"

enum packet_kind {
	/* Decided by policy alone: fragments, ICMP other than echo, packets that could not be parsed. */
	PACKET_PLAIN,
	PACKET_TCP,
	/* The first allowed packet opens a flow: UDP, SCTP, echo requests, other protocols. */
	PACKET_FLOW,
	/* Belongs to a flow, but never opens one: echo replies. */
	PACKET_REPLY,
	/* Required for the network to work: neighbour discovery, multicast listener discovery. */
	PACKET_NEIGHBOUR_DISCOVERY,
};

struct __attribute__((aligned(8))) packet {
	__u8 local[16];
	__u8 remote[16];
	__be16 be_local_port;
	__be16 be_remote_port;
	/* ICMP only: type << 8 | code. */
	__u16 icmp;
	__u8 kind;
	__u8 family;
	/* As in ztap_port_key; for packets that the key does not cover, the IP protocol. */
	__u8 protocol;
	__u8 port_bits;
	__u8 tcp_flags;
	__u8 icmp_is_v6;
	/* Offset of the packet that an ICMP error quotes; 0 for all other packets. */
	__u32 quoted_at;
};

#define TCP_FLAG_SYN_BIT 0x02
#define TCP_FLAG_ACK_BIT 0x10

/* Offsets and values of RFC 791, 8200, 792, 4443, 4861, 3810. */
struct ip4 {
	__u8 version_ihl, tos;
	__be16 length, id, fragment;
	__u8 ttl, protocol;
	__be16 check;
	__u8 source[4], destination[4];
};

struct ip6 {
	__u8 version_class, class_flow[3];
	__be16 length;
	__u8 next, hop_limit;
	__u8 source[16], destination[16];
};

#define ICMP4_ECHO_REPLY 0
#define ICMP4_ECHO 8
#define ICMP6_ECHO 128
#define ICMP6_ECHO_REPLY 129
#define EXT_HOP_BY_HOP 0
#define EXT_ROUTING 43
#define EXT_FRAGMENT 44
#define EXT_DESTINATION 60

static __always_inline bool is_neighbour_discovery(__u8 type, __u8 code, __u8 hop_limit)
{
	/*
	 * Solicitations and advertisements of routers and neighbours: hop limit 255 proves that no router forwarded
	 * them.
	 */
	if (type >= 133 && type <= 136)
		return code == 0 && hop_limit == 255;
	/* Listener queries, reports and dones never leave the link: hop limit 1. */
	if ((type >= 130 && type <= 132) || type == 143)
		return hop_limit == 1;
	return false;
}

/* Destination unreachable, source quench, time exceeded, parameter problem; ICMPv6: the same, and packet too big. */
static __always_inline bool icmp_is_error(__u8 type, bool v6)
{
	return v6 ? type >= 1 && type <= 4 : type == 3 || type == 4 || type == 11 || type == 12;
}

/* Reads the transport header at `offset`. If it is truncated, the ports stay unknown. */
static __always_inline void parse_transport(struct __sk_buff *skb, struct packet *p, __u32 offset, __u8 protocol,
					    bool egress, __u8 hop_limit, bool quoted)
{
	__u8 head[14] = {};
	__be16 source, destination;

	p->kind = PACKET_PLAIN;
	p->protocol = protocol;
	p->port_bits = ZTAP_PORT_PROTOCOL_BITS;
	switch (protocol) {
	case IPPROTO_TCP:
		/* A quotation may end after eight bytes: then the flags are missing, but they are not needed. */
		if (quoted ? bpf_skb_load_bytes(skb, offset, head, 4) : bpf_skb_load_bytes(skb, offset, head, 14))
			return;
		p->tcp_flags = head[13];
		p->kind = PACKET_TCP;
		break;
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_SCTP:
		if (bpf_skb_load_bytes(skb, offset, head, 4))
			return;
		p->kind = PACKET_FLOW;
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6: {
		bool v6 = protocol == IPPROTO_ICMPV6;

		/* ICMP in IPv6 and ICMPv6 in IPv4 do not exist: they keep their own number, without a port. */
		if (v6 != (p->family == AF_INET6)) {
			p->port_bits = ZTAP_PORT_ANY_BITS;
			return;
		}
		p->protocol = ZTAP_PROTOCOL_ICMP;
		p->icmp_is_v6 = v6;
		if (bpf_skb_load_bytes(skb, offset, head, 8))
			return;
		p->port_bits = ZTAP_PORT_FULL_BITS;
		p->icmp = head[0] << 8 | head[1];
		if (v6 && is_neighbour_discovery(head[0], head[1], hop_limit))
			p->kind = PACKET_NEIGHBOUR_DISCOVERY;
		/* Echo has no other code than 0: with another code it is an ordinary message, without a flow. */
		else if (head[0] == (v6 ? ICMP6_ECHO : ICMP4_ECHO) && !head[1])
			p->kind = PACKET_FLOW;
		else if (head[0] == (v6 ? ICMP6_ECHO_REPLY : ICMP4_ECHO_REPLY) && !head[1])
			p->kind = PACKET_REPLY;
		/* There are no errors about errors. */
		if (!quoted && icmp_is_error(head[0], v6))
			p->quoted_at = offset + 8;
		p->be_local_port = *(__be16 *)(head + 4);
		return;
	}
	default:
		p->kind = PACKET_FLOW;
		return;
	}
	p->port_bits = ZTAP_PORT_FULL_BITS;
	source = *(__be16 *)head;
	destination = *(__be16 *)(head + 2);
	p->be_local_port = egress ? source : destination;
	p->be_remote_port = egress ? destination : source;
}

static __always_inline void parse_ip4(struct __sk_buff *skb, struct packet *p, bool egress, bool quoted, __u32 base)
{
	struct ip4 ip;

	if (bpf_skb_load_bytes(skb, base, &ip, sizeof(ip)))
		return;
	p->family = AF_INET;
	__builtin_memcpy(p->local, egress ? ip.source : ip.destination, 4);
	__builtin_memcpy(p->remote, egress ? ip.destination : ip.source, 4);
	/* A raw socket can send data that is not an IPv4 header; the offset of its payload is then unknown. */
	if (ip.version_ihl >> 4 != 4 || (ip.version_ihl & 15) < 5)
		return;
	if (ip.fragment & bpf_htons(0x1fff)) {
		p->protocol = ip.protocol;
		p->port_bits = ip.protocol == IPPROTO_ICMPV6 ? ZTAP_PORT_ANY_BITS : ZTAP_PORT_PROTOCOL_BITS;
		return;
	}
	parse_transport(skb, p, base + (ip.version_ihl & 15) * 4, ip.protocol, egress, ip.ttl, quoted);
}

static __always_inline bool is_extension(__u8 next)
{
	return next == EXT_HOP_BY_HOP || next == EXT_ROUTING || next == EXT_FRAGMENT || next == EXT_DESTINATION;
}

static __always_inline void parse_ip6(struct __sk_buff *skb, struct packet *p, bool egress, bool quoted, __u32 base)
{
	__u32 offset = base + sizeof(struct ip6);
	__u8 head[8];
	struct ip6 ip;
	__u8 next;

	if (bpf_skb_load_bytes(skb, base, &ip, sizeof(ip)))
		return;
	p->family = AF_INET6;
	__builtin_memcpy(p->local, egress ? ip.source : ip.destination, 16);
	__builtin_memcpy(p->remote, egress ? ip.destination : ip.source, 16);
	if (ip.version_class >> 4 != 6)
		return;
	next = ip.next;
	/*
	 * Unrolled: Linux 6.1 accepts a loop only if its back edge is a jump, and clang may lay the latch out before
	 * the head, so that control falls through into the head.
	 */
#pragma clang loop unroll(full)
	for (int i = 0; i < ZTAP_MAX_EXTENSIONS; i++) {
		if (!is_extension(next))
			break;
		if (bpf_skb_load_bytes(skb, offset, head, 8))
			return;
		if (next == EXT_FRAGMENT && *(__be16 *)(head + 2) & bpf_htons(0xfff8)) {
			/*
			 * A later fragment: it may still begin with an extension header, and then its protocol is
			 * unknown.
			 */
			if (is_extension(head[0]) || head[0] == IPPROTO_ICMP)
				return;
			p->protocol = head[0] == IPPROTO_ICMPV6 ? ZTAP_PROTOCOL_ICMP : head[0];
			p->port_bits = ZTAP_PORT_PROTOCOL_BITS;
			return;
		}
		offset += next == EXT_FRAGMENT ? 8 : (head[1] + 1) * 8;
		next = head[0];
	}
	if (!is_extension(next))
		parse_transport(skb, p, offset, next, egress, ip.hop_limit, quoted);
}

/* Beside the direction, in one argument of parse(). */
#define PACKET_IS_QUOTED 2

/*
 * Parses the packet at `base`. `what`: the direction, and PACKET_IS_QUOTED for one that an ICMP error quotes.
 *
 * A global function, so that the verifier checks it once and separately; inlined, the paths through the headers would
 * multiply with the paths through policy (70 ms per program instead of 10).
 */
__noinline int parse(struct __sk_buff *skb, struct packet *p, __u32 what, __u32 base)
{
	if (!p)
		return 0;
	p->kind = PACKET_PLAIN;
	p->port_bits = ZTAP_PORT_ANY_BITS;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		parse_ip4(skb, p, what & ZTAP_EGRESS, what & PACKET_IS_QUOTED, base);
	else if (skb->protocol == bpf_htons(ETH_P_IPV6))
		parse_ip6(skb, p, what & ZTAP_EGRESS, what & PACKET_IS_QUOTED, base);
	return 0;
}

static __always_inline bool same_address(const __u8 *one, const __u8 *other)
{
	const __u64 *left = (const __u64 *)one, *right = (const __u64 *)other;

	return left[0] == right[0] && left[1] == right[1];
}

/* Sets the key of the packet's flow or connection, as in ztap_flows and ztap_begun. */
static __always_inline void set_key(struct ztap_flow_key *key, __u32 subject, const struct packet *p)
{
	key->subject = subject;
	key->protocol = p->protocol;
	key->family = p->family;
	key->reserved = 0;
	__builtin_memcpy(key->local, p->local, 16);
	__builtin_memcpy(key->remote, p->remote, 16);
	key->be_local_port = p->be_local_port;
	key->be_remote_port = p->be_remote_port;
}

#endif
