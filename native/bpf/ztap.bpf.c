/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * ztap's programs: they are attached to a workload's cgroup and decide about the packets that its sockets send and
 * receive. See docs/adr/0002-dataplane.md. Each returns 0 (deny) or 1 (pass), nothing else.
 */
#include "adoption.h"
#include "channels.h"
#include "connect.h"
#include "deadline.h"
#include "event.h"
#include "expiry.h"
#include "guard.h"
#include "host.h"
#include "identity.h"
#include "migrate.h"
#include "newborn.h"
#include "roles.h"
#include "shadow.h"
#include "tcp.h"

char _license[] SEC("license") = "Dual BSD/GPL";

static __always_inline __u8 packet_verdict(struct __sk_buff *skb, const struct scope *scope, struct packet *p,
					   __u32 direction, struct bpf_sock *sk)
{
	__u8 verdict;

	parse(skb, p, direction, 0);
	if (direction == ZTAP_EGRESS && has_false_source(scope->cgroup, subject_of(scope), p, scope->epoch & 1)) {
		count(ZTAP_COUNT_FALSE_SOURCE);
		if (mode_of(scope, ZTAP_EGRESS) != ZTAP_MODE_AUDIT)
			return ZTAP_DENIED;
		scope->decision->event_flags |= EVENT_FALSE_SOURCE;
	}
	if (p->kind == PACKET_TCP)
		return tcp_verdict(skb, scope, p, direction, sk);
	if (p->kind == PACKET_FLOW || p->kind == PACKET_REPLY)
		return flow_verdict(skb, scope, p, direction);
	if (p->kind == PACKET_NEIGHBOUR_DISCOVERY)
		return ZTAP_ALLOWED;
	verdict = policy_verdict(scope, p, direction, port_of(p, direction), &scope->decision->rule);
	return verdict == ZTAP_DENIED && p->quoted_at ? icmp_error_verdict(skb, scope, p, direction) : verdict;
}

/*
 * In these states the verdict of an established connection holds for every packet, whatever its content. The first
 * packet of a connection is evaluated: its socket may still hold the cached verdict of an earlier connection.
 */
#define CONNECTED                                                                                                      \
	(1 << BPF_TCP_ESTABLISHED | 1 << BPF_TCP_FIN_WAIT1 | 1 << BPF_TCP_FIN_WAIT2 | 1 << BPF_TCP_CLOSE_WAIT |        \
	 1 << BPF_TCP_LAST_ACK | 1 << BPF_TCP_CLOSING)

/* Returns whether the packet continues the connection: then the verdict on its SYN holds. */
static __always_inline bool goes_on(struct __sk_buff *skb, struct bpf_sock *sk, __u32 direction)
{
	if (1U << (sk->state & 31) & CONNECTED)
		return true;
	return sk->state == BPF_TCP_SYN_SENT && direction == ZTAP_INGRESS && acknowledges(skb);
}

/*
 * Returns the verdict that the packet's socket has cached for its connection, or ZTAP_NONE. Only TCP connections have
 * such a cache.
 */
static __always_inline __u8 cached_connection_verdict(struct __sk_buff *skb, const struct scope *scope,
						      struct bpf_sock *sk, __u32 direction)
{
	struct ztap_sock *sock;
	__u8 verdict;

	if (!sk || !goes_on(skb, sk, direction))
		return ZTAP_NONE;
	sock = bpf_sk_storage_get(&ztap_socks, sk, NULL, 0);
	verdict = sock ? cached_verdict(scope, sock->remembered) : ZTAP_NONE;
	if (verdict == ZTAP_NONE)
		return verdict;
	decide(scope->decision, sock->rule, sock->slot);
	if (verdict == ZTAP_AUDITED)
		belong_to(scope->decision, sock, direction);
	return verdict;
}

/*
 * Emits packets that are denied, audited or initiate. Of an audited connection or flow, packets are emitted until one
 * event is in the ring.
 */
static __always_inline void emit(struct __sk_buff *skb, const struct scope *scope, __u8 verdict, __u64 shadow)
{
	struct decision *decision = scope->decision;
	const struct ztap_cgroup *cgroup = scope->cgroup;
	__u64 what = scope->epoch << 32 | (shadow & 3) << EVENT_SHADOW_SHIFT | verdict << 8 | decision->event_flags;
	__u64 rules = shadow >> 8 << 32 | decision->rule;
	__u8 *emitted = decision->emitted;

	if (verdict != ZTAP_AUDITED) {
		emit_event(skb, cgroup->subject, cgroup->slot, rules, what);
		return;
	}
	if (decision->event_flags & EVENT_HANDSHAKE_GOES_ON || (emitted && *emitted == emitted_now(scope)))
		return;
	if (emit_event(skb, cgroup->subject, cgroup->slot, shadow >> 8 << 32, what) && emitted)
		*emitted = emitted_now(scope);
}

/* Counts the packet, and emits its event if it has one. `shadow`: see evaluate_in_shadow(). Returns rule << 8 | verdict. */
static __always_inline __u64 conclude(struct __sk_buff *skb, const struct scope *scope, __u32 direction, __u8 verdict,
				      __u64 shadow)
{
	const struct decision *decision = scope->decision;

	if (direction == ZTAP_INGRESS && verdict != ZTAP_DENIED)
		receive_mark(skb, scope->cgroup);
	count_packet(scope->cgroup, direction, verdict, decision);
	if (decision->event_flags & EVENT_NEW || verdict != ZTAP_ALLOWED)
		emit(skb, scope, verdict, shadow);
	return (__u64)decision->rule << 8 | verdict;
}

#define SCOPE(cgroup_, direction, test_now_)                                                                           \
	struct decision decision = { .event_flags = (direction) << 1 | (direction) };                                  \
	struct scope scope = { .cgroup = (cgroup_), .test_now = (test_now_), .decision = &decision }

/* Sets the epoch; returns false if there is none, or no workload: then everything is denied. */
static __always_inline bool set_epoch(struct scope *scope)
{
	__u32 zero = 0;
	struct ztap_control *control = bpf_map_lookup_elem(&ztap_control, &zero);

	if (!control || !scope->cgroup->subject)
		return false;
	scope->epoch = *(volatile __u64 *)&control->epoch;
	return true;
}

/* Returns the argument of evaluate_in_shadow() for a packet that got this verdict. */
static __always_inline __u32 shadow_of(const struct scope *scope, __u32 direction, __u8 verdict)
{
	__u32 flags = scope->decision->event_flags;

	return direction | set_beside(scope->epoch) | (verdict != ZTAP_DENIED ? SHADOW_PASSES : 0) |
	       (flags & EVENT_FALSE_IDENTITY ? SHADOW_FALSE_IDENTITY : 0) |
	       (flags & EVENT_FALSE_SOURCE ? SHADOW_FALSE_SOURCE : 0);
}

static __always_inline __u64 evaluate(struct __sk_buff *skb, const struct ztap_cgroup *cgroup, __u32 direction,
				      struct bpf_sock *sk, __u32 test_now)
{
	SCOPE(cgroup, direction, test_now);
	struct packet p = {};
	__u64 shadow = 0;
	__u8 verdict;

	if (!set_epoch(&scope)) {
		count(ZTAP_COUNT_UNSET);
		count(direction * 3 + ZTAP_DENIED - 1);
		return ZTAP_DENIED;
	}
	if (direction == ZTAP_INGRESS && skb->cb[IDENTITY_CB] == IDENTITY_REFUSED)
		decision.event_flags |= EVENT_FALSE_IDENTITY;
	verdict = direction == ZTAP_INGRESS && is_for_another(skb, cgroup) ?
			  ZTAP_DENIED :
			  packet_verdict(skb, &scope, &p, direction, sk ? bpf_sk_fullsock(sk) : NULL);
	if (decision.event_flags & EVENT_BEGINS && is_shadowed(scope.epoch))
		shadow = evaluate_in_shadow(skb, &p, cgroup, shadow_of(&scope, direction, verdict), decision.rule);
	return conclude(skb, &scope, direction, verdict, shadow);
}

/*
 * Decide a packet whose verdict is not cached. Returns rule << 8 | verdict. Global functions, so that the verifier checks each
 * once for all kinds of workloads.
 */
__noinline __u64 evaluate_ingress(struct __sk_buff *skb, const struct ztap_cgroup *cgroup, __u32 test_now)
{
	return cgroup ? evaluate(skb, cgroup, ZTAP_INGRESS, skb->sk, test_now) : ZTAP_DENIED;
}

__noinline __u64 evaluate_egress(struct __sk_buff *skb, const struct ztap_cgroup *cgroup, __u32 test_now)
{
	return cgroup ? evaluate(skb, cgroup, ZTAP_EGRESS, skb->sk, test_now) : ZTAP_DENIED;
}

static __always_inline __u64 evaluate_packet(struct __sk_buff *skb, const struct ztap_cgroup *cgroup, __u32 direction,
					     __u32 test_now)
{
	return direction == ZTAP_INGRESS ? evaluate_ingress(skb, cgroup, test_now) :
					   evaluate_egress(skb, cgroup, test_now);
}

/* Returns whether policy asks who sends, and ztap_identity has not answered yet. */
static __always_inline bool asks_identity(struct __sk_buff *skb, const struct scope *scope)
{
	const struct ztap_subject *subject = subject_of(scope);

	if (!(subject->flags & ZTAP_ASKS_IDENTITY) || skb->cb[IDENTITY_CB])
		return false;
	return !(subject->flags & OVERRIDES) || !override_of(subject);
}

/*
 * The only decision function, for both families, both directions, production and test. Returns rule << 8 | verdict. A cached
 * verdict is returned without a call, which would cost as much as the rest.
 */
static __always_inline __u64 decide_packet(struct __sk_buff *skb, const struct ztap_cgroup *cgroup, __u32 direction,
					   struct bpf_sock *sk, __u32 test_now)
{
	SCOPE(cgroup, direction, test_now);
	__u8 verdict = ZTAP_NONE;

	if (direction == ZTAP_EGRESS)
		mark_sender(skb, cgroup);
	if (set_epoch(&scope) && (direction == ZTAP_EGRESS || !is_for_another(skb, cgroup))) {
		verdict = cached_connection_verdict(skb, &scope, sk, direction);
		if (verdict == ZTAP_NONE)
			verdict = cached_flow_verdict(skb, &scope, direction);
	}
	if (verdict != ZTAP_NONE)
		return conclude(skb, &scope, direction, verdict, 0);
	if (direction == ZTAP_INGRESS && asks_identity(skb, &scope)) {
		bpf_tail_call(skb, &ztap_decider_ingress, ZTAP_IDENTIFIES);
		return ZTAP_DENIED;
	}
	return evaluate_packet(skb, cgroup, direction, test_now);
}

static __always_inline bool passes(__u64 decided)
{
	return (decided & 3) != ZTAP_DENIED;
}

static __always_inline bool newborn_asks_identity(struct __sk_buff *skb, const struct ztap_cgroup *cgroup)
{
	struct scope scope = { .cgroup = cgroup };

	return set_epoch(&scope) && asks_identity(skb, &scope);
}

/* Decides by the storage of the cgroup that the program is attached to; for a guard, by the newborn's record. */
static __always_inline bool packet_passes(struct __sk_buff *skb, __u32 direction)
{
	const struct ztap_cgroup *cgroup = bpf_get_local_storage(&ztap_cgroup, 0);
	int part = is_host(cgroup) ? part_of_host(skb, direction, cgroup->subject) : HOST_DECIDES;
	struct ztap_newborn *newborn;
	struct ztap_births *all;

	if (part == HOST_LEAVES)
		return true;
	if (cgroup->subject && part == HOST_DECIDES)
		return passes(decide_packet(skb, cgroup, direction, skb->sk, 0));
	all = births();
	newborn = all && all->waiting ? newborn_of(skb, all->levels, 0) : NULL;
	if (!newborn && part == HOST_IS_CALLED)
		return false;
	if (!newborn)
		return passes(evaluate_packet(skb, cgroup, direction, 0));
	if (direction == ZTAP_EGRESS)
		mark_sender(skb, &newborn->record);
	else if (is_of_sibling(skb, &newborn->record))
		return false;
	if (direction == ZTAP_INGRESS && newborn_asks_identity(skb, &newborn->record)) {
		bpf_tail_call(skb, &ztap_decider_ingress, ZTAP_IDENTIFIES);
		return 0;
	}
	return passes(evaluate_packet(skb, &newborn->record, direction, 0));
}

SEC("cgroup_skb/ingress")
int ztap_ingress(struct __sk_buff *skb)
{
	return packet_passes(skb, ZTAP_INGRESS);
}

SEC("cgroup_skb/egress")
int ztap_egress(struct __sk_buff *skb)
{
	return packet_passes(skb, ZTAP_EGRESS);
}

SEC("cgroup/connect4")
int ztap_connect4(struct bpf_sock_addr *ctx)
{
	struct packet p = {};

	set_remote4(&p, ctx->user_ip4);
	return may_call(ctx, &p);
}

SEC("cgroup/connect6")
int ztap_connect6(struct bpf_sock_addr *ctx)
{
	__u32 words[4] = { ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3] };
	struct packet p = {};

	set_remote6(&p, words);
	return may_call(ctx, &p);
}

SEC("cgroup/sendmsg4")
int ztap_sendmsg4(struct bpf_sock_addr *ctx)
{
	struct packet p = {};

	set_remote4(&p, ctx->user_ip4);
	return may_call(ctx, &p);
}

SEC("cgroup/sendmsg6")
int ztap_sendmsg6(struct bpf_sock_addr *ctx)
{
	__u32 words[4] = { ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3] };
	struct packet p = {};

	set_remote6(&p, words);
	return may_call(ctx, &p);
}

SEC("cgroup/bind4")
int ztap_bind4(struct bpf_sock_addr *ctx)
{
	struct packet p = { .family = AF_INET };

	*(__u32 *)p.local = ctx->user_ip4;
	return may_bind(&p);
}

SEC("cgroup/bind6")
int ztap_bind6(struct bpf_sock_addr *ctx)
{
	__u32 words[4] = { ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3] };
	struct packet p = { .family = AF_INET6 };

	if (!words[0] && !words[1] && words[2] == bpf_htonl(0xffff)) {
		p.family = AF_INET;
		*(__u32 *)p.local = words[3];
	} else {
		__builtin_memcpy(p.local, words, 16);
	}
	return may_bind(&p);
}

/*
 * Test entries: the workload is ztap_test_subjects[cb[0]], the time cb[1] ticks (0: the real time); the verdict is
 * returned in cb[2] and the rule in cb[3]. An agent never loads them.
 */
static __always_inline int test_impl(struct __sk_buff *skb, __u32 direction)
{
	__u32 index = skb->cb[0];
	const struct ztap_cgroup *cgroup = bpf_map_lookup_elem(&ztap_test_subjects, &index);
	__u64 decided;

	if (!cgroup)
		return 0;
	decided = decide_packet(skb, cgroup, direction, skb->sk, skb->cb[1]);
	skb->cb[2] = decided & 3;
	skb->cb[3] = decided >> 8;
	return passes(decided);
}

SEC("?cgroup_skb/ingress")
int ztap_test_ingress(struct __sk_buff *skb)
{
	return test_impl(skb, ZTAP_INGRESS);
}

SEC("?cgroup_skb/egress")
int ztap_test_egress(struct __sk_buff *skb)
{
	return test_impl(skb, ZTAP_EGRESS);
}
