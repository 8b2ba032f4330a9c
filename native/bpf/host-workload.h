/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Host workload: everything below the cgroup root that is in no other workload. Its programs are attached to the root, so that the
 * kernel runs them for every cgroup: they leave to others what is not the host's. See docs/adr/0020-host-workload.md.
 */
#ifndef ZTAP_HOST_WORKLOAD_H
#define ZTAP_HOST_WORKLOAD_H

#include "kernel.h"
#include "maps.h"

#ifndef SOCK_RAW
#define SOCK_RAW 3
#endif

/* skb->cb[0] of a packet that a guard hands over. The kernel clears it before each attached program. */
#define FROM_GUARD 1

static __always_inline bool is_host(const struct ztap_cgroup *cgroup)
{
	return cgroup->flags & ZTAP_IS_HOST;
}

/* Returns whether the socket of the packet is in the cgroup of a workload whose programs or record decide. */
static __noinline int is_covered(struct __sk_buff *skb, __u32 levels)
{
	struct ztap_newborn *newborn;
	__u64 id;

	for (__u32 level = 1; level <= ZTAP_MAX_LEVEL && levels >> level; level++) {
		if (!(levels >> level & 1))
			continue;
		id = bpf_skb_ancestor_cgroup_id(skb, level);
		newborn = id ? bpf_map_lookup_elem(&ztap_newborns, &id) : NULL;
		if (newborn && newborn->flags & ZTAP_COVERED)
			return 1;
	}
	return 0;
}

/* The same for a pointer to a cgroup. A global function, so that the verifier checks it once. */
__noinline int is_covered_cgroup(__u64 pointer)
{
	struct cgroup *cgroup = (struct cgroup *)pointer;
	struct ztap_newborn *newborn;
	__u32 deepest = cgroup ? BPF_CORE_READ(cgroup, level) : 0;
	__u64 id;

	for (__u32 level = 1; level <= ZTAP_MAX_LEVEL && level <= deepest; level++) {
		id = id_of_ancestor(cgroup, level);
		newborn = bpf_map_lookup_elem(&ztap_newborns, &id);
		if (newborn && newborn->flags & ZTAP_COVERED)
			return 1;
	}
	return 0;
}

/*
 * Returns whether the kernel answers by itself (echo, resets, errors): its raw sockets have no file. A raw socket of a process has one
 * until it is closed.
 */
static __always_inline bool is_of_kernel(struct bpf_sock *sk)
{
	struct socket *socket;

	if (sk->type != SOCK_RAW)
		return false;
	socket = BPF_CORE_READ(socket_in_kernel(sk), sk_socket);
	return socket && !BPF_CORE_READ(socket, file);
}

enum host_part { HOST_DECIDES, HOST_LEAVES, HOST_IS_CALLED };

/*
 * Returns whether the host was the last to decide about the socket's connection, under the epoch in force: a workload's programs would
 * have left their own verdict there. Spares the search for its cgroup.
 */
static __always_inline bool is_known_as_host(struct bpf_sock *sk, __u32 subject)
{
	__u32 zero = 0;
	struct ztap_control *control = bpf_map_lookup_elem(&ztap_control, &zero);
	struct ztap_sock *sock = bpf_sk_storage_get(&ztap_socks, sk, NULL, 0);

	return control && sock && (sock->remembered & ~3ULL) == (*(volatile __u64 *)&control->epoch << 32 | subject);
}

/* Returns what the programs of the host, whose id is `subject`, have to do with the packet. */
static __noinline int part_of_host(struct __sk_buff *skb, __u32 direction, __u32 subject)
{
	struct bpf_sock *sk = skb->sk ? bpf_sk_fullsock(skb->sk) : NULL;
	__u32 zero = 0;
	struct ztap_births *all;

	if (skb->cb[0] == FROM_GUARD)
		return HOST_IS_CALLED;
	if (sk && sk->protocol == IPPROTO_TCP && is_known_as_host(sk, subject))
		return HOST_DECIDES;
	all = bpf_map_lookup_elem(&ztap_births, &zero);
	if (all && is_covered(skb, all->levels))
		return HOST_LEAVES;
	return direction == ZTAP_EGRESS && sk && is_of_kernel(sk) ? HOST_LEAVES : HOST_DECIDES;
}

/* Returns whether `subject` is the host, and the socket of the packet is one of it. `root` is the storage of the cgroup root. */
static __always_inline bool is_of_host(struct __sk_buff *skb, const struct ztap_cgroup *root, __u32 subject, __u32 levels)
{
	return is_host(root) && root->subject == subject && !is_covered(skb, levels);
}

/* Returns whether the caller's socket is not the host's. */
static __always_inline bool is_call_of_another(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;

	return !sk || is_covered_cgroup((__u64)BPF_CORE_READ(socket_in_kernel(sk), sk_cgrp_data.cgroup));
}

#endif
