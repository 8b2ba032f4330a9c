/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Deadline: the kernel puts the table set before in force again, by itself, unless the agent ends the deadline in time. See
 * docs/adr/0024-commit-confirmed.md.
 */
#ifndef ZTAP_DEADLINE_H
#define ZTAP_DEADLINE_H

#include "maps.h"

/* As struct ztap_deadline: the kernel must find its own type in a map with a timer. */
struct deadline {
	struct bpf_timer timer;
	__u64 epoch;
	__u64 returned;
};
_Static_assert(sizeof(struct deadline) == sizeof(struct ztap_deadline), "the size of a deadline is part of the ABI");
_Static_assert(offsetof(struct deadline, epoch) == offsetof(struct ztap_deadline, epoch), "and so are its fields");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct deadline);
} ztap_deadline SEC(".maps");

#define ZTAP_CLOCK_BOOTTIME 7
#define ZTAP_EBUSY 16

static int return_to_set_before(void *map, __u32 *key, struct deadline *deadline)
{
	__u32 zero = 0;
	struct ztap_control *control = bpf_map_lookup_elem(&ztap_control, &zero);
	__u64 epoch = deadline->epoch, now;

	(void)map;
	(void)key;
	/* The end of an override adds two. */
	for (int i = 0; control && epoch && i < 8; i++) {
		now = *(volatile __u64 *)&control->epoch;
		if (now < epoch || (now - epoch) & 1)
			break;
		if (__sync_val_compare_and_swap(&control->epoch, now, now + 1) == now) {
			deadline->returned++;
			break;
		}
	}
	deadline->epoch = 0;
	return 0;
}

/* Returns 0, or 1 if the kernel refuses the timer. */
SEC("syscall")
int ztap_set_deadline(struct ztap_deadline_request *request)
{
	__u32 zero = 0;
	struct deadline *deadline = bpf_map_lookup_elem(&ztap_deadline, &zero);
	long result;

	if (!deadline)
		return 1;
	/* Fails if there is none: then there is nothing to wait for. A callback that runs has ended when this returns. */
	bpf_timer_cancel(&deadline->timer);
	deadline->epoch = 0;
	if (!request->after)
		return 0;
	result = bpf_timer_init(&deadline->timer, &ztap_deadline, ZTAP_CLOCK_BOOTTIME);
	if ((result && result != -ZTAP_EBUSY) || bpf_timer_set_callback(&deadline->timer, return_to_set_before))
		return 1;
	deadline->epoch = request->epoch;
	if (!bpf_timer_start(&deadline->timer, request->after, 0))
		return 0;
	deadline->epoch = 0;
	return 1;
}

#endif
