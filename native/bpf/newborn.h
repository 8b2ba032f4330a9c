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

#endif
