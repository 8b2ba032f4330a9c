/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Cgroups that only a pattern tells, and that found no room when they were born: they are known by their ids, and where there is no
 * room for ids either, by the range of ids below the cgroup above them. The agent ends both. See docs/adr/0019-newborn-patterns.md.
 */
#ifndef ZTAP_CROWD_H
#define ZTAP_CROWD_H

#include "kernel.h"
#include "maps.h"

/*
 * Counts a cgroup that is made below one with a range. The kernel makes and frees cgroups one at a time, and their ids grow. While
 * programs are replaced, two run for each.
 */
static __always_inline void count_made(__u64 id, __u64 parent)
{
	struct ztap_overflow *overflow = bpf_map_lookup_elem(&ztap_overflows, &parent);

	if (!overflow || !overflow->last || overflow->newest >= id)
		return;
	overflow->newest = id;
	overflow->after += 1;
}

/* The same for one that is freed. */
static __always_inline void count_freed(__u64 id, __u64 parent)
{
	struct ztap_overflow *overflow = bpf_map_lookup_elem(&ztap_overflows, &parent);

	if (!overflow || !overflow->last || id < overflow->first || id == overflow->freed)
		return;
	overflow->freed = id;
	if (id <= overflow->last)
		overflow->inside -= 1;
	else
		overflow->after -= 1;
}

/* Closes whatever has no entry below a cgroup. */
static __noinline int close_below(__u64 parent)
{
	struct ztap_newborn fresh = { .node = ZTAP_NODE_NONE }, *above;

	bpf_map_update_elem(&ztap_newborns, &parent, &fresh, BPF_NOEXIST);
	above = bpf_map_lookup_elem(&ztap_newborns, &parent);
	if (above)
		__sync_fetch_and_or(&above->flags, ZTAP_OVERFLOWN);
	return 0;
}

/* Lets the range below a cgroup reach up to this id. Without room for the range, whatever has no entry there is closed. */
static __noinline int overflow_to(__u64 id, __u64 parent)
{
	struct ztap_overflow fresh = { .first = id, .last = id, .newest = id, .inside = 1 };
	struct ztap_overflow *held = bpf_map_lookup_elem(&ztap_overflows, &parent);

	if (held && held->last) {
		held->inside += held->after;
		held->after = 0;
		/* Last: the agent ends a range only if this is as it has seen it. */
		__sync_lock_test_and_set(&held->last, id);
		return 0;
	}
	if (held) {
		held->first = id;
		held->newest = id;
		held->inside = 1;
		held->after = 0;
		__sync_lock_test_and_set(&held->last, id);
		return 0;
	}
	if (!bpf_map_update_elem(&ztap_overflows, &parent, &fresh, BPF_NOEXIST))
		return 0;
	return close_below(parent);
}

/* Returns whether a cgroup without an entry in ztap_newborns that opens it found no room. */
static __always_inline bool is_crowded(__u64 id, __u64 parent)
{
	struct ztap_overflow *overflow;
	struct ztap_newborn *above;

	if (bpf_map_lookup_elem(&ztap_crowded, &id))
		return true;
	overflow = bpf_map_lookup_elem(&ztap_overflows, &parent);
	if (overflow && id >= overflow->first && id <= overflow->last)
		return true;
	above = bpf_map_lookup_elem(&ztap_newborns, &parent);
	return above && above->flags & ZTAP_OVERFLOWN;
}

/*
 * Opens a cgroup that found no room, and that is no workload's. The entry comes first: whoever removes the cgroup from then on marks
 * it, and one that is removed is not opened.
 */
static __noinline int open_crowded(__u64 id)
{
	struct ztap_newborn fresh = { .node = ZTAP_NODE_NONE, .flags = ZTAP_CLOSED }, *held;
	__u8 *crowded = bpf_map_lookup_elem(&ztap_crowded, &id);
	__u32 flags;

	if (crowded) {
		bpf_map_update_elem(&ztap_newborns, &id, &fresh, BPF_NOEXIST);
		held = bpf_map_lookup_elem(&ztap_newborns, &id);
		if (!held || *(volatile __u8 *)crowded & ZTAP_CROWDED_REMOVED)
			return 0;
		__sync_fetch_and_or(&held->flags, ZTAP_CLOSED);
	}
	held = bpf_map_lookup_elem(&ztap_newborns, &id);
	if (!held)
		return 0;
	flags = *(volatile __u32 *)&held->flags;
	if (!(flags & ZTAP_CLOSED) || flags & ZTAP_REMOVED)
		return 0;
	if (__sync_val_compare_and_swap(&held->flags, flags, (flags & ~ZTAP_CLOSED) | ZTAP_RELEASED) != flags)
		return 0;
	bpf_map_delete_elem(&ztap_crowded, &id);
	bpf_map_delete_elem(&ztap_containers, &id);
	return 0;
}

/* The programs of the cgroup's workload decide: it is closed no longer. */
static __always_inline void end_crowded(__u64 id, struct ztap_newborn *held)
{
	__sync_fetch_and_and(&held->flags, ~ZTAP_CLOSED);
	bpf_map_delete_elem(&ztap_crowded, &id);
	bpf_map_delete_elem(&ztap_containers, &id);
}

SEC("syscall")
int ztap_end_overflow(struct ztap_ended *ended)
{
	__u64 parent = ended->cgroup;
	struct ztap_overflow *overflow = bpf_map_lookup_elem(&ztap_overflows, &parent);
	struct ztap_newborn *above;

	if (ended->last) {
		if (overflow)
			__sync_val_compare_and_swap(&overflow->last, ended->last, 0);
		return 0;
	}
	above = bpf_map_lookup_elem(&ztap_newborns, &parent);
	if (above)
		__sync_fetch_and_and(&above->flags, ~ZTAP_OVERFLOWN);
	return 0;
}

#endif
