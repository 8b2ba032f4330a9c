/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Policy: asks the tables of one set, for one workload and direction. Knows nothing of sockets and flows. */
#ifndef ZTAP_POLICY_H
#define ZTAP_POLICY_H

#include "maps.h"
#include "packet.h"

#define PLACE_KNOWN 0x10000

/* What is found out beside the verdict. */
struct decision {
	/* The rule behind it, or 0. */
	__u32 rule;
	/* Where the rule counts (0: with all that have no place), plus PLACE_KNOWN; or 0. */
	__u32 place;
	/* Bits of TELL_*, in one word: the programs have no room for more on their stacks. */
	__u32 telling;
	/* `told` of the conversation that the packet belongs to; or NULL: then each packet that is only audited is told. */
	__u8 *told;
};

/* The packet's direction, and that of who asked. */
#define TELL_DIRECTION 1
#define TELL_ASKER 2
/* It begins a flow or a connection that was not known. */
#define TELL_NEW 4
/* It begins a handshake with a listener. */
#define TELL_BEGINS 8
/* It belongs to a handshake that was told. */
#define TELL_GOES_ON 16

__inline_always void decide(struct decision *decision, __u32 rule, __u16 place)
{
	decision->rule = rule;
	decision->place = place | PLACE_KNOWN;
}

/* The conversation that an audited packet belongs to. */
__inline_always void belong(struct decision *decision, __u8 *told, __u32 asker)
{
	decision->told = told;
	decision->telling = (decision->telling & ~TELL_ASKER) | (asker & 1) << 1;
}

/* What is constant for one packet: whose it is, and under which epoch it is judged. */
struct scope {
	const struct ztap_cgroup *cgroup;
	__u64 epoch;
	/* The tick that a test says it is; 0 for the real time. A constant in what an agent loads. */
	__u32 test_now;
	struct decision *decision;
};

__inline_always const struct ztap_subject *subject_of(const struct scope *scope)
{
	return scope->epoch & 1 ? &scope->cgroup->set[1] : &scope->cgroup->set[0];
}

__inline_always __u8 mode_of(const struct scope *scope, __u32 direction)
{
	const struct ztap_subject *subject = subject_of(scope);

	return direction == ZTAP_EGRESS ? subject->egress_mode : subject->ingress_mode;
}

/* The longest prefix that holds the remote address: a profile's class, or 0. */
__inline_always __u32 find_class(const struct packet *p, __u32 scope, __u32 set)
{
	struct ztap_addr_key addr = { .prefixlen = sizeof(addr) * 8 - 32 };
	__u32 *found;

	addr.scope = scope | (p->family == AF_INET6);
	__builtin_memcpy(addr.address, p->remote, 16);
	found = set ? bpf_map_lookup_elem(&ztap_addrs_b, &addr) : bpf_map_lookup_elem(&ztap_addrs_a, &addr);
	return found ? *found : 0;
}

/* The rule that allows (remote address, protocol, port), or 0. `port_bits` says how much of protocol and port is known. */
__shared __u32 find_rule(const struct packet *p, __u32 profile, __u32 set, __u32 port, __u32 port_bits)
{
	struct ztap_port_key key = { .prefixlen = port_bits };
	__u32 *found;

	key.class_id = find_class(p, profile, set);
	if (!key.class_id)
		return 0;
	key.protocol = p->protocol;
	key.be_port = bpf_htons(port);
	found = set ? bpf_map_lookup_elem(&ztap_ports_b, &key) : bpf_map_lookup_elem(&ztap_ports_a, &key);
	return found ? *found : 0;
}

/* The port that policy is asked for when `direction` asks: the destination's, or ICMP's type and code. */
__inline_always __u32 port_of(const struct packet *p, __u32 direction)
{
	if (p->protocol == ZTAP_PROTOCOL_ICMP)
		return p->icmp;
	return bpf_ntohs(direction == ZTAP_EGRESS ? p->be_remote_port : p->be_local_port);
}

/* What the policy of `direction` says; `rule` is the rule that allows, where one does. */
__inline_always __u8 judge(const struct scope *scope, const struct packet *p, __u32 direction, __u32 port, __u32 *rule)
{
	const struct ztap_subject *subject = subject_of(scope);
	__u8 mode = mode_of(scope, direction);

	*rule = 0;
	if (mode == ZTAP_MODE_OPEN)
		return ZTAP_ALLOWED;
	if (mode == ZTAP_MODE_UNSET)
		return ZTAP_DENIED;
	*rule = find_rule(p, direction == ZTAP_EGRESS ? subject->egress_profile : subject->ingress_profile,
			  scope->epoch & 1, port, p->port_bits);
	if (*rule)
		return ZTAP_ALLOWED;
	return mode == ZTAP_MODE_AUDIT ? ZTAP_AUDITED : ZTAP_DENIED;
}

/* A remembered verdict: see struct ztap_sock. */
__inline_always __u64 remember(const struct scope *scope, __u8 verdict)
{
	return scope->epoch << 32 | scope->cgroup->subject | verdict;
}

/* `told` of a conversation that was told under this epoch: see struct ztap_sock. */
__inline_always __u8 told_now(const struct scope *scope)
{
	return (scope->epoch & 0x7f) | 0x80;
}

/* The verdict, if it was remembered for this subject under this epoch; else ZTAP_NONE. */
__inline_always __u8 recall(const struct scope *scope, __u64 remembered)
{
	return (remembered & ~3ULL) == remember(scope, 0) ? remembered & 3 : ZTAP_NONE;
}

#endif
