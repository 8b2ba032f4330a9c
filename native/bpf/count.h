/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Count: counts every packet exactly once. Each CPU has its own counters, but one addition may still interrupt another
 * on it (a softirq, or a task that preempts another). So additions are atomic: each packet pays for one of them.
 */
#ifndef ZTAP_COUNT_H
#define ZTAP_COUNT_H

#include "policy.h"

static __always_inline void add_one(__u64 *counter)
{
	__sync_fetch_and_add(counter, 1);
}

/* Adds one to a counter of enum ztap_counter. */
static __always_inline void count(__u32 index)
{
	__u64 *counter = bpf_map_lookup_elem(&ztap_packets, &index);

	if (counter)
		add_one(counter);
}

/*
 * Returns the counter slot of a rule. A global function, so that the verifier checks it once. Called once per epoch for
 * a socket or a flow.
 */
__noinline int slot_of_rule(__u32 rule)
{
	struct ztap_counter_slot *found = bpf_map_lookup_elem(&ztap_rule_places, &rule);

	return found ? found->slot : 0;
}

/* Counts a packet that a rule allowed for the rule, and every other one for the workload. */
static __always_inline void count_packet(const struct ztap_cgroup *cgroup, __u32 direction, __u8 verdict,
					 const struct decision *decision)
{
	struct ztap_subject_count *of_subject;
	struct ztap_rule_count *of_rule;
	__u32 slot;

	if (verdict == ZTAP_DENIED && decision->rule == (ZTAP_RULE_DENIES | ZTAP_RULE_NONE))
		count(ZTAP_COUNT_IDENTITY);
	if (decision->rule && verdict == ZTAP_ALLOWED) {
		slot = decision->slot ? decision->slot & (SLOT_KNOWN - 1) : slot_of_rule(decision->rule);
		of_rule = slot ? bpf_map_lookup_elem(&ztap_rule_counts, &slot) : NULL;
		if (of_rule) {
			add_one(&of_rule->packets[bounded(direction, 2)]);
			return;
		}
	} else {
		slot = cgroup->slot;
		of_subject = slot ? bpf_map_lookup_elem(&ztap_subject_counts, &slot) : NULL;
		if (of_subject) {
			add_one(&of_subject->packets[bounded(direction, 2)][bounded(verdict, 4)]);
			return;
		}
		if (slot == ZTAP_SLOT_LEARNING)
			return;
	}
	count(direction * 3 + verdict - 1);
}

static __always_inline void count_call(const struct ztap_cgroup *cgroup)
{
	__u32 slot = cgroup->slot;
	struct ztap_subject_count *found = bpf_map_lookup_elem(&ztap_subject_counts, &slot);

	if (found)
		add_one(&found->refused_calls);
}

#endif
