/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Flow: records the initiator for protocols whose packets do not show it (UDP, ICMP echo, SCTP, ...).
 *
 * An allowed packet opens its half of the flow. A packet of the other direction with the mirrored tuple passes as a
 * reply as long as that half is alive and policy would still allow the initiating packet.
 */
#ifndef ZTAP_FLOW_H
#define ZTAP_FLOW_H

#include "count.h"
#include "self.h"

/*
 * Returns a workload's flow. A cgroup that was enforced from its birth by a pattern began its first flows under another subject.
 */
static __noinline struct ztap_flow *flow_of(struct ztap_flow_key *key, const struct ztap_cgroup *cgroup)
{
	struct ztap_flow *flow = bpf_map_lookup_elem(&ztap_flows, key);

	if (flow || !cgroup->born)
		return flow;
	key->subject = cgroup->born;
	flow = bpf_map_lookup_elem(&ztap_flows, key);
	key->subject = cgroup->subject;
	return flow;
}

static __always_inline bool is_alive(const struct ztap_flow_half *half, __u32 now, __u8 protocol)
{
	__u32 limit = ZTAP_FLOW_NEW_TICKS;

	if (half->answered)
		limit = protocol == IPPROTO_SCTP ? ZTAP_FLOW_SCTP_TICKS : ZTAP_FLOW_ANSWERED_TICKS;
	/* Another CPU may be a tick ahead: a time in the future counts as now. */
	return half->remembered && (__s32)(now - half->seen) <= (__s32)limit;
}

static __always_inline void touch(struct ztap_flow_half *half, __u32 now)
{
	if (half->seen != now)
		half->seen = now;
}

/* Returns the verdict on the packet that opened a half, under this epoch. */
static __always_inline __u8 verdict_again(const struct scope *scope, const struct packet *p, __u32 initiator,
					  __u32 port, __u32 *rule)
{
	*rule = 0;
	if (initiator == ZTAP_EGRESS && has_false_source(scope->cgroup, subject_of(scope), p, scope->epoch & 1))
		return mode_of(scope, initiator) == ZTAP_MODE_AUDIT ? ZTAP_AUDITED : ZTAP_DENIED;
	return policy_verdict(scope, p, initiator, port, rule);
}

/* Returns the verdict on a reply to the other direction's half, or ZTAP_NONE if that half is not open. */
static __always_inline __u8 reply_verdict(const struct scope *scope, const struct packet *p, struct ztap_flow *flow,
					  __u32 initiator, __u32 now)
{
	struct ztap_flow_half *half = &flow->asked[initiator & 1];
	__u8 verdict;
	__u32 rule;

	if (!is_alive(half, now, p->protocol))
		return ZTAP_NONE;
	verdict = cached_verdict(scope, half->remembered);
	if (verdict == ZTAP_NONE) {
		verdict = verdict_again(scope, p, initiator, half->port, &rule);
		half->rule = rule;
		half->slot = slot_of_rule(rule);
		half->emitted = 0;
		half->remembered = cache_verdict(scope, verdict);
	}
	if (verdict == ZTAP_DENIED)
		return ZTAP_NONE;
	touch(half, now);
	if (!half->answered)
		half->answered = 1;
	return verdict;
}

/*
 * Takes a slot of a share for a new flow, and deletes an expired flow in it; with `evict`, also a live one of another
 * workload. Returns 0 if none of the probed slots was free. A global function, so that the verifier checks it once.
 */
__noinline int take_flow_slot(struct ztap_flow_key *key, __u32 now, __u32 share, __u32 size, __u32 evict)
{
	struct ztap_flow_slot *first, *slot;
	struct ztap_flow *flow;
	__u32 index = share;
	bool lives;

	first = bpf_map_lookup_elem(&ztap_places, &index);
	if (!first || !key || !size)
		return 0;
	for (int i = 0; i < ZTAP_FLOW_PROBES; i++) {
		index = share + (__sync_fetch_and_add(&first->next, 1) & (size - 1));
		slot = bpf_map_lookup_elem(&ztap_places, &index);
		if (!slot)
			return 0;
		flow = bpf_map_lookup_elem(&ztap_flows, &slot->key);
		if (flow) {
			lives = is_alive(&flow->asked[0], now, slot->key.protocol) ||
				is_alive(&flow->asked[1], now, slot->key.protocol);
			if (lives && (!evict || slot->key.subject == key->subject))
				continue;
			bpf_map_delete_elem(&ztap_flows, &slot->key);
		}
		__builtin_memcpy(&slot->key, key, sizeof(*key));
		return 1;
	}
	return 0;
}

/*
 * Finds a slot for a new flow: in the workload's own share, else in the common one. Its own share may still hold flows
 * of other workloads, from an earlier division: these are evicted if no slot is free.
 */
static __always_inline bool find_flow_slot(const struct ztap_cgroup *cgroup, struct ztap_flow_key *key, __u32 now)
{
	return take_flow_slot(key, now, cgroup->flows_first, cgroup->flows_size, false) ||
	       take_flow_slot(key, now, 0, ZTAP_COMMON_FLOWS, false) ||
	       take_flow_slot(key, now, cgroup->flows_first, cgroup->flows_size, true);
}

#define FLOW_IS_OPEN 128

/*
 * Opens the half of `direction`, of a flow that has a slot. Returns FLOW_IS_OPEN, with EVENT_NEW if it was not open before; 0 on
 * failure. A separate function: flow_verdict() has no room on its stack for the fresh flow.
 */
static __noinline int open_half(struct ztap_flow_key *key, struct ztap_flow *flow, __u32 direction,
				const struct ztap_flow_half *opened)
{
	struct ztap_flow fresh = {};
	int result = FLOW_IS_OPEN;

	if (!flow) {
		fresh.asked[direction & 1] = *opened;
		if (!bpf_map_update_elem(&ztap_flows, key, &fresh, BPF_NOEXIST))
			return FLOW_IS_OPEN | EVENT_NEW;
		/* Another CPU was first, or there is no memory. */
		flow = bpf_map_lookup_elem(&ztap_flows, key);
		if (!flow)
			return 0;
	}
	if (!is_alive(&flow->asked[direction & 1], opened->seen, key->protocol)) {
		result |= EVENT_NEW;
		flow->asked[direction & 1].answered = 0;
		flow->asked[direction & 1].emitted = 0;
	}
	if (flow->asked[direction & 1].remembered != opened->remembered)
		flow->asked[direction & 1].emitted = 0;
	flow->asked[direction & 1].seen = opened->seen;
	flow->asked[direction & 1].rule = opened->rule;
	flow->asked[direction & 1].slot = opened->slot;
	flow->asked[direction & 1].port = opened->port;
	flow->asked[direction & 1].remembered = opened->remembered;
	return result;
}

/* A separate function: the programs have no room on their stacks for its key. */
static __noinline int flow_verdict(struct __sk_buff *skb, const struct scope *scope, const struct packet *p,
					 __u32 direction)
{
	struct ztap_flow_key key;
	struct ztap_flow_half opened = {};
	__u32 now = now_ticks(scope), rule = 0;
	__u8 verdict = ZTAP_NONE, reply = ZTAP_NONE;
	struct ztap_flow *flow;
	__u32 result = 0;

	set_key(&key, scope->cgroup->subject, p);
	opened.port = port_of(p, direction);
	flow = flow_of(&key, scope->cgroup);
	if (flow) {
		/* An expired half is evaluated again, so that it starts as one without a reply. */
		if (p->kind == PACKET_FLOW && is_alive(&flow->asked[direction & 1], now, p->protocol)) {
			verdict = cached_verdict(scope, flow->asked[direction & 1].remembered);
			rule = flow->asked[direction & 1].rule;
		}
		/* An echo request is never a reply, even if one with the same identifier was sent. */
		if (p->kind == PACKET_REPLY || p->protocol != ZTAP_PROTOCOL_ICMP)
			reply = reply_verdict(scope, p, flow, !direction, now);
		if (verdict == ZTAP_ALLOWED) {
			touch(&flow->asked[direction & 1], now);
			decide(scope->decision, flow->asked[direction & 1].rule, flow->asked[direction & 1].slot);
			return verdict;
		}
	}
	if (p->kind == PACKET_FLOW && reply == ZTAP_NONE &&
	    !(flow && is_alive(&flow->asked[direction & 1], now, p->protocol)))
		scope->decision->event_flags |= EVENT_BEGINS;
	if (verdict == ZTAP_NONE)
		verdict = policy_verdict(scope, p, direction, opened.port, &rule);
	scope->decision->rule = rule;
	if (verdict != ZTAP_ALLOWED) {
		if (reply != ZTAP_NONE) {
			/* For ICMP echo, policy is evaluated for different types in requests and replies. */
			if (p->protocol != ZTAP_PROTOCOL_ICMP)
				flow->not_allowed[direction & 1] = scope->epoch;
			decide(scope->decision, flow->asked[!direction].rule, flow->asked[!direction].slot);
			belongs_to(scope->decision, &flow->asked[!direction].emitted, !direction);
			return reply;
		}
		if (is_self_traffic(skb, scope, p, direction, verdict)) {
			scope->decision->rule = 0;
			return ZTAP_ALLOWED;
		}
		if (verdict == ZTAP_DENIED)
			return verdict;
	}
	if (p->kind != PACKET_FLOW)
		return verdict;
	opened.seen = now;
	opened.rule = rule;
	opened.slot = slot_of_rule(rule);
	decide(scope->decision, rule, opened.slot);
	opened.remembered = cache_verdict(scope, verdict);
	if (flow || find_flow_slot(scope->cgroup, &key, now))
		result = open_half(&key, flow, direction, &opened);
	scope->decision->event_flags |= result & EVENT_NEW;
	if (!result) {
		scope->decision->event_flags &= ~EVENT_BEGINS;
		count(ZTAP_COUNT_FLOWS_FULL);
		/* If the other direction is open, replies pass without an entry; otherwise they would be dropped. */
		if (is_limited(scope, !direction))
			return ZTAP_DENIED;
	} else if (verdict == ZTAP_AUDITED) {
		flow = bpf_map_lookup_elem(&ztap_flows, &key);
		if (flow)
			belongs_to(scope->decision, &flow->asked[direction & 1].emitted, direction);
	}
	return verdict;
}

/* Reads the flow key of a datagram directly from the packet; returns false for anything unusual. */
static __always_inline bool set_udp_key(struct __sk_buff *skb, struct ztap_flow_key *key, const struct scope *scope,
					__u32 direction)
{
	const __u8 *data = (const __u8 *)(long)skb->data, *end = (const __u8 *)(long)skb->data_end;
	const struct ip4 *ip4 = (const void *)data;
	const struct ip6 *ip6 = (const void *)data;
	bool egress = direction == ZTAP_EGRESS;
	const __be16 *ports;

	key->subject = scope->cgroup->subject;
	key->protocol = IPPROTO_UDP;
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		if (data + sizeof(*ip4) + 4 > end || ip4->protocol != IPPROTO_UDP || ip4->version_ihl != 0x45 ||
		    ip4->fragment & bpf_htons(0x1fff))
			return false;
		key->family = AF_INET;
		__builtin_memcpy(key->local, egress ? ip4->source : ip4->destination, 4);
		__builtin_memcpy(key->remote, egress ? ip4->destination : ip4->source, 4);
		ports = (const void *)(ip4 + 1);
	} else {
		if (skb->protocol != bpf_htons(ETH_P_IPV6) || data + sizeof(*ip6) + 4 > end ||
		    ip6->next != IPPROTO_UDP || ip6->version_class >> 4 != 6)
			return false;
		key->family = AF_INET6;
		__builtin_memcpy(key->local, egress ? ip6->source : ip6->destination, 16);
		__builtin_memcpy(key->remote, egress ? ip6->destination : ip6->source, 16);
		ports = (const void *)(ip6 + 1);
	}
	key->be_local_port = ports[egress ? 0 : 1];
	key->be_remote_port = ports[egress ? 1 : 0];
	return true;
}

/*
 * The fast path of a datagram whose flow is known and was decided under this epoch: the verdict of flow_verdict(),
 * without parsing the packet and evaluating policy. ZTAP_NONE: only flow_verdict() can decide.
 */
static __always_inline __u8 cached_flow_verdict(struct __sk_buff *skb, const struct scope *scope, __u32 direction)
{
	struct ztap_flow_half *own, *other;
	struct ztap_flow_key key = {};
	__u8 verdict = ZTAP_NONE, reply = ZTAP_NONE;
	struct ztap_flow *flow;
	__u32 now;

	if (!set_udp_key(skb, &key, scope, direction))
		return ZTAP_NONE;
	flow = bpf_map_lookup_elem(&ztap_flows, &key);
	if (!flow)
		return ZTAP_NONE;
	now = now_ticks(scope);
	own = &flow->asked[direction & 1];
	other = &flow->asked[!direction];
	if (is_alive(own, now, IPPROTO_UDP))
		verdict = cached_verdict(scope, own->remembered);
	if (is_alive(other, now, IPPROTO_UDP)) {
		reply = cached_verdict(scope, other->remembered);
		if (reply == ZTAP_NONE)
			return ZTAP_NONE;
	}
	if (verdict != ZTAP_ALLOWED &&
	    (flow->not_allowed[direction & 1] != (__u32)scope->epoch || reply == ZTAP_NONE || reply == ZTAP_DENIED))
		return ZTAP_NONE;
	if (reply != ZTAP_NONE && reply != ZTAP_DENIED) {
		touch(other, now);
		if (!other->answered)
			other->answered = 1;
	}
	if (verdict == ZTAP_ALLOWED)
		touch(own, now);
	else
		own = other;
	decide(scope->decision, own->rule, own->slot);
	if (verdict == ZTAP_ALLOWED)
		return verdict;
	belongs_to(scope->decision, &other->emitted, !direction);
	return reply;
}

/* A separate function: quoted_verdict() has no room on its stack for the key. */
static __noinline struct ztap_flow *find_flow(const struct packet *p, const struct ztap_cgroup *cgroup)
{
	struct ztap_flow_key key;

	set_key(&key, cgroup->subject, p);
	return flow_of(&key, cgroup);
}

/*
 * Returns the verdict on an ICMP error that policy denies. It passes if it quotes a packet of an allowed flow, and goes
 * to that packet's sender. It is no reply and keeps no flow alive. Errors for TCP and UDP sockets do not come here: the
 * kernel delivers them by itself.
 *
 * A global function, so that the verifier checks it once, and other packets do not pay for it. `when`: tick << 32 | epoch. Returns rule << 8 |
 * verdict.
 */
__noinline __u64 quoted_verdict(struct __sk_buff *skb, const struct packet *p, const struct ztap_cgroup *cgroup,
				__u64 when, __u32 direction)
{
	__u32 rule = 0, now = when >> 32, only = 2;
	struct scope scope = { .cgroup = cgroup, .epoch = (__u32)when };
	struct packet quoted = {};
	struct ztap_flow *flow;
	__u8 verdict;

	if (!p || !cgroup)
		return ZTAP_DENIED;
	/*
	 * An error that the workload receives quotes a packet that it sent; one that it sends quotes a packet that it
	 * received.
	 */
	parse(skb, &quoted, !direction | PACKET_IS_QUOTED, p->quoted_at);
	if (quoted.kind != PACKET_FLOW && quoted.kind != PACKET_REPLY)
		return ZTAP_DENIED;
	for (int i = 0; i < 16; i += 8) {
		const __u8 *to = direction == ZTAP_INGRESS ? p->local : p->remote;
		const __u8 *sender = direction == ZTAP_INGRESS ? quoted.local : quoted.remote;

		if (*(__u64 *)(to + i) != *(__u64 *)(sender + i))
			return ZTAP_DENIED;
	}
	flow = find_flow(&quoted, cgroup);
	if (!flow)
		return ZTAP_DENIED;
	/*
	 * The initiator of an echo request is its sender, that of an echo reply its receiver; for any other packet it
	 * may be either.
	 */
	if (quoted.protocol == ZTAP_PROTOCOL_ICMP)
		only = (quoted.kind == PACKET_FLOW) != (direction == ZTAP_EGRESS) ? ZTAP_EGRESS : ZTAP_INGRESS;
	for (int i = 1; i >= 0; i--) {
		struct ztap_flow_half *half = &flow->asked[i];

		if ((only != 2 && only != (__u32)i) || !is_alive(half, now, quoted.protocol))
			continue;
		verdict = cached_verdict(&scope, half->remembered);
		rule = half->rule;
		if (verdict == ZTAP_NONE)
			verdict = verdict_again(&scope, &quoted, i, half->port, &rule);
		if (verdict != ZTAP_DENIED && verdict != ZTAP_NONE)
			return (__u64)rule << 8 | verdict;
	}
	return ZTAP_DENIED;
}

static __always_inline __u8 icmp_error_verdict(struct __sk_buff *skb, const struct scope *scope, const struct packet *p,
					       __u32 direction)
{
	__u64 when = (__u64)now_ticks(scope) << 32 | (__u32)scope->epoch;
	__u64 decided = quoted_verdict(skb, p, scope->cgroup, when, direction);

	if ((decided & 3) != ZTAP_DENIED)
		scope->decision->rule = decided >> 8;
	return decided & 3;
}

#endif
