/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Event: emits eligible decisions to the agent. These are separate functions, so that packets without an event do not
 * pay for them. The statistics always add up: each decision that comes here is counted once as eligible, and once as
 * delivered, limited or lost.
 */
#ifndef ZTAP_EVENT_H
#define ZTAP_EVENT_H

#include "count.h"
#include "packet.h"

static __always_inline void note(__u32 index)
{
	__u64 *counter = bpf_map_lookup_elem(&ztap_told, &index);

	if (counter)
		add_one(counter);
}

/*
 * Takes one event from the workload's budget on this CPU. The (coarse) clock is read only when the budget is used
 * up.
 */
static __always_inline bool may_emit(struct ztap_subject_count *subject, __u32 direction)
{
	__u64 *used = &subject->used[direction & 1], *filled = &subject->filled[direction & 1];
	__u64 now, credit;

	if (*used < ZTAP_EVENT_BURST) {
		*used += 1;
		return true;
	}
	now = bpf_ktime_get_coarse_ns() >> ZTAP_EVENT_SHIFT;
	credit = now - *filled;
	if (!credit)
		return false;
	*filled = now;
	*used = (credit >= ZTAP_EVENT_BURST ? 0 : ZTAP_EVENT_BURST - credit) + 1;
	return true;
}

/*
 * Reserves a ring buffer record for one event, and fills in the fields that need no look at the packet; NULL on
 * failure.
 */
static __always_inline struct ztap_event *open_event(__u32 subject, __u32 slot, __u32 rule, __u8 verdict,
						     __u8 direction)
{
	struct ztap_subject_count *counts = bpf_map_lookup_elem(&ztap_subject_counts, &slot);
	struct ztap_event *event;

	note(ZTAP_EVENTS_ELIGIBLE);
	if (counts && !may_emit(counts, direction)) {
		note(ZTAP_EVENTS_LIMITED);
		return NULL;
	}
	event = counts ? bpf_ringbuf_reserve(&ztap_events, sizeof(*event), 0) : NULL;
	if (!event) {
		note(ZTAP_EVENTS_LOST);
		return NULL;
	}
	note(ZTAP_EVENTS_DELIVERED);
	event->time = bpf_ktime_get_ns();
	event->subject = subject;
	event->rule = rule;
	event->verdict = verdict;
	event->direction = direction;
	return event;
}

/* Where the coming ruleset decides otherwise; else both are 0. */
static __always_inline void set_shadow(struct ztap_event *event, __u32 rule, __u8 verdict)
{
	event->shadow_rule = rule;
	*(__u64 *)&event->shadow = verdict;
}

static __always_inline void close_event(struct ztap_event *event, const struct packet *p, __u8 hook)
{
	event->hook = hook;
	event->family = p->family;
	event->protocol = p->protocol;
	event->port_bits = p->port_bits;
	event->icmp = p->icmp;
	__builtin_memcpy(event->local, p->local, 16);
	__builtin_memcpy(event->remote, p->remote, 16);
	event->be_local_port = p->be_local_port;
	event->be_remote_port = p->be_remote_port;
	bpf_ringbuf_submit(event, 0);
}

/*
 * Emits the event of a packet. Returns 1 if the event is in the ring, else 0. A global function, so that the verifier
 * checks it once. `what`: epoch << 32 | verdict << 8 | bits of EVENT_*. `rules`: that of the ruleset in force, and above it (<< 32) that of
 * the coming one.
 */
__noinline int emit_event(struct __sk_buff *skb, __u32 subject, __u32 slot, __u64 rules, __u64 what)
{
	struct packet p = {};
	struct ztap_flow_key key;
	__u32 epoch = what >> 32, rule = rules;
	__u8 verdict = what >> 8;
	struct ztap_event *event;

	if (slot == ZTAP_SLOT_LEARNING)
		return 0;
	event = open_event(subject, slot, verdict == ZTAP_ALLOWED || rule & ZTAP_RULE_DENIES ? rule : 0, verdict,
			   what & EVENT_INITIATOR_DIRECTION ? ZTAP_EGRESS : ZTAP_INGRESS);
	if (!event)
		return 0;
	set_shadow(event, rules >> 32, what >> EVENT_SHADOW_SHIFT & 3);
	parse(skb, &p, what & EVENT_PACKET_DIRECTION, 0);
	close_event(event, &p, ZTAP_AT_PACKET);
	if (what & EVENT_HANDSHAKE_BEGINS) {
		set_key(&key, subject, &p);
		bpf_map_update_elem(&ztap_begun, &key, &epoch, BPF_ANY);
	}
	return 1;
}

/* Returns whether an event was emitted for the SYN of the packet's connection under this epoch. */
__noinline int handshake_was_emitted(const struct packet *p, __u32 subject, __u32 epoch, bool forget)
{
	struct ztap_flow_key key;
	__u32 *begun;
	int was;

	if (!p)
		return 0;
	set_key(&key, subject, p);
	begun = bpf_map_lookup_elem(&ztap_begun, &key);
	was = begun && *begun == epoch;
	if (begun && forget)
		bpf_map_delete_elem(&ztap_begun, &key);
	return was;
}

/* Emits the event of a connect() or sendto() that is refused. `shadow`: rule << 8 | verdict of the coming ruleset, or 0. */
__noinline int emit_call_event(const struct packet *p, __u32 subject, __u32 slot, __u32 rule, __u64 shadow)
{
	struct ztap_event *event;

	if (!p)
		return 0;
	event = open_event(subject, slot, rule, ZTAP_DENIED, ZTAP_EGRESS);
	if (!event)
		return 0;
	set_shadow(event, shadow >> 8, shadow & 3);
	close_event(event, p, ZTAP_AT_CALL);
	return 0;
}

#endif
