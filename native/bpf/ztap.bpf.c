/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * ztap's programs: they are attached to a workload's cgroup and decide about the packets that its sockets send and
 * receive. See docs/adr/0002-dataplane.md. Each returns 0 (deny) or 1 (pass), nothing else.
 */
#include "connect.h"
#include "event.h"
#include "migrate.h"
#include "newborn.h"
#include "tcp.h"

char _license[] SEC("license") = "Dual BSD/GPL";

static __always_inline __u8 packet_verdict(struct __sk_buff *skb, const struct scope *scope, __u32 direction,
					   struct bpf_sock *sk)
{
	struct packet p = {};
	__u8 verdict;

	parse(skb, &p, direction == ZTAP_EGRESS, 0);
	if (direction == ZTAP_EGRESS && has_false_source(scope->cgroup, subject_of(scope), &p, scope->epoch & 1)) {
		count(ZTAP_COUNT_FALSE_SOURCE);
		if (mode_of(scope, ZTAP_EGRESS) != ZTAP_MODE_AUDIT)
			return ZTAP_DENIED;
		scope->decision->event_flags |= EVENT_FALSE_SOURCE;
	}
	if (p.kind == PACKET_TCP)
		return tcp_verdict(skb, scope, &p, direction, sk);
	if (p.kind == PACKET_FLOW || p.kind == PACKET_REPLY)
		return flow_verdict(skb, scope, &p, direction);
	if (p.kind == PACKET_NEIGHBOUR_DISCOVERY)
		return ZTAP_ALLOWED;
	verdict = policy_verdict(scope, &p, direction, port_of(&p, direction), &scope->decision->rule);
	return verdict == ZTAP_DENIED && p.quoted_at ? icmp_error_verdict(skb, scope, &p, direction) : verdict;
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
static __always_inline void emit(struct __sk_buff *skb, const struct scope *scope, __u8 verdict)
{
	struct decision *decision = scope->decision;
	const struct ztap_cgroup *cgroup = scope->cgroup;
	__u64 what = scope->epoch << 32 | verdict << 8 | decision->event_flags;
	__u8 *emitted = decision->emitted;

	if (verdict != ZTAP_AUDITED) {
		emit_event(skb, cgroup->subject, cgroup->slot, decision->rule, what);
		return;
	}
	if (decision->event_flags & EVENT_HANDSHAKE_GOES_ON || (emitted && *emitted == emitted_now(scope)))
		return;
	if (emit_event(skb, cgroup->subject, cgroup->slot, 0, what) && emitted)
		*emitted = emitted_now(scope);
}

/* The only decision function, for both families, both directions, production and test. Returns the verdict. */
static __always_inline __u8 packet_impl(struct __sk_buff *skb, const struct ztap_cgroup *cgroup, __u32 direction,
					struct bpf_sock *sk, __u32 test_now, __u32 *rule)
{
	struct decision decision = { .event_flags = direction << 1 | direction };
	struct scope scope = { .cgroup = cgroup, .test_now = test_now, .decision = &decision };
	struct ztap_control *control;
	__u32 zero = 0;
	__u8 verdict;

	control = bpf_map_lookup_elem(&ztap_control, &zero);
	if (!control || !cgroup->subject) {
		count(ZTAP_COUNT_UNSET);
		count(direction * 3 + ZTAP_DENIED - 1);
		return ZTAP_DENIED;
	}
	scope.epoch = *(volatile __u64 *)&control->epoch;
	verdict = direction == ZTAP_INGRESS && is_for_another(skb, cgroup) ? ZTAP_DENIED : ZTAP_NONE;
	if (verdict == ZTAP_NONE)
		verdict = cached_connection_verdict(skb, &scope, sk, direction);
	if (verdict == ZTAP_NONE)
		verdict = cached_flow_verdict(skb, &scope, direction);
	if (verdict == ZTAP_NONE)
		verdict = packet_verdict(skb, &scope, direction, sk ? bpf_sk_fullsock(sk) : NULL);
	*rule = decision.rule;
	if (direction == ZTAP_INGRESS && verdict != ZTAP_DENIED)
		receive_mark(skb, cgroup);
	count_packet(cgroup, direction, verdict, &decision);
	if (decision.event_flags & EVENT_NEW || verdict != ZTAP_ALLOWED)
		emit(skb, &scope, verdict);
	return verdict;
}

SEC("cgroup_skb/ingress")
int ztap_ingress(struct __sk_buff *skb)
{
	__u32 rule = 0;

	return packet_impl(skb, bpf_get_local_storage(&ztap_cgroup, 0), ZTAP_INGRESS, skb->sk, 0, &rule) != ZTAP_DENIED;
}

SEC("cgroup_skb/egress")
int ztap_egress(struct __sk_buff *skb)
{
	struct ztap_cgroup *cgroup = bpf_get_local_storage(&ztap_cgroup, 0);
	__u32 rule = 0;

	mark_sender(skb, cgroup);
	return packet_impl(skb, cgroup, ZTAP_EGRESS, skb->sk, 0, &rule) != ZTAP_DENIED;
}

/*
 * The guards: attached to the cgroup root. While no newborn cgroup waits for the agent, they cost a call and a look-up.
 */
static __always_inline int guard(struct __sk_buff *skb, __u32 direction)
{
	struct ztap_births *all = births();
	struct ztap_newborn *newborn;
	__u32 rule = 0;

	if (!all)
		return 1;
	newborn = all->waiting ? newborn_of(skb, all->levels, 0) : NULL;
	if (newborn) {
		/* One that is in another one is closed until the agent has attached the programs of one of them. */
		if (newborn_of(skb, all->levels & ((1U << (newborn->record.level & 31)) - 1), 0))
			return 0;
		if (direction == ZTAP_EGRESS)
			mark_sender(skb, &newborn->record);
		if (packet_impl(skb, &newborn->record, direction, skb->sk, 0, &rule) == ZTAP_DENIED)
			return 0;
	}
	if (all->dropped && is_unrecorded(skb, all->levels))
		return 0;
	if (direction == ZTAP_INGRESS)
		return !is_misdelivered(skb);
	clear_forged_mark(skb, all->levels);
	return 1;
}

SEC("cgroup_skb/ingress")
int ztap_guard_ingress(struct __sk_buff *skb)
{
	return guard(skb, ZTAP_INGRESS);
}

SEC("cgroup_skb/egress")
int ztap_guard_egress(struct __sk_buff *skb)
{
	return guard(skb, ZTAP_EGRESS);
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
	__u32 index = skb->cb[0], rule = 0;
	const struct ztap_cgroup *cgroup = bpf_map_lookup_elem(&ztap_test_subjects, &index);
	__u8 verdict;

	if (!cgroup)
		return 0;
	verdict = packet_impl(skb, cgroup, direction, skb->sk, skb->cb[1], &rule);
	skb->cb[2] = verdict;
	skb->cb[3] = rule;
	return verdict != ZTAP_DENIED;
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
