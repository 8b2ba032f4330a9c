/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Count: every packet once, and exactly. Each CPU has its own numbers, and still one addition may interrupt another
 * there (a softirq, or a task that preempts another), so additions are atomic: each packet pays one of them.
 */
#ifndef ZTAP_COUNT_H
#define ZTAP_COUNT_H

#include "policy.h"

__inline_always void add_one(__u64 *counter)
{
	__sync_fetch_and_add(counter, 1);
}

/* By index of enum ztap_counter. */
__inline_always void count(__u32 index)
{
	__u64 *counter = bpf_map_lookup_elem(&ztap_packets, &index);

	if (counter)
		add_one(counter);
}

/* Where a rule counts. Global, so that the verifier proves it once. Asked once an epoch for a socket or a flow. */
__attribute__((noinline)) int place_of(__u32 rule)
{
	struct ztap_counter_place *found = bpf_map_lookup_elem(&ztap_rule_places, &rule);

	return found ? found->place : 0;
}

/* A packet that a rule allowed counts for the rule, every other one for the workload. */
__inline_always void count_packet(const struct ztap_cgroup *cgroup, __u32 direction, __u8 verdict,
				  const struct decision *decision)
{
	struct ztap_subject_count *of_subject;
	struct ztap_rule_count *of_rule;
	__u32 place;

	if (decision->rule && verdict == ZTAP_ALLOWED) {
		place = decision->place ? decision->place & (PLACE_KNOWN - 1) : place_of(decision->rule);
		of_rule = place ? bpf_map_lookup_elem(&ztap_rule_counts, &place) : NULL;
		if (of_rule) {
			add_one(&of_rule->packets[bounded(direction, 2)]);
			return;
		}
	} else {
		place = cgroup->place;
		of_subject = place ? bpf_map_lookup_elem(&ztap_subject_counts, &place) : NULL;
		if (of_subject) {
			add_one(&of_subject->packets[bounded(direction, 2)][bounded(verdict, 4)]);
			return;
		}
		if (place == ZTAP_PLACE_LEARNING)
			return;
	}
	count(direction * 3 + verdict - 1);
}

__inline_always void count_call(const struct ztap_cgroup *cgroup)
{
	__u32 place = cgroup->place;
	struct ztap_subject_count *found = bpf_map_lookup_elem(&ztap_subject_counts, &place);

	if (found)
		add_one(&found->refused_calls);
}

#endif
