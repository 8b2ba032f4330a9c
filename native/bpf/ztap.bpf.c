/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * ztap's programs: they are attached to a workload's cgroup and decide what its sockets send and
 * receive. See docs/adr/0002-dataplane.md. Each returns 0 (refuse) or 1 (pass), nothing else.
 */
#include "connect.h"
#include "event.h"
#include "handover.h"
#include "tcp.h"

char _license[] SEC("license") = "Dual BSD/GPL";

__inline_always __u8 judge_packet(struct __sk_buff *skb, const struct scope *scope, __u32 direction,
				  struct bpf_sock *sk)
{
	struct packet p = {};
	__u8 verdict;

	parse(skb, &p, direction == ZTAP_EGRESS, 0);
	if (p.kind == PACKET_TCP)
		return judge_tcp(skb, scope, &p, direction, sk);
	if (p.kind == PACKET_FLOW || p.kind == PACKET_ANSWER)
		return judge_flow(skb, scope, &p, direction);
	if (p.kind == PACKET_VITAL)
		return ZTAP_ALLOWED;
	verdict = judge(scope, &p, direction, port_of(&p, direction), &scope->decision->rule);
	return verdict == ZTAP_DENIED && p.quoted_at ? judge_error(skb, scope, &p, direction) : verdict;
}

/*
 * In these states an established connection needs no look at the packet: whatever it is, the connection's verdict holds.
 * A connection that begins asks: its socket may remember the verdict of one that it had before.
 */
#define CONNECTED                                                                                                      \
	(1 << BPF_TCP_ESTABLISHED | 1 << BPF_TCP_FIN_WAIT1 | 1 << BPF_TCP_FIN_WAIT2 | 1 << BPF_TCP_CLOSE_WAIT |           \
	 1 << BPF_TCP_LAST_ACK | 1 << BPF_TCP_CLOSING)

/* Whether the connection goes on with this packet and does not begin: then the verdict on its SYN holds. */
__inline_always bool goes_on(struct __sk_buff *skb, struct bpf_sock *sk, __u32 direction)
{
	if (1U << (sk->state & 31) & CONNECTED)
		return true;
	return sk->state == BPF_TCP_SYN_SENT && direction == ZTAP_INGRESS && acknowledges(skb);
}

/* What the packet's socket remembers for its connection, or ZTAP_NONE. Only connections of TCP have such a memory. */
__inline_always __u8 recall_connection(struct __sk_buff *skb, const struct scope *scope, struct bpf_sock *sk,
				       __u32 direction)
{
	struct ztap_sock *sock;
	__u8 verdict;

	if (!sk || !goes_on(skb, sk, direction))
		return ZTAP_NONE;
	sock = bpf_sk_storage_get(&ztap_socks, sk, NULL, 0);
	verdict = sock ? recall(scope, sock->remembered) : ZTAP_NONE;
	if (verdict == ZTAP_NONE)
		return verdict;
	decide(scope->decision, sock->rule, sock->place);
	if (verdict == ZTAP_AUDITED)
		belong_to(scope->decision, sock, direction);
	return verdict;
}

/* Tells what is denied, audited or begins. A conversation that is only audited is told until one event is in the ring. */
__inline_always void tell(struct __sk_buff *skb, const struct scope *scope, __u8 verdict)
{
	struct decision *decision = scope->decision;
	const struct ztap_cgroup *cgroup = scope->cgroup;
	__u64 what = scope->epoch << 32 | verdict << 8 | decision->telling;
	__u8 *told = decision->told;

	if (verdict != ZTAP_AUDITED) {
		tell_packet(skb, cgroup->subject, cgroup->place, decision->rule, what);
		return;
	}
	if (decision->telling & TELL_GOES_ON || (told && *told == told_now(scope)))
		return;
	if (tell_packet(skb, cgroup->subject, cgroup->place, 0, what) && told)
		*told = told_now(scope);
}

/* The only decision there is: both families, both directions, production and test come here. Returns the verdict. */
__inline_always __u8 packet_impl(struct __sk_buff *skb, const struct ztap_cgroup *cgroup, __u32 direction,
				 struct bpf_sock *sk, __u32 test_now, __u32 *rule)
{
	struct decision decision = { .telling = direction << 1 | direction };
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
	verdict = recall_connection(skb, &scope, sk, direction);
	if (verdict == ZTAP_NONE)
		verdict = recall_flow(skb, &scope, direction);
	if (verdict == ZTAP_NONE)
		verdict = judge_packet(skb, &scope, direction, sk ? bpf_sk_fullsock(sk) : NULL);
	*rule = decision.rule;
	count_packet(cgroup, direction, verdict, &decision);
	if (decision.telling & TELL_NEW || verdict != ZTAP_ALLOWED)
		tell(skb, &scope, verdict);
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

	mark_own(skb, cgroup);
	return packet_impl(skb, cgroup, ZTAP_EGRESS, skb->sk, 0, &rule) != ZTAP_DENIED;
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

/*
 * Test entries: the workload is ztap_test_subjects[cb[0]], the time cb[1] ticks (0: the real time);
 * the verdict comes back in cb[2] and the rule behind it in cb[3]. Never loaded by an agent.
 */
__inline_always int test_impl(struct __sk_buff *skb, __u32 direction)
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
