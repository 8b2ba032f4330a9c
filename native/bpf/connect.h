/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Connect, sendmsg and bind: turn calls whose packets the packet program would deny into EPERM at once. They are not the
 * authority: in doubt they let the call pass, and the packet program decides.
 */
#ifndef ZTAP_CONNECT_H
#define ZTAP_CONNECT_H

#include "event.h"
#include "flow.h"
#include "shadow.h"

/*
 * Returns whether a UDP socket's packet might be a reply. A socket without a port cannot reply; with a wildcard address
 * only the packet program can decide, since the address is chosen later.
 */
static __always_inline bool may_be_reply(struct bpf_sock *sk, const struct scope *scope, struct packet *p)
{
	struct ztap_flow_key key = { .subject = scope->cgroup->subject, .protocol = p->protocol, .family = p->family };
	struct ztap_flow *flow;

	if (!sk)
		return true;
	if (!sk->src_port)
		return false;
	if (p->family == AF_INET) {
		*(__u32 *)key.local = sk->src_ip4;
		if (!sk->src_ip4)
			return true;
	} else {
		__u32 words[4] = { sk->src_ip6[0], sk->src_ip6[1], sk->src_ip6[2], sk->src_ip6[3] };

		__builtin_memcpy(key.local, words, 16);
		if (!words[0] && !words[1] && !words[2] && !words[3])
			return true;
	}
	__builtin_memcpy(key.remote, p->remote, 16);
	key.be_local_port = bpf_htons(sk->src_port);
	key.be_remote_port = p->be_remote_port;
	flow = flow_of(&key, scope->cgroup);
	return flow && is_alive(&flow->asked[ZTAP_INGRESS], now_ticks(scope), p->protocol);
}

/* connect() and sendto() to the unspecified address go to this host. */
static __always_inline void set_remote4(struct packet *p, __u32 be_address)
{
	p->family = AF_INET;
	*(__u32 *)p->remote = be_address ? be_address : bpf_htonl(INADDR_LOOPBACK);
}

static __always_inline void set_remote6(struct packet *p, const __u32 *words)
{
	__u32 *remote = (__u32 *)p->remote;

	if (!words[0] && !words[1] && words[2] == bpf_htonl(0xffff)) {
		set_remote4(p, words[3]);
		return;
	}
	p->family = AF_INET6;
	__builtin_memcpy(p->remote, words, 16);
	if (!words[0] && !words[1] && !words[2] && !words[3])
		remote[3] = bpf_htonl(1);
}

/* Refuses to bind an address of which the packet program would refuse packets. */
static __always_inline int may_bind(const struct packet *p)
{
	const struct ztap_cgroup *cgroup = bpf_get_local_storage(&ztap_cgroup, 0);
	struct scope scope = { .cgroup = cgroup };
	__u32 zero = 0;
	struct ztap_control *control = bpf_map_lookup_elem(&ztap_control, &zero);

	if (!cgroup->subject || !control)
		return 1;
	scope.epoch = *(volatile __u64 *)&control->epoch;
	if (mode_of(&scope, ZTAP_EGRESS) == ZTAP_MODE_AUDIT)
		return 1;
	return !has_false_source(cgroup, subject_of(&scope), p, scope.epoch & 1);
}

static __always_inline int may_call(struct bpf_sock_addr *ctx, struct packet *p)
{
	const struct ztap_cgroup *cgroup = bpf_get_local_storage(&ztap_cgroup, 0);
	__u32 zero = 0, rule;
	__u64 shadow = 0;
	struct scope scope = { .cgroup = cgroup };
	struct ztap_control *control;

	/* Not written yet: the agent attaches this program first, and then writes the storage. */
	if (!cgroup->subject || (is_host(cgroup) && is_call_of_another(ctx)))
		return 1;
	control = bpf_map_lookup_elem(&ztap_control, &zero);
	if (!control)
		return 1;
	scope.epoch = *(volatile __u64 *)&control->epoch;
	p->protocol = ctx->protocol;
	if (p->protocol != IPPROTO_TCP && p->protocol != IPPROTO_UDP)
		return 1;
	p->kind = p->protocol == IPPROTO_TCP ? PACKET_TCP : PACKET_FLOW;
	p->be_remote_port = ctx->user_port;
	p->port_bits = ZTAP_PORT_FULL_BITS;
	if (policy_verdict(&scope, p, ZTAP_EGRESS, bpf_ntohs(p->be_remote_port), &rule) != ZTAP_DENIED)
		return 1;
	if (p->protocol == IPPROTO_UDP && may_be_reply(ctx->sk, &scope, p))
		return 1;
	/*
	 * The source address is not chosen yet; the agent's entries tell whether the destination is the workload's own
	 * address.
	 */
	if ((is_loopback(p->remote, p->family) || lookup_peer(p, cgroup->subject, scope.epoch & 1)) &&
	    receiver_is_self(ctx, p, cgroup, true))
		return 1;
	count_call(cgroup);
	if (rule == (ZTAP_RULE_DENIES | ZTAP_RULE_NONE))
		count(ZTAP_COUNT_IDENTITY);
	if (is_shadowed(scope.epoch))
		shadow = evaluate_call_in_shadow(p, &scope, rule);
	emit_call_event(p, cgroup->subject, cgroup->slot, rule, shadow);
	return 0;
}

#endif
