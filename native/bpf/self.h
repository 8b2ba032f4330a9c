/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Self traffic: a workload may always talk to itself over the machine's own addresses, as a Kubernetes pod may. */
#ifndef ZTAP_SELF_H
#define ZTAP_SELF_H

#include "host-workload.h"
#include "policy.h"

/*
 * bpf_sk_ancestor_cgroup_id() for connect programs, which may not call it. False negatives do not matter for UDP: its
 * caller lets the packet program decide whenever any socket is found.
 */
static __always_inline bool tcp_socket_is_in(struct bpf_sock *found, const struct ztap_cgroup *own)
{
	struct sock *sk = (struct sock *)bpf_skc_to_tcp_sock(found);
	struct cgroup *cgroup, *ancestor = NULL;
	__u32 level = own->level;

	if (!sk)
		return false;
	cgroup = BPF_CORE_READ(sk, sk_cgrp_data.cgroup);
	if (level > (__u32)BPF_CORE_READ(cgroup, level))
		return false;
	bpf_core_read(&ancestor, sizeof(ancestor), &cgroup->ancestors[level]);
	return BPF_CORE_READ(ancestor, kn, id) == own->cgroup && (!is_host(own) || !is_covered_cgroup((__u64)cgroup));
}

/*
 * Returns whether the socket that receives packets from local to remote belongs to the same workload. Runs only after a
 * deny and for local addresses: off the fast path.
 */
static __always_inline int receiver_is_self(void *ctx, const struct packet *p, const struct ztap_cgroup *cgroup,
					    bool connect)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *sk;
	__u32 size;
	bool own;

	if (p->family == AF_INET) {
		__builtin_memcpy(&tuple.ipv4.saddr, p->local, 4);
		__builtin_memcpy(&tuple.ipv4.daddr, p->remote, 4);
		tuple.ipv4.sport = p->be_local_port;
		tuple.ipv4.dport = p->be_remote_port;
		size = sizeof(tuple.ipv4);
	} else {
		__builtin_memcpy(tuple.ipv6.saddr, p->local, 16);
		__builtin_memcpy(tuple.ipv6.daddr, p->remote, 16);
		tuple.ipv6.sport = p->be_local_port;
		tuple.ipv6.dport = p->be_remote_port;
		size = sizeof(tuple.ipv6);
	}
	if (p->protocol == IPPROTO_TCP)
		sk = bpf_sk_lookup_tcp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	else if (p->protocol == IPPROTO_UDP)
		sk = bpf_sk_lookup_udp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	else
		return 0;
	if (!sk)
		return 0;
	if (connect)
		own = p->protocol == IPPROTO_UDP || tcp_socket_is_in(sk, cgroup);
	else
		own = bpf_sk_ancestor_cgroup_id(sk, cgroup->level) == cgroup->cgroup;
	bpf_sk_release(sk);
	return own;
}

#define LOOPBACK_IFINDEX 1

/* Beside the direction, in one argument of is_to_self(). */
#define PACKET_IS_DENIED 2
/* Nothing is remembered of the packet: every echo to itself counts as its own. */
#define PACKET_IS_ONLY_LOOKED_AT 4

/*
 * Packets that a workload sends over the loopback device carry its mark: a process may give its datagrams any source address
 * of the machine (IP_PKTINFO), so that the addresses do not identify the sender. The guards take the mark away from packets of
 * others.
 */
static __always_inline __u32 mark_of(__u32 subject, __u32 kind)
{
	__u32 zero = 0;
	struct ztap_control *control = bpf_map_lookup_elem(&ztap_control, &zero);

	return (subject ^ (control ? control->salt : 0)) | kind;
}

/* Returns the subject whose mark it would be. */
static __always_inline __u32 subject_in(__u32 mark)
{
	return mark_of(mark & ~ZTAP_MARK_KINDS, 0);
}

static __always_inline void mark_sender(struct __sk_buff *skb, const struct ztap_cgroup *cgroup)
{
	if (skb->ifindex == LOOPBACK_IFINDEX)
		skb->mark = mark_of(cgroup->subject, ZTAP_MARK_SENDER);
}

/* A separate function: the programs have no room on their stacks for the key. */
__noinline int is_known_subject(__u32 subject)
{
	return bpf_map_lookup_elem(&ztap_subject_places, &subject) ? 1 : 0;
}

enum mark_owner { MARK_OF_NOBODY, MARK_OF_ITSELF, MARK_OF_ANOTHER };

/* Returns whose the mark is, among the workloads of this node. A separate function, so that other packets do not pay for it. */
__noinline int owner_of_mark(__u32 mark, __u32 subject)
{
	__u32 marked = subject_in(mark);

	if (marked == subject)
		return MARK_OF_ITSELF;
	return is_known_subject(marked) ? MARK_OF_ANOTHER : MARK_OF_NOBODY;
}

static __always_inline bool is_for_sender_alone(const struct __sk_buff *skb)
{
	return skb->ifindex == LOOPBACK_IFINDEX && (skb->mark & ZTAP_MARK_KINDS) == ZTAP_MARK_SELF_ONLY;
}

/* Returns whether the packet is for its sender alone, which is another workload. */
static __always_inline bool is_for_another(const struct __sk_buff *skb, const struct ztap_cgroup *cgroup)
{
	return is_for_sender_alone(skb) && owner_of_mark(skb->mark, cgroup->subject) == MARK_OF_ANOTHER;
}

static __always_inline bool is_marked(const struct __sk_buff *skb, __u32 subject)
{
	return skb->mark == mark_of(subject, ZTAP_MARK_SELF_ONLY) || skb->mark == mark_of(subject, ZTAP_MARK_SENDER);
}

/* The workload receives its own packet. */
static __always_inline void receive_mark(struct __sk_buff *skb, const struct ztap_cgroup *cgroup)
{
	if (is_for_sender_alone(skb) && owner_of_mark(skb->mark, cgroup->subject) == MARK_OF_ITSELF)
		skb->mark = (skb->mark & ~ZTAP_MARK_KINDS) | ZTAP_MARK_SENDER;
}

/*
 * Returns whether an echo belongs to a workload that pings itself. The kernel answers a request without the sender's mark. So
 * an identifier belongs to the workload that used it first, until it has been idle for a while.
 */
static __always_inline int is_own_echo(const struct packet *p, __u32 subject, __u32 now, __u32 direction)
{
	struct ztap_flow_key key = { .protocol = p->protocol, .family = p->family };
	struct ztap_echo fresh = { .subject = subject, .seen = now }, *held;
	bool is_held, swapped = p->kind == PACKET_REPLY && direction == ZTAP_EGRESS;

	__builtin_memcpy(key.local, swapped ? p->remote : p->local, 16);
	__builtin_memcpy(key.remote, swapped ? p->local : p->remote, 16);
	key.be_local_port = p->be_local_port;
	held = bpf_map_lookup_elem(&ztap_echoes, &key);
	is_held = held && (__s32)(now - held->seen) <= ZTAP_FLOW_NEW_TICKS;
	if (p->kind == PACKET_REPLY)
		return is_held && held->subject == subject;
	if (held && held->subject == subject) {
		held->seen = now;
		return 1;
	}
	if (is_held)
		return 0;
	if (held)
		bpf_map_delete_elem(&ztap_echoes, &key);
	return !bpf_map_update_elem(&ztap_echoes, &key, &fresh, BPF_NOEXIST);
}

/*
 * Returns whether the workload sends the packet to itself. Only the receiving program knows the receiving socket. So a packet
 * that policy denies (PACKET_IS_DENIED) is marked for the workload's own sockets alone. A global function, so that the verifier checks
 * it once.
 */
__noinline int is_to_self(struct __sk_buff *skb, const struct packet *p, const struct ztap_cgroup *cgroup, __u32 now,
			  __u32 what)
{
	__u32 direction = what & 1, subject;

	if (!p || !cgroup)
		return 0;
	subject = cgroup->subject;
	/* On the wire, anyone can forge such an address; the kernel's own packets come through the loopback device. */
	if (skb->ifindex != LOOPBACK_IFINDEX || (!is_loopback(p->remote, p->family) && !same_address(p->local, p->remote)))
		return 0;
	if (p->protocol == ZTAP_PROTOCOL_ICMP) {
		/* Nothing but its subject says whose an echo is. */
		if ((p->kind != PACKET_FLOW && p->kind != PACKET_REPLY) || cgroup->flags & ZTAP_SHARED)
			return 0;
		if (direction == ZTAP_INGRESS && p->kind == PACKET_FLOW)
			return is_marked(skb, subject);
		if (!(what & PACKET_IS_ONLY_LOOKED_AT) && !is_own_echo(p, subject, now, direction))
			return 0;
	} else if (direction == ZTAP_INGRESS) {
		return is_marked(skb, subject);
	} else if (!receiver_is_self(skb, p, cgroup, false)) {
		return 0;
	}
	if (direction == ZTAP_EGRESS && what & PACKET_IS_DENIED)
		skb->mark = mark_of(subject, ZTAP_MARK_SELF_ONLY);
	return 1;
}

/*
 * Takes the workload's mark away from a packet of another newborn cgroup with the same subject: for its own, the socket at the other
 * end is in this one. Returns whether the packet is refused: it is for its sender alone. A function for the programs themselves: the
 * functions below them have no room on their stacks.
 */
__noinline int is_of_sibling(struct __sk_buff *skb, const struct ztap_cgroup *cgroup)
{
	struct packet p = {};
	bool is_alone;

	if (!cgroup || !(cgroup->flags & ZTAP_SHARED) || skb->ifindex != LOOPBACK_IFINDEX || !is_marked(skb, cgroup->subject))
		return 0;
	is_alone = is_for_sender_alone(skb);
	parse(skb, &p, ZTAP_INGRESS, 0);
	if (receiver_is_self(skb, &p, cgroup, false))
		return 0;
	skb->mark = 0;
	return is_alone;
}

/* Returns whether a packet that policy does not allow is sent by the workload to itself. */
static __always_inline bool is_self_traffic(struct __sk_buff *skb, const struct scope *scope, const struct packet *p,
					    __u32 direction, __u8 verdict)
{
	return is_to_self(skb, p, scope->cgroup, now_ticks(scope),
			  direction | (verdict == ZTAP_DENIED ? PACKET_IS_DENIED : 0));
}

#endif
