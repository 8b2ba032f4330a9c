/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Migration: exports and imports the state of live connections when another version takes over: the initiator of TCP
 * connections, and the flows of other protocols. These programs are attached to no cgroup: the agent runs them. See
 * docs/adr/0005-abi-versions.md.
 */
#ifndef ZTAP_MIGRATE_H
#define ZTAP_MIGRATE_H

#include "flow.h"
#include "kernel.h"

_Static_assert(offsetof(struct ztap_sock, role) == ZTAP_SOCK_ROLE, "the offset of a socket's role is frozen");

/* Iterates over ztap_flows for another version; it stays pinned. */
SEC("iter/bpf_map_elem")
int ztap_export_flows(struct bpf_iter__bpf_map_elem *ctx)
{
	const struct ztap_flow_key *key = ctx->key;
	const struct ztap_flow *flow = ctx->value;
	struct ztap_exported_flow exported = {};

	if (!key || !flow)
		return 0;
	exported.subject = key->subject;
	exported.protocol = key->protocol;
	exported.family = key->family;
	exported.be_local_port = key->be_local_port;
	exported.be_remote_port = key->be_remote_port;
	__builtin_memcpy(exported.local, key->local, 16);
	__builtin_memcpy(exported.remote, key->remote, 16);
	for (int i = 0; i < 2; i++) {
		exported.asked[i] = flow->asked[i].remembered != 0;
		exported.answered[i] = flow->asked[i].answered;
		exported.port[i] = flow->asked[i].port;
		exported.seen[i] = (__u64)flow->asked[i].seen << ZTAP_TICK_SHIFT;
	}
	bpf_seq_write(ctx->meta->seq, &exported, sizeof(exported));
	return 0;
}

/* Marks a half as opened under epoch 1. No ruleset has epoch 1, so that the half's next packet is evaluated again. */
static __always_inline __u64 asked_before(__u32 subject)
{
	return 1ULL << 32 | subject | ZTAP_ALLOWED;
}

static __always_inline void import_half(struct ztap_flow_half *half, const struct ztap_exported_flow *exported,
					int initiator, __u32 now)
{
	__u32 seen = exported->seen[initiator] >> ZTAP_TICK_SHIFT;
	struct ztap_flow_half theirs = {
		.remembered = 1,
		.seen = seen,
		.answered = exported->answered[initiator] ? 1 : 0,
	};

	if (!exported->asked[initiator])
		return;
	/* The state that was learned here is newer, except for a reply that came before. */
	if (is_alive(half, now, exported->protocol)) {
		if (theirs.answered && is_alive(&theirs, now, exported->protocol))
			half->answered = 1;
		return;
	}
	half->answered = theirs.answered;
	half->port = exported->port[initiator];
	half->seen = seen;
	half->emitted = 0;
	half->remembered = asked_before(exported->subject);
}

/* Adds one flow of another version to those that were learned since. Returns 0, or 1 if there was no free slot. */
SEC("syscall")
int ztap_import_flow(struct ztap_exported_flow *exported)
{
	__u32 now = bpf_ktime_get_ns() >> ZTAP_TICK_SHIFT;
	struct ztap_flow_key key = {};
	struct ztap_flow fresh = {};
	struct ztap_flow *flow;

	key.subject = exported->subject;
	key.protocol = exported->protocol;
	key.family = exported->family;
	key.be_local_port = exported->be_local_port;
	key.be_remote_port = exported->be_remote_port;
	__builtin_memcpy(key.local, exported->local, 16);
	__builtin_memcpy(key.remote, exported->remote, 16);
	flow = bpf_map_lookup_elem(&ztap_flows, &key);
	if (!flow) {
		import_half(&fresh.asked[0], exported, 0, now);
		import_half(&fresh.asked[1], exported, 1, now);
		if (!is_alive(&fresh.asked[0], now, key.protocol) && !is_alive(&fresh.asked[1], now, key.protocol))
			return 0;
		/*
		 * The exported flow does not name its share, and the shares may be divided differently here: if the
		 * common slots are taken, any other slot will do. There the owner's flows evict it once no other slot
		 * is free.
		 */
		if (!take_flow_slot(&key, now, 0, ZTAP_COMMON_FLOWS, 0) &&
		    !take_flow_slot(&key, now, ZTAP_COMMON_FLOWS, ZTAP_MAX_FLOWS - ZTAP_COMMON_FLOWS, 0))
			return 1;
		if (!bpf_map_update_elem(&ztap_flows, &key, &fresh, BPF_NOEXIST))
			return 0;
		/* A packet was faster. */
		flow = bpf_map_lookup_elem(&ztap_flows, &key);
		if (!flow)
			return 1;
	}
	import_half(&flow->asked[0], exported, 0, now);
	import_half(&flow->asked[1], exported, 1, now);
	return 0;
}

/* Iterates over another version's ztap_socks: a socket keeps its role. */
SEC("iter/bpf_sk_storage_map")
int ztap_import_roles(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	const __u8 *exported = ctx->value;
	struct sock *sk = ctx->sk;
	struct ztap_sock *sock;

	if (!sk || !exported || !exported[ZTAP_SOCK_ROLE])
		return 0;
	sock = bpf_sk_storage_get(&ztap_socks, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (sock && !sock->role)
		sock->role = exported[ZTAP_SOCK_ROLE];
	return 0;
}

#endif
