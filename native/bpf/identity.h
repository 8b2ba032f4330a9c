/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Identity: a TCP SYN between nodes of the cluster says which workload sends it, and proves it with a key that the two nodes
 * share. The sender's kernel writes the option; the receiver's asks policy with the proven identity where an address alone
 * would let somebody in. See docs/adr/0021-syn-identity.md.
 */
#ifndef ZTAP_IDENTITY_PROGRAMS_H
#define ZTAP_IDENTITY_PROGRAMS_H

#include "count.h"
#include "kernel.h"
#include "newborn.h"
#include "siphash.h"

#define DAY_NS 86400000000000ULL
#define OVERLAP_NS (ZTAP_KEY_OVERLAP * 1000000000ULL)

static __always_inline const struct ztap_peer *peer_at(const __u8 *address, __u32 family)
{
	struct ztap_peer_key key = { .family = family };

	__builtin_memcpy(key.address, address, 16);
	return bpf_map_lookup_elem(&ztap_peers, &key);
}

/* Returns whether the option's code is that of the day. */
static __always_inline bool is_of_day(const struct ztap_day_keys *keys, const struct ztap_syn *syn, __u32 day,
				      __u64 mac)
{
	__u32 at = bounded(day, ZTAP_KEY_DAYS);

	return keys->day[at] == day && siphash(syn, keys->key[at][0], keys->key[at][1]) == mac;
}

/* Returns the other day whose key is valid now, or the same one. */
static __always_inline __u32 other_day(__u64 now)
{
	__u32 day = now / DAY_NS;
	__u64 in_day = now % DAY_NS;

	if (in_day < OVERLAP_NS)
		return day - 1;
	return in_day >= DAY_NS - OVERLAP_NS ? day + 1 : day;
}

static __always_inline bool is_valid(const struct ztap_day_keys *keys, const struct ztap_syn *syn, __u64 now,
				     __u64 mac)
{
	__u32 day = now / DAY_NS, other = other_day(now);

	return is_of_day(keys, syn, day, mac) || (other != day && is_of_day(keys, syn, other, mac));
}

/* Returns 0 if the code is right, or the reason to count. */
__noinline int refuse_code(const struct ztap_syn *syn, __u64 mac)
{
	const struct ztap_peer *peer;
	__u64 now;

	if (!syn)
		return ZTAP_COUNT_FORGED_IDENTITY;
	peer = peer_at(syn->source, syn->family);
	if (!peer)
		return ZTAP_COUNT_FORGED_IDENTITY;
	now = bpf_ktime_get_tai_ns();
	if (is_valid(&peer->current, syn, now, mac))
		return 0;
	if (bpf_ktime_get_ns() < peer->previous_until && is_valid(&peer->previous, syn, now, mac))
		return 0;
	return is_of_day(&peer->current, syn, now / DAY_NS - 1, mac) ? ZTAP_COUNT_EXPIRED_IDENTITY :
								       ZTAP_COUNT_FORGED_IDENTITY;
}

/* Options of a SYN that are looked through: those of Linux are fewer. */
#define MAX_OPTIONS 16
#define TCP_HEADER 20
#define OPTION_END 0
#define OPTION_NOP 1

/* Reads the option of a TCP header at `tcp`; returns whether there is one. */
__noinline int read_option(struct __sk_buff *skb, __u32 tcp, struct ztap_syn_option *option)
{
	__u32 at = tcp + TCP_HEADER, end;
	__u8 head[2];

	if (!option || bpf_skb_load_bytes(skb, tcp + 12, head, 1))
		return 0;
	end = tcp + (head[0] >> 4) * 4;
	for (int i = 0; i < MAX_OPTIONS; i++) {
		if (at + sizeof(*option) > end || bpf_skb_load_bytes(skb, at, head, 2) || head[0] == OPTION_END)
			return 0;
		if (head[0] == OPTION_NOP) {
			at += 1;
			continue;
		}
		if (head[0] == ZTAP_OPTION_KIND && head[1] == sizeof(*option) &&
		    !bpf_skb_load_bytes(skb, at, option, sizeof(*option)) &&
		    option->be_experiment == bpf_htons(ZTAP_OPTION_EXPERIMENT))
			return 1;
		if (head[1] < 2)
			return 0;
		at += head[1];
	}
	return 0;
}

/* Returns the offset of the TCP header; 0 behind extension headers, where the option is not looked for. */
static __always_inline __u32 tcp_offset(struct __sk_buff *skb, __u8 family)
{
	__u8 first, next;

	if (family == AF_INET)
		return bpf_skb_load_bytes(skb, 0, &first, 1) ? 0 : (first & 15) * 4;
	return !bpf_skb_load_bytes(skb, offsetof(struct ip6, next), &next, 1) && next == IPPROTO_TCP ?
		       sizeof(struct ip6) :
		       0;
}

/* Returns the proven identity of the sender, above it the reason for which none is proven (<< 32). */
static __always_inline __u64 identify(struct __sk_buff *skb, const struct packet *p)
{
	struct ztap_syn syn = {
		.be_source_port = p->be_remote_port,
		.be_destination_port = p->be_local_port,
		.family = p->family,
	};
	__u32 tcp = tcp_offset(skb, p->family);
	struct ztap_syn_option option = {};
	int reason;

	if (!tcp || !read_option(skb, tcp, &option))
		return (__u64)ZTAP_COUNT_NO_IDENTITY << 32;
	if (bpf_skb_load_bytes(skb, tcp + 4, &syn.be_seq, 4))
		return (__u64)ZTAP_COUNT_NO_IDENTITY << 32;
	syn.identity = option.identity;
	__builtin_memcpy(syn.source, p->remote, 16);
	__builtin_memcpy(syn.destination, p->local, 16);
	reason = refuse_code(&syn, *(__u64 *)option.mac);
	return reason ? (__u64)reason << 32 : option.identity;
}

static __always_inline __u32 class_of_identity(const struct packet *p, __u32 profile, __u32 identity, __u32 set)
{
	struct ztap_identity_key key = {
		.prefixlen = ZTAP_IDENTITY_BITS,
		.profile = profile,
		.identity = identity,
		.family = p->family,
	};
	__u32 *found;

	__builtin_memcpy(key.address, p->remote, 16);
	found = set ? bpf_map_lookup_elem(&ztap_identities_b, &key) : bpf_map_lookup_elem(&ztap_identities_a, &key);
	return found ? *found : 0;
}

static __always_inline bool class_allows(const struct packet *p, __u32 class_id, __u32 set)
{
	struct ztap_port_key key = {
		.prefixlen = p->port_bits,
		.class_id = class_id,
		.protocol = p->protocol,
		.be_port = p->be_local_port,
	};
	__u32 *found;

	if (!class_id)
		return false;
	found = set ? bpf_map_lookup_elem(&ztap_ports_b, &key) : bpf_map_lookup_elem(&ztap_ports_a, &key);
	return found && *found && !(*found & ZTAP_RULE_DENIES);
}

/*
 * Returns why the SYN is refused although policy lets its address in: a reason of enum ztap_counter; 0 if it is not, or if
 * policy does not let the address in either.
 */
static __noinline int refuse_sender(struct __sk_buff *skb, const struct packet *p, __u32 profile, __u32 set)
{
	const struct ztap_peer *peer = peer_at(p->remote, p->family);
	__u32 by_address, rule, class_id = 0;
	__u64 identified;

	by_address = peer ? class_of_identity(p, profile, 0, set) : 0;
	if (!by_address || bpf_ktime_get_ns() < peer->verify_from)
		return 0;
	rule = find_rule(p, profile, set, bpf_ntohs(p->be_local_port));
	if (!rule || rule & ZTAP_RULE_DENIES)
		return 0;
	identified = identify(skb, p);
	if ((__u32)identified)
		class_id = class_of_identity(p, profile, identified, set);
	if (class_allows(p, class_id ? class_id : by_address, set))
		return 0;
	return identified >> 32 ? identified >> 32 : ZTAP_COUNT_OTHER_IDENTITY;
}

/*
 * Called by the packet program of workloads for a packet whose verdict is not cached, if its policy asks for identities; it
 * leaves its answer in cb[IDENTITY_CB], and calls that program again.
 */
SEC("cgroup_skb/ingress")
int ztap_identity(struct __sk_buff *skb)
{
	const struct ztap_cgroup *cgroup = bpf_get_local_storage(&ztap_cgroup, 0);
	struct ztap_births *all = births();
	struct ztap_control *control;
	const struct ztap_subject *subject;
	struct ztap_newborn *newborn;
	struct packet p = {};
	__u32 zero = 0;
	int reason = 0;

	skb->cb[IDENTITY_CB] = IDENTITY_LOOKED_AT;
	control = bpf_map_lookup_elem(&ztap_control, &zero);
	if (!control || !all)
		return 0;
	/* What a guard hands over is a newborn's. */
	if (!cgroup->subject || skb->cb[0] == FROM_GUARD) {
		newborn = newborn_of(skb, all->levels, 0);
		if (!newborn)
			return 0;
		cgroup = &newborn->record;
	}
	subject = &cgroup->set[*(volatile __u64 *)&control->epoch & 1];
	parse(skb, &p, ZTAP_INGRESS, 0);
	if (p.kind == PACKET_TCP && (p.tcp_flags & (TCP_FLAG_SYN_BIT | TCP_FLAG_ACK_BIT)) == TCP_FLAG_SYN_BIT)
		reason = refuse_sender(skb, &p, subject->ingress_profile, *(volatile __u64 *)&control->epoch & 1);
	if (reason) {
		count(reason);
		skb->cb[IDENTITY_CB] = IDENTITY_REFUSED;
	}
	bpf_tail_call(skb, &ztap_decider_ingress, ZTAP_DECIDES);
	return 0;
}

/* Returns the identity of the workload whose cgroup the socket is in, or that of the host; 0 if there is none. A global function, so that the verifier checks it once. */
__noinline __u32 identity_of(struct bpf_sock_ops *ctx)
{
	struct tcp_sock *tcp = ctx->sk ? bpf_skc_to_tcp_sock(ctx->sk) : NULL;
	struct ztap_births *all = births();
	struct ztap_newborn *newborn;
	struct cgroup *cgroup;
	__u32 host = 0, level, *found;
	__u64 id;

	if (!tcp || !all)
		return 0;
	cgroup = BPF_CORE_READ((struct sock *)tcp, sk_cgrp_data.cgroup);
	level = BPF_CORE_READ(cgroup, level);
#pragma unroll
	for (__u32 at = ZTAP_MAX_LEVEL; at >= 1; at--) {
		if (at > level || !(all->levels >> at & 1))
			continue;
		id = id_of_ancestor(cgroup, at);
		newborn = bpf_map_lookup_elem(&ztap_newborns, &id);
		if (!newborn || !newborn->owner)
			continue;
		found = bpf_map_lookup_elem(&ztap_members, &newborn->owner);
		return found ? *found : 0;
	}
	found = bpf_map_lookup_elem(&ztap_members, &host);
	return found ? *found : 0;
}

/* clang joins reads of two fields into one of a computed address, which the verifier refuses. */
#define READ(field) (*(volatile __u32 *)&(field))

/* Sets the addresses of the connection; an IPv4 connection of an IPv6 socket is one of IPv4. */
static __always_inline void set_addresses(struct bpf_sock_ops *ctx, struct ztap_syn *syn)
{
	__u32 *source = (__u32 *)syn->source, *destination = (__u32 *)syn->destination;

	if (ctx->family == AF_INET) {
		syn->family = AF_INET;
		source[0] = READ(ctx->local_ip4);
		destination[0] = READ(ctx->remote_ip4);
		return;
	}
	syn->family = AF_INET6;
#pragma unroll
	for (int at = 0; at < 4; at++) {
		source[at] = READ(ctx->local_ip6[at]);
		destination[at] = READ(ctx->remote_ip6[at]);
	}
	if (destination[0] || destination[1] || destination[2] != bpf_htonl(0xffff))
		return;
	syn->family = AF_INET;
	source[0] = source[3];
	destination[0] = destination[3];
	source[2] = source[3] = destination[2] = destination[3] = 0;
}

static __always_inline const struct ztap_day_keys *keys_towards(const struct ztap_syn *syn)
{
	const struct ztap_peer *peer = peer_at(syn->destination, syn->family);

	return peer ? &peer->current : NULL;
}

/* Writes the option into a SYN. Without the key of today it is not sent, and the receiver refuses. */
static __always_inline void write_option(struct bpf_sock_ops *ctx)
{
	struct ztap_syn_option option;
	void *data = ctx->skb_data, *data_end = ctx->skb_data_end;
	const struct ztap_day_keys *keys;
	struct ztap_syn syn = {};
	__u32 day, at;

	if (data + TCP_HEADER > data_end)
		return;
	syn.be_source_port = *(__be16 *)data;
	syn.be_destination_port = *(__be16 *)(data + 2);
	syn.be_seq = *(__be32 *)(data + 4);
	set_addresses(ctx, &syn);
	/* Written one by one: a constant would need a map of its own. */
	option.kind = ZTAP_OPTION_KIND;
	option.length = ZTAP_OPTION_BYTES;
	option.be_experiment = bpf_htons(ZTAP_OPTION_EXPERIMENT);
	syn.identity = option.identity = identity_of(ctx);
	keys = keys_towards(&syn);
	day = bpf_ktime_get_tai_ns() / DAY_NS;
	at = bounded(day, ZTAP_KEY_DAYS);
	if (!syn.identity || !keys || keys->day[at] != day)
		return;
	*(__u64 *)option.mac = siphash(&syn, keys->key[at][0], keys->key[at][1]);
	bpf_store_hdr_opt(ctx, &option, sizeof(option), 0);
}

static __always_inline void set_writes(struct bpf_sock_ops *ctx, bool writes)
{
	__u32 flags = ctx->bpf_sock_ops_cb_flags & ~BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG;

	bpf_sock_ops_cb_flags_set(ctx, writes ? flags | BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG : flags);
}

/* At the cgroup root, so that newborn workloads say who they are as well. It has work to do until a connection is established. */
SEC("sockops")
int ztap_guard_sock_ops(struct bpf_sock_ops *ctx)
{
	struct ztap_syn syn = {};

	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		set_addresses(ctx, &syn);
		if (keys_towards(&syn) && identity_of(ctx))
			set_writes(ctx, true);
		break;
	case BPF_SOCK_OPS_HDR_OPT_LEN_CB:
		if ((ctx->skb_tcp_flags & (TCP_FLAG_SYN_BIT | TCP_FLAG_ACK_BIT)) == TCP_FLAG_SYN_BIT)
			bpf_reserve_hdr_opt(ctx, ZTAP_OPTION_BYTES, 0);
		break;
	case BPF_SOCK_OPS_WRITE_HDR_OPT_CB:
		if ((ctx->skb_tcp_flags & (TCP_FLAG_SYN_BIT | TCP_FLAG_ACK_BIT)) == TCP_FLAG_SYN_BIT)
			write_option(ctx);
		break;
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		set_writes(ctx, false);
		break;
	}
	return 1;
}

#endif
