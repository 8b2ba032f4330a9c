/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Flow: who asked, for protocols that do not say so themselves (UDP, ICMP echo, SCTP, ...).
 *
 * An allowed packet opens its half of the flow; a packet of the other direction with the mirrored
 * tuple passes as an answer while that half lives and policy would still allow what was asked.
 */
#ifndef ZTAP_FLOW_H
#define ZTAP_FLOW_H

#include "count.h"
#include "own.h"

/* Coarse time: it costs a load, and flows live for many ticks. */
__inline_always __u32 now_ticks(const struct scope *scope)
{
	return scope->test_now ? scope->test_now : bpf_ktime_get_coarse_ns() >> ZTAP_TICK_SHIFT;
}

__inline_always bool is_alive(const struct ztap_flow_half *half, __u32 now, __u8 protocol)
{
	__u32 limit = ZTAP_FLOW_NEW_TICKS;

	if (half->answered)
		limit = protocol == IPPROTO_SCTP ? ZTAP_FLOW_SCTP_TICKS : ZTAP_FLOW_ANSWERED_TICKS;
	return half->remembered && now - half->seen <= limit;
}

__inline_always void touch(struct ztap_flow_half *half, __u32 now)
{
	if (half->seen != now)
		half->seen = now;
}

/* The verdict on an answer to what the other direction asked, or ZTAP_NONE where it asked nothing. */
__inline_always __u8 judge_answer(const struct scope *scope, const struct packet *p, struct ztap_flow *flow,
				  __u32 asker, __u32 now)
{
	struct ztap_flow_half *half = &flow->asked[asker & 1];
	__u8 verdict;
	__u32 rule;

	if (!is_alive(half, now, p->protocol))
		return ZTAP_NONE;
	verdict = recall(scope, half->remembered);
	if (verdict == ZTAP_NONE) {
		verdict = judge(scope, p, asker, half->port, &rule);
		half->rule = rule;
		half->place = place_of(rule);
		half->remembered = remember(scope, verdict);
	}
	if (verdict == ZTAP_DENIED)
		return ZTAP_NONE;
	touch(half, now);
	if (!half->answered)
		half->answered = 1;
	return verdict;
}

/*
 * Takes a place for a new flow, clearing away one that has ended. 0: none of those looked at was free.
 * Global, so that the verifier proves it once.
 */
__attribute__((noinline)) int take_place(struct ztap_flow_key *key, __u32 now)
{
	struct ztap_place *first, *place;
	struct ztap_flow *flow;
	__u32 index = 0;

	first = bpf_map_lookup_elem(&ztap_places, &index);
	if (!first || !key)
		return 0;
	for (int i = 0; i < ZTAP_FLOW_PROBES; i++) {
		index = __sync_fetch_and_add(&first->next, 1) & (ZTAP_MAX_FLOWS - 1);
		place = bpf_map_lookup_elem(&ztap_places, &index);
		if (!place)
			return 0;
		flow = bpf_map_lookup_elem(&ztap_flows, &place->key);
		if (flow) {
			if (is_alive(&flow->asked[0], now, place->key.protocol) ||
			    is_alive(&flow->asked[1], now, place->key.protocol))
				continue;
			bpf_map_delete_elem(&ztap_flows, &place->key);
		}
		__builtin_memcpy(&place->key, key, sizeof(*key));
		return 1;
	}
	return 0;
}

/* Notes that `direction` asked and may. Returns false where no room was left. */
__inline_always bool open_half(struct ztap_flow_key *key, struct ztap_flow *flow,
			       __u32 direction, const struct ztap_flow_half *opened, bool *is_new)
{
	struct ztap_flow fresh = {};

	if (!flow) {
		if (!take_place(key, opened->seen))
			return false;
		fresh.asked[direction & 1] = *opened;
		if (!bpf_map_update_elem(&ztap_flows, key, &fresh, BPF_NOEXIST)) {
			*is_new = true;
			return true;
		}
		/* Another CPU was first; or there is no memory. */
		flow = bpf_map_lookup_elem(&ztap_flows, key);
		if (!flow)
			return false;
	}
	if (!is_alive(&flow->asked[direction & 1], opened->seen, key->protocol)) {
		*is_new = true;
		flow->asked[direction & 1].answered = 0;
	}
	flow->asked[direction & 1].seen = opened->seen;
	flow->asked[direction & 1].rule = opened->rule;
	flow->asked[direction & 1].place = opened->place;
	flow->asked[direction & 1].port = opened->port;
	flow->asked[direction & 1].remembered = opened->remembered;
	return true;
}

__inline_always void set_flow_key(struct ztap_flow_key *key, const struct scope *scope, const struct packet *p)
{
	key->subject = scope->cgroup->subject;
	key->protocol = p->protocol;
	key->family = p->family;
	key->reserved = 0;
	__builtin_memcpy(key->local, p->local, 16);
	__builtin_memcpy(key->remote, p->remote, 16);
	key->be_local_port = p->be_local_port;
	key->be_remote_port = p->be_remote_port;
}

__inline_always __u8 judge_flow(struct __sk_buff *skb, const struct scope *scope, const struct packet *p,
				__u32 direction)
{
	struct ztap_flow_key key;
	struct ztap_flow_half opened = {};
	__u32 now = now_ticks(scope), rule = 0;
	__u8 verdict = ZTAP_NONE, answer = ZTAP_NONE;
	struct ztap_flow *flow;

	set_flow_key(&key, scope, p);
	opened.port = port_of(p, direction);
	flow = bpf_map_lookup_elem(&ztap_flows, &key);
	if (flow) {
		/* A half that has ended asks anew, so that it starts as one that nobody has answered. */
		if (p->kind == PACKET_FLOW && is_alive(&flow->asked[direction & 1], now, p->protocol))
			verdict = recall(scope, flow->asked[direction & 1].remembered);
		/* An echo request answers nothing, also where one with the same identifier was sent. */
		if (p->kind == PACKET_ANSWER || p->protocol != ZTAP_PROTOCOL_ICMP)
			answer = judge_answer(scope, p, flow, !direction, now);
		if (verdict == ZTAP_ALLOWED) {
			touch(&flow->asked[direction & 1], now);
			scope->decision->rule = flow->asked[direction & 1].rule;
			scope->decision->place = flow->asked[direction & 1].place;
			return verdict;
		}
	}
	if (verdict == ZTAP_NONE)
		verdict = judge(scope, p, direction, opened.port, &rule);
	scope->decision->rule = rule;
	if (verdict != ZTAP_ALLOWED) {
		if (answer != ZTAP_NONE) {
			scope->decision->rule = flow->asked[!direction].rule;
			scope->decision->place = flow->asked[!direction].place;
			return answer;
		}
		if (is_own(skb, scope, p, direction))
			return ZTAP_ALLOWED;
		if (verdict == ZTAP_DENIED)
			return verdict;
	}
	if (p->kind != PACKET_FLOW)
		return verdict;
	opened.seen = now;
	opened.rule = rule;
	opened.place = place_of(rule);
	opened.remembered = remember(scope, verdict);
	if (!open_half(&key, flow, direction, &opened, &scope->decision->is_new)) {
		count(ZTAP_COUNT_FLOWS_FULL);
		/* Where the other direction is open, answers pass without an entry; elsewhere they would be lost. */
		if (mode_of(scope, !direction) != ZTAP_MODE_OPEN)
			return ZTAP_DENIED;
	}
	return verdict;
}

/*
 * The verdict on an ICMP error that policy refuses: it passes where it is about a packet of a flow
 * that is allowed, and goes to that packet's sender. It answers nothing and keeps no flow alive.
 * Errors for TCP and UDP sockets do not come here: the kernel hands them over by itself.
 *
 * A function of its own, so that nothing of it weighs on other packets. `when`: tick << 32 | epoch.
 * Returns rule << 8 | verdict.
 */
__shared __u64 judge_quoted(struct __sk_buff *skb, const struct packet *p, const struct ztap_cgroup *cgroup, __u64 when,
			    __u32 direction)
{
	__u32 rule = 0, now = when >> 32, only = 2;
	struct scope scope = { .cgroup = cgroup, .epoch = (__u32)when };
	struct ztap_flow_key key;
	struct packet quoted = {};
	struct ztap_flow *flow;
	__u8 verdict;

	/* What the workload is told of, it sent; what it complains of, it received. */
	parse(skb, &quoted, direction == ZTAP_INGRESS, p->quoted_at);
	if (quoted.kind != PACKET_FLOW && quoted.kind != PACKET_ANSWER)
		return ZTAP_DENIED;
	for (int i = 0; i < 16; i += 8) {
		const __u8 *to = direction == ZTAP_INGRESS ? p->local : p->remote;
		const __u8 *sender = direction == ZTAP_INGRESS ? quoted.local : quoted.remote;

		if (*(__u64 *)(to + i) != *(__u64 *)(sender + i))
			return ZTAP_DENIED;
	}
	set_flow_key(&key, &scope, &quoted);
	flow = bpf_map_lookup_elem(&ztap_flows, &key);
	if (!flow)
		return ZTAP_DENIED;
	/* An echo request belongs to who sent it, a reply to who gets it; any other packet may be either's. */
	if (quoted.protocol == ZTAP_PROTOCOL_ICMP)
		only = (quoted.kind == PACKET_FLOW) != (direction == ZTAP_EGRESS) ? ZTAP_EGRESS : ZTAP_INGRESS;
	for (int i = 1; i >= 0; i--) {
		struct ztap_flow_half *half = &flow->asked[i];

		if ((only != 2 && only != (__u32)i) || !is_alive(half, now, quoted.protocol))
			continue;
		verdict = recall(&scope, half->remembered);
		rule = half->rule;
		if (verdict == ZTAP_NONE)
			verdict = judge(&scope, &quoted, i, half->port, &rule);
		if (verdict != ZTAP_DENIED && verdict != ZTAP_NONE)
			return (__u64)rule << 8 | verdict;
	}
	return ZTAP_DENIED;
}

__inline_always __u8 judge_error(struct __sk_buff *skb, const struct scope *scope, const struct packet *p,
				 __u32 direction)
{
	__u64 when = (__u64)now_ticks(scope) << 32 | (__u32)scope->epoch;
	__u64 judged = judge_quoted(skb, p, scope->cgroup, when, direction);

	scope->decision->rule = judged >> 8;
	return judged & 3;
}

#endif
