/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Policy: looks up the tables of one set, for one workload and direction. Does not depend on sockets and flows. */
#ifndef ZTAP_POLICY_H
#define ZTAP_POLICY_H

#include "maps.h"
#include "packet.h"

#define SLOT_KNOWN 0x10000

/* The result of a decision beside the verdict. */
struct decision {
	/* The rule that decided, or 0. */
	__u32 rule;
	/* The rule's counter slot (0: the aggregate of all rules without a slot), plus SLOT_KNOWN; or 0. */
	__u32 slot;
	/* Bits of EVENT_*, in one word: the programs have no room for more on their stacks. */
	__u32 event_flags;
	/* `emitted` of the packet's connection or flow; or NULL: then each audited packet is emitted. */
	__u8 *emitted;
};

/* The packet's direction, and that of the initiator. */
#define EVENT_PACKET_DIRECTION 1
#define EVENT_INITIATOR_DIRECTION 2
/* It begins a flow or a connection that was not known. */
#define EVENT_NEW 4
/* It begins a handshake with a listener. */
#define EVENT_HANDSHAKE_BEGINS 8
/* It belongs to a handshake whose event was emitted. */
#define EVENT_HANDSHAKE_GOES_ON 16
/* Its source is not the workload's own: in audit mode no rule allows it. */
#define EVENT_FALSE_SOURCE 32
/* Its sender has not proven an identity that policy lets in. */
#define EVENT_FALSE_IDENTITY 64
/* It begins a connection or a flow, or would: policy alone has decided. */
#define EVENT_BEGINS 128
/* Above them, the verdict of the other ruleset; see shadow.h. */
#define EVENT_SHADOW_SHIFT 16

static __always_inline void decide(struct decision *decision, __u32 rule, __u16 slot)
{
	decision->rule = rule;
	decision->slot = slot | SLOT_KNOWN;
}

/* Records the connection or flow that an audited packet belongs to. */
static __always_inline void belongs_to(struct decision *decision, __u8 *emitted, __u32 initiator)
{
	decision->emitted = emitted;
	decision->event_flags = (decision->event_flags & ~EVENT_INITIATOR_DIRECTION) | (initiator & 1) << 1;
}

/* Where ztap_identity leaves its answer. Before it has looked at a packet, this is 0. */
#define IDENTITY_CB 4
#define IDENTITY_LOOKED_AT 1
#define IDENTITY_REFUSED 2

/* Constants of one packet: its workload, and the epoch that decides it. */
struct scope {
	const struct ztap_cgroup *cgroup;
	__u64 epoch;
	/* The tick of a test; 0 for the real time. A constant in the programs of an agent. */
	__u32 test_now;
	struct decision *decision;
};

static __always_inline const struct ztap_subject *subject_of(const struct scope *scope)
{
	return scope->epoch & 1 ? &scope->cgroup->set[1] : &scope->cgroup->set[0];
}

#define NS_PER_SECOND 1000000000ULL
#define OVERRIDES (ZTAP_QUARANTINED | ZTAP_BREAKGLASS)

/*
 * Returns the override of a workload's policy that is in force: ZTAP_QUARANTINED, ZTAP_BREAKGLASS or 0. A global function: its callers have no
 * room on their stacks.
 */
__noinline __u32 override_of(const volatile struct ztap_subject *subject)
{
	if (!subject || bpf_ktime_get_tai_ns() >= subject->until * NS_PER_SECOND)
		return 0;
	return subject->flags & OVERRIDES;
}

/* Of the workload's own policy, also under an override. */
static __always_inline __u8 mode_of(const struct scope *scope, __u32 direction)
{
	const struct ztap_subject *subject = subject_of(scope);

	return direction == ZTAP_EGRESS ? subject->egress_mode : subject->ingress_mode;
}

/* Returns the value of the longest prefix that holds the address, or 0. */
static __always_inline __u32 lookup_address(const __u8 *address, __u8 family, __u32 scope, __u32 set)
{
	struct ztap_addr_key addr = { .prefixlen = sizeof(addr) * 8 - 32 };
	__u32 *found;

	addr.scope = scope | (family == AF_INET6);
	__builtin_memcpy(addr.address, address, 16);
	found = set ? bpf_map_lookup_elem(&ztap_addrs_b, &addr) : bpf_map_lookup_elem(&ztap_addrs_a, &addr);
	return found ? *found : 0;
}

/* Peer lookup: returns the class of the longest prefix that holds the remote address, or 0. */
static __always_inline __u32 lookup_peer(const struct packet *p, __u32 scope, __u32 set)
{
	return lookup_address(p->remote, p->family, scope, set);
}

static __always_inline bool is_loopback(const __u8 *address, __u8 family)
{
	const __u32 *words = (const __u32 *)address;

	/* The last address is a broadcast: it reaches every socket of the machine on that port. */
	if (family == AF_INET)
		return address[0] == 127 && words[0] != bpf_htonl(0x7fffffff);
	return !words[0] && !words[1] && !words[2] && words[3] == bpf_htonl(1);
}

/* Returns whether the address identifies no workload: unspecified, loopback, link-local or multicast. */
static __always_inline bool identifies_nobody(const __u8 *address, __u8 family)
{
	const __u32 *words = (const __u32 *)address;

	if (is_loopback(address, family))
		return true;
	if (family == AF_INET)
		return !words[0] || (address[0] == 169 && address[1] == 254) || address[0] >= 224;
	return (!words[0] && !words[1] && !words[2] && !words[3]) ||
	       (address[0] == 0xfe && (address[1] & 0xc0) == 0x80) || address[0] == 0xff;
}

/* 127.0.0.1 and ::1 are everybody's, even if a workload declares them. */
static __always_inline bool is_localhost(const __u8 *address, __u8 family)
{
	return family == AF_INET ? *(const __u32 *)address == bpf_htonl(INADDR_LOOPBACK) : is_loopback(address, family);
}

/*
 * Returns whether the workload may use the address as its own. A workload that declares addresses may use these; another
 * one may use those that no workload of the node declares.
 */
__noinline int is_own_address(const struct packet *p, __u32 subject, __u32 set)
{
	__u32 found;

	if (!p)
		return 0;
	if (is_localhost(p->local, p->family))
		return 1;
	found = lookup_address(p->local, p->family, subject, set);
	if (found == ZTAP_SELF_ADDRESS)
		return 1;
	if (lookup_address(p->local, p->family, ZTAP_SCOPE_NODE, set))
		return 0;
	return found == ZTAP_ANY_ADDRESS || identifies_nobody(p->local, p->family);
}

/* Returns whether a workload of this ruleset would send from, or bind, an address that is not its own. */
static __always_inline bool has_false_source(const struct ztap_cgroup *cgroup, const struct ztap_subject *subject,
					     const struct packet *p, __u32 set)
{
	return subject->flags & ZTAP_OWN_SOURCES && p->family && !is_own_address(p, cgroup->subject, set);
}

/*
 * Returns the rule that decides (remote address, protocol, port), with ZTAP_RULE_DENIES if it denies; or 0. A global function, so that the
 * verifier checks it once.
 */
__noinline __u32 find_rule(const struct packet *p, __u32 profile, __u32 set, __u32 port)
{
	struct ztap_port_key key = {};
	__u32 *found;

	if (!p)
		return 0;
	key.prefixlen = p->port_bits;
	key.class_id = lookup_peer(p, profile, set);
	if (!key.class_id)
		return 0;
	key.protocol = p->protocol;
	key.be_port = bpf_htons(port);
	found = set ? bpf_map_lookup_elem(&ztap_ports_b, &key) : bpf_map_lookup_elem(&ztap_ports_a, &key);
	return found ? *found : 0;
}

/*
 * Returns the port that policy is evaluated for if `direction` is the initiator: the destination's, or ICMP's type and
 * code.
 */
static __always_inline __u32 port_of(const struct packet *p, __u32 direction)
{
	if (p->protocol == ZTAP_PROTOCOL_ICMP)
		return p->icmp;
	return bpf_ntohs(direction == ZTAP_EGRESS ? p->be_remote_port : p->be_local_port);
}

/* Returns whether a profile allows the packet. A global function, so that the verifier checks it once. */
__noinline int is_allowed_by(const struct packet *p, __u32 profile, __u32 set, __u32 port)
{
	__u32 rule;

	if (!p)
		return 0;
	rule = find_rule(p, profile, set, port);
	return rule && !(rule & ZTAP_RULE_DENIES);
}

/* Beside the direction, in one argument of decide_by_policy(): the table set; that no rule of the workload's own allows the packet. */
#define POLICY_SET_B 2
#define POLICY_WITHOUT_RULES 4
#define POLICY_OF_DESTINATION 8

/*
 * Returns rule << 8 | verdict of a workload's policy. What its egress lets pass must also be let in by the destination: that one's node
 * knows only the address, which other workloads may share.
 *
 * A global function, so that the verifier checks it once. One look-up serves both questions, and the fields of the subject are read when
 * they are needed: its callers leave it little room on the stack.
 */
__noinline __u64 decide_by_policy(const struct packet *p, const volatile struct ztap_subject *subject, __u32 what,
				  __u32 port)
{
	__u64 decided = ZTAP_ALLOWED;
	__u32 profile, rule;
	__u8 mode;

	if (!p || !subject)
		return ZTAP_DENIED;
	mode = what & ZTAP_EGRESS ? subject->egress_mode : subject->ingress_mode;
	if (mode == ZTAP_MODE_UNSET)
		return ZTAP_DENIED;
	if (subject->flags & OVERRIDES) {
		/* Not a rule: there is no room for another variable. */
		rule = override_of(subject);
		if (rule & ZTAP_QUARANTINED)
			return ZTAP_DENIED;
		/* What its destinations let in is theirs to say. */
		if (rule)
			what = (what & ~POLICY_WITHOUT_RULES) | POLICY_OF_DESTINATION;
	}
	if (mode == ZTAP_MODE_OPEN || what & POLICY_WITHOUT_RULES)
		what |= POLICY_OF_DESTINATION;
	if (mode != ZTAP_MODE_OPEN && what & POLICY_WITHOUT_RULES)
		decided = mode == ZTAP_MODE_AUDIT ? ZTAP_AUDITED : ZTAP_DENIED;
	for (int i = 0; i < 2; i++) {
		if (what & POLICY_OF_DESTINATION) {
			if (!(what & ZTAP_EGRESS) || decided == ZTAP_DENIED || !subject->identity_profile)
				return decided;
			profile = subject->identity_profile;
		} else {
			profile = what & ZTAP_EGRESS ? subject->egress_profile : subject->ingress_profile;
		}
		rule = find_rule(p, profile, !!(what & POLICY_SET_B), port);
		if (what & POLICY_OF_DESTINATION)
			return rule & ZTAP_RULE_DENIES ? (__u64)rule << 8 | ZTAP_DENIED : decided;
		what |= POLICY_OF_DESTINATION;
		if (rule && !(rule & ZTAP_RULE_DENIES)) {
			decided = (__u64)rule << 8 | ZTAP_ALLOWED;
			continue;
		}
		mode = what & ZTAP_EGRESS ? subject->egress_mode : subject->ingress_mode;
		if (mode != ZTAP_MODE_AUDIT)
			return (__u64)rule << 8 | ZTAP_DENIED;
		decided = ZTAP_AUDITED;
	}
	return decided;
}

/* Returns the verdict of the policy of `direction`; sets `rule` to the rule that decides, if any. */
static __always_inline __u8 policy_verdict(const struct scope *scope, const struct packet *p, __u32 direction,
					   __u32 port, __u32 *rule)
{
	__u32 what = direction | (scope->epoch & 1 ? POLICY_SET_B : 0);
	__u64 decided;

	if (direction == ZTAP_EGRESS && mode_of(scope, direction) == ZTAP_MODE_AUDIT && scope->decision &&
	    scope->decision->event_flags & EVENT_FALSE_SOURCE)
		what |= POLICY_WITHOUT_RULES;
	decided = decide_by_policy(p, subject_of(scope), what, port);
	*rule = decided >> 8;
	return decided & 3;
}

/* Returns whether policy may refuse what the workload sends, or receives. */
static __always_inline bool is_limited(const struct scope *scope, __u32 direction)
{
	return mode_of(scope, direction) != ZTAP_MODE_OPEN ||
	       (direction == ZTAP_EGRESS && subject_of(scope)->identity_profile);
}

/* Returns the word that caches a verdict: see struct ztap_sock. */
static __always_inline __u64 cache_verdict(const struct scope *scope, __u8 verdict)
{
	return scope->epoch << 32 | scope->cgroup->subject | verdict;
}

/* Returns the value of `emitted` for an event under this epoch: see struct ztap_sock. */
static __always_inline __u8 emitted_now(const struct scope *scope)
{
	return (scope->epoch & 0x7f) | 0x80;
}

/* Returns the verdict if it was cached for this subject under this epoch; else ZTAP_NONE. */
static __always_inline __u8 cached_verdict(const struct scope *scope, __u64 remembered)
{
	return (remembered & ~3ULL) == cache_verdict(scope, 0) ? remembered & 3 : ZTAP_NONE;
}

/*
 * Returns the current tick. Reading the clock is a call, reading the jiffies is an instruction: so the first packet of
 * each jiffy reads the clock, and the others use its tick.
 */
static __always_inline __u32 now_ticks(const struct scope *scope)
{
	__u32 zero = 0, jiffies, tick;
	struct ztap_clock *clock;
	__u64 known;

	if (scope->test_now)
		return scope->test_now;
	clock = bpf_map_lookup_elem(&ztap_clock, &zero);
	if (!clock)
		return 0;
	jiffies = bpf_jiffies64();
	known = *(volatile __u64 *)&clock->now;
	if ((__u32)(known >> 32) == jiffies && (__u32)known)
		return known;
	tick = bpf_ktime_get_coarse_ns() >> ZTAP_TICK_SHIFT;
	*(volatile __u64 *)&clock->now = (__u64)jiffies << 32 | tick;
	return tick;
}

#endif
