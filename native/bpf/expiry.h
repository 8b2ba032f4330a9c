/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Expiry: an override of a workload's policy ends by itself. Its record tells each packet that is decided when it ends; the timer ends
 * what was decided before. See docs/adr/0028-overrides.md.
 */
#ifndef ZTAP_EXPIRY_H
#define ZTAP_EXPIRY_H

#include "deadline.h"
#include "policy.h"

/* As struct ztap_expiry: the kernel must find its own type in a map with a timer. */
struct expiry {
	struct bpf_timer timer;
	__u64 until;
};
_Static_assert(sizeof(struct expiry) == sizeof(struct ztap_expiry), "the size of an expiry is part of the ABI");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ZTAP_MAX_EXPIRIES);
	__type(key, __u32);
	__type(value, struct expiry);
} ztap_expiries SEC(".maps");

/* So much later than the end itself, in ns: the first packet that is decided again must find it over. */
#define ZTAP_EXPIRY_MARGIN 1000000

/* Returns the time until the end, in ns, or 0 if it is over. */
static __always_inline __u64 left_until(__u64 until)
{
	__u64 end = until * NS_PER_SECOND + ZTAP_EXPIRY_MARGIN, now = bpf_ktime_get_tai_ns();

	return now < end ? end - now : 0;
}

static int end_overrides(void *map, __u32 *key, struct expiry *expiry)
{
	__u64 left = left_until(expiry->until);
	struct ztap_control *control;
	__u32 zero = 0;

	(void)map;
	(void)key;
	/* The clock was set back meanwhile. */
	if (left && !bpf_timer_start(&expiry->timer, left, 0))
		return 0;
	control = bpf_map_lookup_elem(&ztap_control, &zero);
	if (control)
		__sync_fetch_and_add(&control->epoch, 2);
	expiry->until = 0;
	return 0;
}

/* Returns 0, or 1 if the kernel refuses the timer. */
SEC("syscall")
int ztap_set_expiry(struct ztap_expiry_request *request)
{
	__u32 index = request->index;
	struct expiry *expiry = bpf_map_lookup_elem(&ztap_expiries, &index);
	long result;
	__u64 left;

	if (!expiry)
		return 1;
	if (expiry->until == request->until)
		return 0;
	bpf_timer_cancel(&expiry->timer);
	expiry->until = request->until;
	if (!request->until)
		return 0;
	result = bpf_timer_init(&expiry->timer, &ztap_expiries, ZTAP_CLOCK_BOOTTIME);
	if ((result && result != -ZTAP_EBUSY) || bpf_timer_set_callback(&expiry->timer, end_overrides))
		return 1;
	left = left_until(request->until);
	return bpf_timer_start(&expiry->timer, left ? left : 1, 0) ? 1 : 0;
}

#endif
