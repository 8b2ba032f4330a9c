/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Guards: the programs at the cgroup root, which the kernel runs for every packet after those of its workload. They decide the packets
 * of newborn cgroups, refuse those of cgroups without room and of sockets of other cgroups, and take away forged marks.
 */
#ifndef ZTAP_GUARD_H
#define ZTAP_GUARD_H

#include "channels.h"
#include "crowd.h"
#include "newborn.h"

/*
 * Returns the id of the socket's cgroup at this depth, if workloads have had cgroups there and none has this one; else 0. `entry`: what
 * is known of it, or NULL.
 */
static __always_inline __u64 unowned_at(struct __sk_buff *skb, __u32 levels, __u32 level, struct ztap_newborn **entry)
{
	__u64 id = levels >> level & 1 ? bpf_skb_ancestor_cgroup_id(skb, level) : 0;

	*entry = id ? bpf_map_lookup_elem(&ztap_newborns, &id) : NULL;
	return *entry && ((*entry)->owner || (*entry)->flags & ZTAP_RELEASED) ? 0 : id;
}

/*
 * Returns whether the packet's socket is in a workload's cgroup that found no room when it was born, and that the agent has not
 * attached programs to: it is recognized by its name.
 */
static __noinline int is_unrecorded(struct __sk_buff *skb, __u32 levels)
{
	struct bpf_sock *sk = skb->sk ? bpf_sk_fullsock(skb->sk) : NULL;
	struct cgroup *cgroup, *ancestor = NULL;
	struct ztap_newborn *newborn;
	struct ztap_name_key *key;
	struct ztap_name *name;
	__u32 zero = 0;
	__u64 id;

	key = bpf_map_lookup_elem(&ztap_scratch, &zero);
	if (!sk || !key)
		return 0;
	cgroup = BPF_CORE_READ(socket_in_kernel(sk), sk_cgrp_data.cgroup);
	for (__u32 level = 1; level <= ZTAP_MAX_LEVEL; level++) {
		id = unowned_at(skb, levels, level, &newborn);
		if (!id)
			continue;
		id = bpf_skb_ancestor_cgroup_id(skb, level - 1);
		newborn = bpf_map_lookup_elem(&ztap_newborns, &id);
		if (!newborn || !(newborn->flags & ZTAP_CROWDED))
			continue;
		__builtin_memset(key, 0, sizeof(*key));
		key->parent = newborn->node;
		bpf_core_read(&ancestor, sizeof(ancestor), &cgroup->ancestors[level]);
		bpf_probe_read_kernel_str(key->name, sizeof(key->name), BPF_CORE_READ(ancestor, kn, name));
		name = bpf_map_lookup_elem(&ztap_names, key);
		if (name && name->record.subject)
			return 1;
	}
	return 0;
}

/* As is_unrecorded(), for a cgroup that a pattern tells: it is known by its id, or by the range below its parent. */
static __noinline int is_crowded_out(struct __sk_buff *skb, __u32 levels)
{
	struct ztap_newborn *newborn;
	__u64 id;

	for (__u32 level = 1; level <= ZTAP_MAX_LEVEL; level++) {
		id = unowned_at(skb, levels, level, &newborn);
		if (!id)
			continue;
		if (newborn && newborn->flags & ZTAP_CLOSED)
			return 1;
		if (is_crowded(id, bpf_skb_ancestor_cgroup_id(skb, level - 1)))
			return 1;
	}
	return 0;
}

/* Returns the subject of a packet's mark, or 0 if a workload of this node set none. */
static __always_inline __u32 marked_subject(const struct __sk_buff *skb)
{
	__u32 subject;

	if (skb->ifindex != LOOPBACK_IFINDEX || !(skb->mark & ZTAP_MARK_SENDER))
		return 0;
	subject = subject_in(skb->mark);
	return is_known_subject(subject) ? subject : 0;
}

/*
 * The programs of a workload run before the guards. So a sender's mark on a packet of another socket is forged, and is taken
 * away.
 */
static __always_inline void clear_forged_mark(struct __sk_buff *skb, const struct ztap_cgroup *root, __u32 levels)
{
	__u32 subject = marked_subject(skb);

	if (subject && !newborn_of(skb, levels, subject) && !is_of_host(skb, root, subject, levels))
		skb->mark = 0;
}

/* Returns whether the packet is for its sender alone, and no program of that workload has received it. */
static __always_inline bool is_misdelivered(struct __sk_buff *skb, const struct ztap_cgroup *root, __u32 levels)
{
	__u32 subject;

	if ((skb->mark & ZTAP_MARK_KINDS) != ZTAP_MARK_SELF_ONLY)
		return false;
	subject = marked_subject(skb);
	return subject && !is_of_host(skb, root, subject, levels);
}

/*
 * The guards: attached to the cgroup root. While no newborn cgroup waits for the agent, they cost a call and a look-up. For
 * a newborn they call the program of workloads: a copy of their own would double the time of an agent's start. Where that
 * program is missing, newborns are closed.
 */
static __always_inline int guard(struct __sk_buff *skb, __u32 direction)
{
	/* That of the host, if one is enforced. The called program reads it, so that it must exist for the guard as well. */
	const struct ztap_cgroup *root = bpf_get_local_storage(&ztap_cgroup, 0);
	struct ztap_births *all = births();
	struct ztap_newborn *newborn;

	if (!all)
		return 1;
	if (all->dropped && (is_unrecorded(skb, all->levels) || is_crowded_out(skb, all->levels)))
		return 0;
	if (all->levels & ZTAP_FOREIGN_FOUND && is_of_foreign(skb))
		return 0;
	newborn = all->waiting ? newborn_of(skb, all->levels, 0) : NULL;
	if (newborn) {
		/* One that is in another one is closed until the agent has attached the programs of one of them. */
		if (newborn_of(skb, all->levels & ((1U << (newborn->record.level & 31)) - 1), 0))
			return 0;
		skb->cb[0] = FROM_GUARD;
		if (direction == ZTAP_INGRESS)
			bpf_tail_call(skb, &ztap_decider_ingress, 0);
		else
			bpf_tail_call(skb, &ztap_decider_egress, 0);
		return 0;
	}
	if (direction == ZTAP_INGRESS)
		return !is_misdelivered(skb, root, all->levels);
	clear_forged_mark(skb, root, all->levels);
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

#endif
