/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Newborn: a cgroup is enforced from its birth. The kernel runs ztap_cgroup_mkdir before the mkdir of a cgroup returns:
 * if the new cgroup has the path of a workload, it gets the workload's record. The guard programs are attached to the
 * cgroup root, so that every cgroup inherits them; they decide the packets of newborn cgroups until the agent has
 * attached the workload's own programs. See docs/adr/0011-newborn-cgroups.md.
 */
#ifndef ZTAP_NEWBORN_H
#define ZTAP_NEWBORN_H

#include "crowd.h"
#include "host-workload.h"
#include "kernel.h"
#include "maps.h"
#include "pattern.h"
#include "self.h"

static __always_inline struct ztap_births *births(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&ztap_births, &zero);
}

static __always_inline void add_to(__u32 *counter, __u32 number)
{
	__sync_fetch_and_add(counter, number);
}

static __always_inline __u64 id_of_ancestor(struct cgroup *cgroup, __u32 level)
{
	struct cgroup *ancestor = NULL;

	bpf_core_read(&ancestor, sizeof(ancestor), &cgroup->ancestors[level]);
	return ancestor ? BPF_CORE_READ(ancestor, kn, id) : 0;
}

/* Ends the record of a newborn, if it has one that decides. */
static __always_inline void end_record(struct ztap_newborn *newborn)
{
	struct ztap_births *all = births();

	if (!__sync_lock_test_and_set(&newborn->record.subject, 0))
		return;
	if (all)
		add_to(&all->waiting, -1);
}

/* Returns the number of cgroups of the node; NULL if there is no room for one more. */
static __always_inline __u32 *room_of(__u32 node)
{
	__u32 *living = bpf_map_lookup_elem(&ztap_living, &node);

	return living && *living < ZTAP_MAX_OF_ONE_NAME ? living : NULL;
}

/*
 * Records a newborn cgroup. Whoever may make cgroups of one name cannot take the room of others: each name has a bound.
 * Returns whether there was room.
 */
static __always_inline bool record_birth(struct ztap_births *all, __u64 id, __u32 level, __u32 node,
					 const struct ztap_cgroup *record)
{
	struct ztap_newborn newborn = { .node = node };
	__u32 *living = room_of(node);

	if (!living)
		return false;
	newborn.flags = ZTAP_COUNTED;
	if (record->subject) {
		newborn.owner = record->subject;
		newborn.flags |= ZTAP_COVERED;
		newborn.record = *record;
		newborn.record.cgroup = id;
		newborn.record.level = level;
	}
	if (bpf_map_update_elem(&ztap_newborns, &id, &newborn, BPF_NOEXIST))
		/* During an update, the program of an earlier build may have been first. */
		return bpf_map_lookup_elem(&ztap_newborns, &id);
	add_to(living, 1);
	if (newborn.owner)
		add_to(&all->waiting, 1);
	return true;
}

/*
 * The agent changes the record of a name or pattern first, and then the newborns that it finds. If it has changed it meanwhile, it
 * may not have found this one.
 */
static __always_inline void renew_record(__u64 id, const struct ztap_cgroup *before, const struct ztap_cgroup *now)
{
	struct ztap_newborn *own = bpf_map_lookup_elem(&ztap_newborns, &id);

	if (!now || now == before || !own)
		return;
	own->record.set[0] = now->set[0];
	own->record.set[1] = now->set[1];
	own->record.slot = now->slot;
	own->record.flows_first = now->flows_first;
	own->record.flows_size = now->flows_size;
}

/* Returns whether the path of a cgroup is in ztap_names. A separate function: its key fills the stack. */
static __noinline int is_born_by_name(__u64 address)
{
	struct cgroup *cgroup = (struct cgroup *)address;
	struct ztap_births *all = births();
	struct ztap_name_key key = {};
	struct ztap_newborn *above;
	struct ztap_name *name, *now;
	__u32 level = BPF_CORE_READ(cgroup, level);
	__u64 parent, id;

	if (!all || !level || level > ZTAP_MAX_LEVEL)
		return 0;
	parent = id_of_ancestor(cgroup, level - 1);
	above = bpf_map_lookup_elem(&ztap_newborns, &parent);
	if (!above || above->node == ZTAP_NODE_NONE)
		return 0;
	key.parent = above->node;
	bpf_probe_read_kernel_str(key.name, sizeof(key.name), BPF_CORE_READ(cgroup, kn, name));
	name = bpf_map_lookup_elem(&ztap_names, &key);
	if (!name)
		return 0;
	id = BPF_CORE_READ(cgroup, kn, id);
	if (name->record.subject)
		__sync_fetch_and_or(&all->levels, 1U << (level & 31));
	if (!record_birth(all, id, level, name->node, &name->record)) {
		__sync_fetch_and_or(&above->flags, ZTAP_CROWDED);
		__sync_fetch_and_add(&all->dropped, 1);
		return 1;
	}
	now = bpf_map_lookup_elem(&ztap_names, &key);
	renew_record(id, &name->record, now ? &now->record : NULL);
	return 1;
}

/* Returns whether a cgroup above is a workload's, whose programs decide below it as well. */
static __always_inline bool is_below_workload(struct cgroup *cgroup, __u32 level, __u32 levels)
{
	struct ztap_newborn *above;
	__u64 id;

	for (__u32 at = 1; at < ZTAP_MAX_LEVEL && at < level; at++) {
		if (!(levels >> at & 1))
			continue;
		id = id_of_ancestor(cgroup, at);
		above = bpf_map_lookup_elem(&ztap_newborns, &id);
		if (above && above->owner)
			return true;
	}
	return false;
}

/* Closes a cgroup that found no room; returns whether its id is kept. A separate function, as is_born_by_name(). */
static __noinline int crowd_out(__u64 address, __u32 key)
{
	struct cgroup *cgroup = (struct cgroup *)address;
	struct ztap_births *all = births();
	__u8 kind = key == ZTAP_PATTERN_CONTAINERS ? ZTAP_CROWDED_CONTAINER : ZTAP_CROWDED_PATTERN;
	__u64 id = BPF_CORE_READ(cgroup, kn, id);
	__u32 level = BPF_CORE_READ(cgroup, level);
	bool is_kept;

	if (!all || !level || level > ZTAP_MAX_LEVEL)
		return 0;
	is_kept = !bpf_map_update_elem(&ztap_crowded, &id, &kind, BPF_ANY);
	if (!is_kept)
		overflow_to(id, id_of_ancestor(cgroup, level - 1));
	__sync_fetch_and_add(&all->dropped, 1);
	return is_kept;
}

/*
 * Returns the key of the pattern that gives a newborn cgroup its record, or -1. Containers are last: where a pattern names the
 * workload, nobody needs to be asked.
 */
static __always_inline int pattern_of(const struct ztap_births *all, __u64 address)
{
	int found = all->patterns ? find_pattern(address, all->patterns) : ZTAP_MAX_PATTERNS;

	if (found != ZTAP_MAX_PATTERNS)
		return found;
	return all->containers && is_made_by_root() && find_container(address) >= 0 ? ZTAP_PATTERN_CONTAINERS : -1;
}

/* Keeps the ID by which the agent identifies a container. Without it the cgroup stays closed until it ends. */
static __noinline int note_container(__u64 address)
{
	int at = find_container(address);
	struct ztap_container container = {};
	__u64 id = BPF_CORE_READ((struct cgroup *)address, kn, id);

	if (at < 0)
		return 0;
	bpf_probe_read_kernel(container.id, sizeof(container.id), BPF_CORE_READ((struct cgroup *)address, kn, name) + at);
	return !bpf_map_update_elem(&ztap_containers, &id, &container, BPF_ANY);
}

enum birth { BIRTH_FREE, BIRTH_RECORDED, BIRTH_CROWDED };

/* Returns an enum birth. A separate function, as is_born_by_name(). */
static __noinline int bear_by_pattern(__u64 address, __u32 key)
{
	struct cgroup *cgroup = (struct cgroup *)address;
	struct ztap_births *all = births();
	struct ztap_pattern *pattern, *now;
	__u32 level = BPF_CORE_READ(cgroup, level);
	__u64 id = BPF_CORE_READ(cgroup, kn, id);

	if (!all || !level || level > ZTAP_MAX_LEVEL || is_below_workload(cgroup, level, all->levels))
		return BIRTH_FREE;
	pattern = bpf_map_lookup_elem(&ztap_patterns, &key);
	if (!pattern)
		return BIRTH_FREE;
	__sync_fetch_and_or(&all->levels, 1U << (level & 31));
	if (!record_birth(all, id, level, pattern->node, &pattern->record))
		return BIRTH_CROWDED;
	now = bpf_map_lookup_elem(&ztap_patterns, &key);
	renew_record(id, &pattern->record, now ? &now->record : NULL);
	return BIRTH_RECORDED;
}

/* A separate function: the program's own frame has no room. */
static __noinline int count_birth(__u64 address)
{
	struct cgroup *cgroup = (struct cgroup *)address;
	__u32 level = BPF_CORE_READ(cgroup, level);

	if (level && level <= ZTAP_MAX_LEVEL)
		count_made(BPF_CORE_READ(cgroup, kn, id), id_of_ancestor(cgroup, level - 1));
	return 0;
}

SEC("tp_btf/cgroup_mkdir")
int ztap_cgroup_mkdir(__u64 *arguments)
{
	struct cgroup *cgroup = (struct cgroup *)arguments[0];
	struct ztap_births *all = births();
	__u32 level = BPF_CORE_READ(cgroup, level);
	__u64 address = 0;
	int key, birth;

	/* Hierarchy 0 is cgroup v2. */
	if (!all || BPF_CORE_READ(cgroup, root, hierarchy_id) || !level || level > ZTAP_MAX_LEVEL)
		return 0;
	/* A function takes no pointer of this type, but a number. */
	bpf_probe_read_kernel(&address, sizeof(address), &cgroup);
	if (all->dropped)
		count_birth(address);
	if (is_born_by_name(address))
		return 0;
	key = pattern_of(all, address);
	if (key < 0)
		return 0;
	/* Not from within: the frames of all would be too large. */
	birth = bear_by_pattern(address, key);
	if (birth == BIRTH_CROWDED && !crowd_out(address, key))
		return 0;
	if (birth != BIRTH_FREE && key == ZTAP_PATTERN_CONTAINERS)
		note_container(address);
	return 0;
}

/* Removes what is known of a cgroup that found no room, or that others below found none. */
static __always_inline void end_unrecorded(struct cgroup *cgroup, __u64 id, const __u8 *crowded)
{
	struct ztap_births *all = births();
	__u32 level = BPF_CORE_READ(cgroup, level);

	if (crowded) {
		bpf_map_delete_elem(&ztap_crowded, &id);
		bpf_map_delete_elem(&ztap_containers, &id);
	}
	if (!all || !all->dropped)
		return;
	bpf_map_delete_elem(&ztap_overflows, &id);
	if (level && level <= ZTAP_MAX_LEVEL)
		count_freed(id, id_of_ancestor(cgroup, level - 1));
}

/* Removes the entry of a cgroup that is gone; if `is_folder`, only if it is not a workload's. */
static __always_inline int end_birth(struct cgroup *cgroup, bool is_folder)
{
	__u64 id = BPF_CORE_READ(cgroup, kn, id);
	struct ztap_newborn *newborn;
	__u32 node, *living;
	__u8 *crowded;

	if (BPF_CORE_READ(cgroup, root, hierarchy_id))
		return 0;
	crowded = bpf_map_lookup_elem(&ztap_crowded, &id);
	if (crowded && is_folder)
		*crowded |= ZTAP_CROWDED_REMOVED;
	if (!is_folder)
		end_unrecorded(cgroup, id, crowded);
	newborn = bpf_map_lookup_elem(&ztap_newborns, &id);
	if (!newborn)
		return 0;
	if (is_folder && (newborn->owner || newborn->flags & (ZTAP_CLOSED | ZTAP_OVERFLOWN))) {
		__sync_fetch_and_or(&newborn->flags, ZTAP_REMOVED);
		return 0;
	}
	end_record(newborn);
	node = newborn->node;
	living = newborn->flags & ZTAP_COUNTED ? bpf_map_lookup_elem(&ztap_living, &node) : NULL;
	if (living)
		add_to(living, -1);
	bpf_map_delete_elem(&ztap_containers, &id);
	bpf_map_delete_elem(&ztap_newborns, &id);
	return 0;
}

/* No cgroup is born below it any more; its own sockets may live on. */
SEC("tp_btf/cgroup_rmdir")
int ztap_cgroup_rmdir(__u64 *arguments)
{
	return end_birth((struct cgroup *)arguments[0], true);
}

/* The cgroup, and every socket in it, is gone. */
SEC("tp_btf/cgroup_release")
int ztap_cgroup_release(__u64 *arguments)
{
	return end_birth((struct cgroup *)arguments[0], false);
}

SEC("syscall")
int ztap_know(struct ztap_known *known)
{
	struct ztap_newborn newborn = { .node = known->node, .flags = known->flags, .owner = known->owner }, *held;
	struct ztap_births *all = births();
	__u64 id = known->cgroup;

	if (all && newborn.owner)
		__sync_fetch_and_or(&all->levels, 1U << (known->level & 31));
	if (!(known->flags & (ZTAP_DISOWN | ZTAP_UNCOVER)) &&
	    !bpf_map_update_elem(&ztap_newborns, &id, &newborn, BPF_NOEXIST))
		return 0;
	held = bpf_map_lookup_elem(&ztap_newborns, &id);
	if (!held)
		return !(known->flags & (ZTAP_DISOWN | ZTAP_UNCOVER));
	held->flags |= newborn.flags & ~(ZTAP_DISOWN | ZTAP_UNCOVER);
	if (known->flags & (ZTAP_DISOWN | ZTAP_UNCOVER))
		held->flags &= ~ZTAP_COVERED;
	if (newborn.node != ZTAP_NODE_NONE)
		held->node = newborn.node;
	if (newborn.owner || known->flags & ZTAP_DISOWN)
		held->owner = newborn.owner;
	if (known->flags & ZTAP_COVERED)
		end_crowded(id, held);
	return 0;
}

/* Changes the half of a newborn's record that is not in force. */
SEC("syscall")
int ztap_prepare(struct ztap_prepared *prepared)
{
	__u64 id = prepared->cgroup;
	struct ztap_newborn *newborn = bpf_map_lookup_elem(&ztap_newborns, &id);

	if (!newborn)
		return 0;
	if (prepared->set)
		newborn->record.set[1] = prepared->subject;
	else
		newborn->record.set[0] = prepared->subject;
	newborn->record.slot = prepared->slot;
	newborn->record.flows_first = prepared->flows_first;
	newborn->record.flows_size = prepared->flows_size;
	return 0;
}

SEC("syscall")
int ztap_adopt(struct ztap_adopted *adopted)
{
	__u64 id = adopted->cgroup;
	struct ztap_newborn *newborn = bpf_map_lookup_elem(&ztap_newborns, &id);

	if (!newborn)
		return 0;
	end_record(newborn);
	newborn->flags &= ~(ZTAP_LEARNS | ZTAP_LEARNS_REST);
	bpf_map_delete_elem(&ztap_containers, &id);
	return 0;
}

/*
 * Opens a newborn cgroup that is no workload's, and gives its room back. One that the agent has adopted meanwhile stays, and so does
 * one that was removed: its sockets may live. Once others found no room, the guards ask for the patterns of a cgroup without an
 * entry: from then on it keeps its own.
 */
SEC("syscall")
int ztap_release(struct ztap_adopted *released)
{
	__u64 id = released->cgroup;
	struct ztap_newborn *newborn = bpf_map_lookup_elem(&ztap_newborns, &id);
	struct ztap_births *all = births();
	__u32 node, *living;

	if (!newborn || newborn->flags & ZTAP_CLOSED)
		return open_crowded(id);
	if (!all || !newborn->record.subject || newborn->flags & ZTAP_REMOVED)
		return 0;
	node = newborn->node;
	living = newborn->flags & ZTAP_COUNTED ? bpf_map_lookup_elem(&ztap_living, &node) : NULL;
	newborn->owner = 0;
	end_record(newborn);
	bpf_map_delete_elem(&ztap_containers, &id);
	if (all->dropped) {
		newborn->flags = (newborn->flags & ~ZTAP_COVERED) | ZTAP_RELEASED;
		return 0;
	}
	if (living)
		add_to(living, -1);
	bpf_map_delete_elem(&ztap_newborns, &id);
	return 0;
}

SEC("syscall")
int ztap_set_patterns(struct ztap_pattern_count *count)
{
	struct ztap_births *all = births();

	if (!all)
		return 0;
	all->patterns = count->patterns;
	all->containers = count->containers;
	return 0;
}

/*
 * Returns the innermost cgroup of the packet's socket that belongs to the subject `owner`, or, if that is 0, whose record
 * decides; else NULL.
 */
static __noinline struct ztap_newborn *newborn_of(struct __sk_buff *skb, __u32 levels, __u32 owner)
{
	struct ztap_newborn *newborn;
	__u64 id;

#pragma unroll
	for (__u32 level = ZTAP_MAX_LEVEL; level >= 1; level--) {
		if (!(levels >> level & 1))
			continue;
		id = bpf_skb_ancestor_cgroup_id(skb, level);
		newborn = id ? bpf_map_lookup_elem(&ztap_newborns, &id) : NULL;
		if (newborn && (owner ? newborn->owner == owner : newborn->record.subject))
			return newborn;
	}
	return NULL;
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
	struct sock *address = NULL;
	struct ztap_name_key *key;
	struct ztap_name *name;
	__u32 zero = 0;
	__u64 id;

	key = bpf_map_lookup_elem(&ztap_scratch, &zero);
	if (!sk || !key)
		return 0;
	/* The verifier lets nobody read a socket of this type; so it is read as memory. */
	bpf_probe_read_kernel(&address, sizeof(address), &sk);
	cgroup = BPF_CORE_READ(address, sk_cgrp_data.cgroup);
	for (__u32 level = 1; level <= ZTAP_MAX_LEVEL; level++) {
		if (!(levels >> level & 1))
			continue;
		id = bpf_skb_ancestor_cgroup_id(skb, level);
		if (!id)
			return 0;
		newborn = bpf_map_lookup_elem(&ztap_newborns, &id);
		if (newborn && (newborn->owner || newborn->flags & ZTAP_RELEASED))
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
		if (!(levels >> level & 1))
			continue;
		id = bpf_skb_ancestor_cgroup_id(skb, level);
		if (!id)
			return 0;
		newborn = bpf_map_lookup_elem(&ztap_newborns, &id);
		if (newborn && (newborn->owner || newborn->flags & ZTAP_RELEASED))
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

/* Gives a connection that is older than the attachment, in a cgroup that learns, the role of either side. */
static __always_inline void learn_role(struct sock *sk)
{
	struct cgroup *cgroup = BPF_CORE_READ(sk, sk_cgrp_data.cgroup);
	__u32 deepest = BPF_CORE_READ(cgroup, level);
	struct ztap_newborn *newborn;
	struct ztap_sock *sock;
	__u32 flags = 0;
	__u64 id;

	for (__u32 level = 0; level <= ZTAP_MAX_LEVEL && level <= deepest; level++) {
		id = id_of_ancestor(cgroup, level);
		newborn = bpf_map_lookup_elem(&ztap_newborns, &id);
		if (newborn)
			flags |= newborn->flags;
	}
	if (!(flags & ZTAP_LEARNS) && (flags & (ZTAP_LEARNS_REST | ZTAP_COVERED)) != ZTAP_LEARNS_REST)
		return;
	sock = bpf_sk_storage_get(&ztap_socks, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (sock && sock->role == ZTAP_ROLE_NONE)
		sock->role = BPF_CORE_READ(sk, __sk_common.skc_state) == BPF_TCP_LISTEN ? ZTAP_ROLE_ACCEPTOR :
											   ZTAP_ROLE_EITHER;
}

/* Iterates over the open files of all processes. */
SEC("iter/task_file")
int ztap_learn_files(struct bpf_iter__task_file *ctx)
{
	struct file *file = ctx->file;
	struct socket *socket = file ? bpf_sock_from_file(file) : NULL;
	struct sock *sk = socket ? socket->sk : NULL;

	if (sk && BPF_CORE_READ(sk, sk_protocol) == IPPROTO_TCP)
		learn_role(sk);
	return 0;
}

/* Iterates over the TCP sockets of one network namespace: also those that no process has open. */
SEC("iter/tcp")
int ztap_learn_tcp(struct bpf_iter__tcp *ctx)
{
	struct sock_common *common = ctx->sk_common;
	struct sock *sk = common ? (struct sock *)bpf_skc_to_tcp_sock(common) : NULL;

	if (sk)
		learn_role(sk);
	return 0;
}

#endif
