/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Datagram: the headers of an IP packet at a network interface, where neither a cgroup nor a socket is known, and the socket that would
 * receive it.
 */
#ifndef ZTAP_DATAGRAM_H
#define ZTAP_DATAGRAM_H

#include "packet.h"

#define IP4_MORE_FRAGMENTS 0x2000
#define IP4_FRAGMENT_OFFSET 0x1fff
#define IP6_MORE_FRAGMENTS 1
#define IP6_FRAGMENT_OFFSET 0xfff8
#define ICMP4_UNREACHABLE 3
/* Longer than any packet. */
#define NO_END 0xffffff

/* An IP packet at a network interface, as far as its headers were read. */
struct __attribute__((aligned(8))) datagram {
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
	/* 0: longer than the field can tell; the kernel joins packets to such ones. */
	d->end = quoted || !ip.length ? end : base + sizeof(ip) + bpf_ntohs(ip.length);
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

/* Returns the socket that receives packets of the protocol from remote to local in this network namespace, or NULL. The caller releases it. */
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

static __always_inline bool is_icmp(const struct datagram *d)
{
	return d->protocol == (d->family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6);
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

#endif
