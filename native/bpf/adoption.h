/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Adoption: the programs that the agent runs on cgroups and their records, where it must not be killed in the middle. See
 * docs/adr/0011-newborn-cgroups.md and 0019-newborn-patterns.md.
 */
#ifndef ZTAP_ADOPTION_H
#define ZTAP_ADOPTION_H

#include "newborn.h"

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

#endif
