/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Shadow: judges what begins a connection or a flow also by the ruleset in the other table set, and counts where the two differ. It decides
 * nothing, and leaves nothing behind but its counts. See docs/adr/0026-shadow.md.
 */
#ifndef ZTAP_SHADOW_H
#define ZTAP_SHADOW_H

#include "count.h"
#include "kernel.h"
#include "self.h"

/* Beside the direction and POLICY_SET_B, which is the coming ruleset's set, in one argument. */
#define SHADOW_PASSES 16
#define SHADOW_FALSE_IDENTITY 32
/* The source is false by what is in force, which lets it pass in audit mode. */
#define SHADOW_FALSE_SOURCE 64

/* Returns whether what begins under this epoch is to be judged by the other set as well. */
static __always_inline bool is_shadowed(__u64 epoch)
{
	__u32 zero = 0;
	struct ztap_control *control = bpf_map_lookup_elem(&ztap_control, &zero);

	return control && *(volatile __u64 *)&control->shadow == epoch;
}

/* Returns POLICY_SET_B if the set that is not in force is the second one. */
static __always_inline __u32 set_beside(__u64 epoch)
{
	return epoch & 1 ? 0 : POLICY_SET_B;
}

static __always_inline void add_to_total(__u32 index)
{
	__u64 *total = bpf_map_lookup_elem(&ztap_shadow_totals, &index);

	if (total)
		add_one(total);
}

/*
 * Counts what was judged by both. Without room for one more difference, the totals are exact all the same. Returns its last argument,
 * the coming ruleset's rule << 8 | verdict, where the two differ; else 0. A global function, so that the verifier checks it once.
 */
__noinline __u64 count_in_shadow(__u32 subject, __u32 what, __u32 rule, __u64 coming)
{
	bool passes = (coming & 3) != ZTAP_DENIED;
	struct ztap_shadow_key key = {};
	__u64 zero = 0, *counter;

	add_to_total(ZTAP_SHADOW_EVALUATED);
	if (passes == !!(what & SHADOW_PASSES))
		return 0;
	add_to_total(passes ? ZTAP_SHADOW_ALLOWS : ZTAP_SHADOW_DENIALS);
	key.subject = subject;
	key.rule = rule;
	key.shadow_rule = coming >> 8;
	key.direction = what & ZTAP_EGRESS;
	key.verdict = passes ? ZTAP_ALLOWED : ZTAP_DENIED;
	counter = bpf_map_lookup_elem(&ztap_shadow_counts, &key);
	if (!counter) {
		/* Of two CPUs, the second one fails, and finds the entry of the first. */
		bpf_map_update_elem(&ztap_shadow_counts, &key, &zero, BPF_NOEXIST);
		counter = bpf_map_lookup_elem(&ztap_shadow_counts, &key);
	}
	if (counter)
		add_one(counter);
	return coming;
}

/*
 * Returns rule << 8 | verdict of the coming ruleset, without what a workload sends to itself. What begins in both directions has no
 * answer to be: the other end's beginning was judged.
 */
static __always_inline __u64 coming_verdict(const struct packet *p, const struct ztap_cgroup *cgroup, __u32 what,
					    __u32 port)
{
	const struct ztap_subject *subject = what & POLICY_SET_B ? &cgroup->set[1] : &cgroup->set[0];
	__u32 asked = what & (ZTAP_EGRESS | POLICY_SET_B);
	__u64 decided;

	/* Where both rulesets have the same addresses, the agent leaves out OWN_SOURCES: what is in force has looked them up. */
	if (what & ZTAP_EGRESS && (subject->flags & ZTAP_OWN_SOURCES ?
					   has_false_source(cgroup, subject, p, !!(what & POLICY_SET_B)) :
					   !!(what & SHADOW_FALSE_SOURCE))) {
		if (subject->egress_mode != ZTAP_MODE_AUDIT)
			return ZTAP_DENIED;
		asked |= POLICY_WITHOUT_RULES;
	}
	decided = decide_by_policy(p, subject, asked, port);
	/* The proof was judged by what is in force. */
	if (what & SHADOW_FALSE_IDENTITY && (decided & 3) == ZTAP_ALLOWED && subject->flags & ZTAP_ASKS_IDENTITY)
		return subject->ingress_mode == ZTAP_MODE_AUDIT ? ZTAP_AUDITED : ZTAP_DENIED;
	return decided;
}

/* Judges a packet. Returns as count_in_shadow(). A global function, as above. */
__noinline __u64 evaluate_in_shadow(struct __sk_buff *skb, const struct packet *p, const struct ztap_cgroup *cgroup,
				 __u32 what, __u32 rule)
{
	__u64 coming;

	if (!p || !cgroup)
		return 0;
	coming = coming_verdict(p, cgroup, what, port_of(p, what & ZTAP_EGRESS));
	if ((coming & 3) == ZTAP_DENIED && what & SHADOW_PASSES &&
	    is_to_self(skb, p, cgroup, 0, (what & ZTAP_EGRESS) | PACKET_IS_ONLY_LOOKED_AT))
		coming = ZTAP_ALLOWED;
	return count_in_shadow(cgroup->subject, what, rule, coming);
}

/* Judges a connect() or sendto() that is refused: there will be no packet. The source address is not chosen yet. Returns as above. */
static __always_inline __u64 evaluate_call_in_shadow(const struct packet *p, const struct scope *scope, __u32 rule)
{
	const struct ztap_cgroup *cgroup = scope->cgroup;
	__u32 what = ZTAP_EGRESS | set_beside(scope->epoch);
	const struct ztap_subject *subject = what & POLICY_SET_B ? &cgroup->set[1] : &cgroup->set[0];

	return count_in_shadow(cgroup->subject, what, rule,
			       decide_by_policy(p, subject, what, bpf_ntohs(p->be_remote_port)));
}

/* Returns the workload whose cgroup the socket is in, or 0: the host's connections are known by their last verdict alone. */
static __always_inline __u32 workload_of_socket(struct sock *sk)
{
	struct cgroup *cgroup = BPF_CORE_READ(sk, sk_cgrp_data.cgroup);
	__u32 deepest = BPF_CORE_READ(cgroup, level), owner = 0;
	struct ztap_newborn *newborn;
	__u64 id;

	for (__u32 level = 1; level <= ZTAP_MAX_LEVEL && level <= deepest; level++) {
		id = id_of_ancestor(cgroup, level);
		newborn = bpf_map_lookup_elem(&ztap_newborns, &id);
		if (newborn && newborn->owner)
			owner = newborn->owner;
	}
	return owner;
}

/* Iterates over ztap_socks: what stands when a shadow begins has no first packet to come. The agent evaluates it. */
SEC("iter/bpf_sk_storage_map")
int ztap_list_connections(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct ztap_connection found = {};
	const struct ztap_sock *sock = ctx->value;
	struct sock *sk = ctx->sk;
	__u32 *local = (__u32 *)found.local, *remote = (__u32 *)found.remote;

	if (!sk || !sock || !sock->role || BPF_CORE_READ(sk, sk_protocol) != IPPROTO_TCP ||
	    !(1U << (BPF_CORE_READ(sk, __sk_common.skc_state) & 31) & (1 << BPF_TCP_ESTABLISHED | 1 << BPF_TCP_CLOSE_WAIT)))
		return 0;
	found.subject = sock->remembered & 0xfffffffc;
	if (!found.subject)
		found.subject = workload_of_socket(sk);
	found.role = sock->role;
	found.family = BPF_CORE_READ(sk, __sk_common.skc_family);
	found.local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
	found.be_remote_port = BPF_CORE_READ(sk, __sk_common.skc_dport);
	if (found.family == AF_INET6) {
		bpf_core_read(found.local, 16, &sk->__sk_common.skc_v6_rcv_saddr);
		bpf_core_read(found.remote, 16, &sk->__sk_common.skc_v6_daddr);
	}
	/* An IPv4 connection of an IPv6 socket is one of IPv4. */
	if (found.family == AF_INET || (!remote[0] && !remote[1] && remote[2] == bpf_htonl(0xffff))) {
		found.family = AF_INET;
		__builtin_memset(found.local, 0, 16);
		__builtin_memset(found.remote, 0, 16);
		local[0] = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
		remote[0] = BPF_CORE_READ(sk, __sk_common.skc_daddr);
	}
	bpf_seq_write(ctx->meta->seq, &found, sizeof(found));
	return 0;
}

#endif
