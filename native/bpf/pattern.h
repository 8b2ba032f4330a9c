/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Patterns: which workload a newborn cgroup belongs to if only a pattern tells, or whether it looks like a container's. The work
 * for each cgroup is bounded: one comparison with each pattern, which ends at the first byte that differs unless the pattern has a
 * `*` before it. See docs/adr/0019-newborn-patterns.md.
 */
#ifndef ZTAP_PATTERN_H
#define ZTAP_PATTERN_H

#include "kernel.h"
#include "maps.h"

struct text {
	char bytes[ZTAP_NAME_BYTES];
};

/*
 * A comparison of a name with a pattern, as in src/inventory/glob.ts. The numbers have 16 bits: the verifier follows the value of
 * each wider one on the stack through every step, and gives up.
 */
struct match {
	const struct text *glob;
	const struct text *name;
	__u16 glob_length;
	__u16 length;
	__u16 at;
	/* Where the pattern goes on after its last `*`, or 0. */
	__u16 behind_star;
	/* Where the text goes on if that `*` stands for what is before. */
	__u16 retry;
	__u16 in_name;
	__u16 fails;
};

static long match_step(__u32 index, struct match *match)
{
	__u32 at = match->at, in_name = match->in_name;
	bool is_left = at < match->glob_length;
	char one = is_left ? match->glob->bytes[bounded(at, ZTAP_NAME_BYTES)] : 0;

	(void)index;
	if (in_name >= match->length) {
		match->at = at + 1;
		match->fails = is_left;
		return !is_left || one != '*';
	}
	if (is_left && one == '*') {
		match->at = at + 1;
		match->behind_star = at + 1;
		match->retry = in_name;
	} else if (is_left && (one == '?' || one == match->name->bytes[bounded(in_name, ZTAP_NAME_BYTES)])) {
		match->at = at + 1;
		match->in_name = in_name + 1;
	} else if (match->behind_star) {
		match->at = match->behind_star;
		match->retry += 1;
		match->in_name = match->retry;
	} else {
		match->fails = 1;
		return 1;
	}
	return 0;
}

/*
 * Returns whether the name matches from `from` on; `lengths`: the pattern's << 16 | the name's. One that takes too many steps counts
 * as one that does. A global function, so that the verifier checks it once.
 */
__noinline int matches(const struct text *glob, const struct text *name, __u32 lengths, __u32 from)
{
	struct match match = { .glob = glob, .name = name };
	long steps;

	if (!glob || !name)
		return 0;
	match.glob_length = lengths >> 16;
	match.length = lengths;
	match.in_name = from;
	steps = bpf_loop(ZTAP_MATCH_STEPS, match_step, &match, 0);
	return steps >= ZTAP_MATCH_STEPS || !match.fails;
}

struct search {
	__u64 cgroup;
	__u16 level;
	__u16 is_in_slices;
	__u16 found;
	__u16 rank;
	__u16 length;
	struct text name;
};

static __always_inline void read_name(struct search *search, struct cgroup *cgroup)
{
	long length = bpf_probe_read_kernel_str(search->name.bytes, sizeof(search->name), BPF_CORE_READ(cgroup, kn, name));

	search->length = length > 0 ? length - 1 : 0;
}

static __always_inline bool is_match(struct search *search, const char *glob, __u32 glob_length, __u32 from)
{
	return matches((const struct text *)glob, &search->name, glob_length << 16 | search->length, from);
}

/* Reads the name of the cgroup above at this depth. */
static __always_inline void read_name_at(struct search *search, __u32 level)
{
	struct cgroup *cgroup = (struct cgroup *)search->cgroup, *ancestor = NULL;

	bpf_core_read(&ancestor, sizeof(ancestor), &cgroup->ancestors[level]);
	read_name(search, ancestor);
}

/* Returns whether the cgroups above match as well. */
static __always_inline bool match_parts(struct search *search, __u32 pattern, __u32 level)
{
	struct ztap_part_key key = { .pattern = pattern };
	struct ztap_part *part;

	for (__u32 at = 1; at < ZTAP_MAX_LEVEL && at < level; at++) {
		key.level = at;
		part = bpf_map_lookup_elem(&ztap_parts, &key);
		if (!part)
			return false;
		read_name_at(search, at);
		if (!is_match(search, part->text, part->length, 0))
			return false;
	}
	return true;
}

static long match_pattern(__u32 index, struct search *search)
{
	struct ztap_pattern *pattern = bpf_map_lookup_elem(&ztap_patterns, &index);
	bool is_unit, is_found;

	if (!pattern)
		return 0;
	is_unit = !pattern->level;
	if (is_unit ? !search->is_in_slices : pattern->level != search->level)
		return 0;
	if (search->found != ZTAP_MAX_PATTERNS && pattern->rank >= search->rank)
		return 0;
	if (!is_match(search, pattern->text, pattern->length, is_unit && search->name.bytes[0] == '_'))
		return 0;
	if (!is_unit) {
		is_found = match_parts(search, index, pattern->level);
		read_name(search, (struct cgroup *)search->cgroup);
		if (!is_found)
			return 0;
	}
	search->found = index;
	search->rank = pattern->rank;
	return 0;
}

/* Texts as numbers, the first letter lowest: a text of its own would be in a map. */
#define SLICE_SUFFIX 0x6563696c732eULL
#define SLICE_LENGTH 6
#define CONMON 0x6e6f6d6e6f63ULL
#define CONMON_LENGTH 6

static __always_inline char letter_of(__u64 text, __u32 at)
{
	return text >> (at & 7) * 8;
}

static long check_slice(__u32 index, struct search *search)
{
	__u32 length;

	read_name_at(search, search->level - 1 - index);
	length = search->length;
	search->is_in_slices = length >= SLICE_LENGTH;
	for (__u32 at = 0; at < SLICE_LENGTH; at++)
		if (search->name.bytes[bounded(length - SLICE_LENGTH + at, ZTAP_NAME_BYTES)] !=
		    letter_of(SLICE_SUFFIX, at))
			search->is_in_slices = 0;
	return !search->is_in_slices;
}

/*
 * Returns the key of the pattern that a cgroup matches, or ZTAP_MAX_PATTERNS. A global function, so that the verifier checks it
 * once; it takes no pointers to cgroups, but numbers.
 */
__noinline int find_pattern(__u64 cgroup, __u32 patterns)
{
	struct search search = { .cgroup = cgroup, .found = ZTAP_MAX_PATTERNS, .is_in_slices = 1 };

	if (!cgroup || patterns > ZTAP_MAX_PATTERNS)
		return ZTAP_MAX_PATTERNS;
	search.level = BPF_CORE_READ((struct cgroup *)cgroup, level);
	if (!search.level || search.level > ZTAP_MAX_LEVEL)
		return ZTAP_MAX_PATTERNS;
	bpf_loop(search.level - 1, check_slice, &search, 0);
	read_name(&search, (struct cgroup *)cgroup);
	bpf_loop(patterns, match_pattern, &search, 0);
	return search.found;
}

/*
 * Returns whether root of the machine, and not of another user namespace, makes the cgroup: the runtimes that are asked for containers
 * run as root. Otherwise any user could make cgroups that look like a container's, and take the room of all containers.
 */
static __always_inline bool is_made_by_root(void)
{
	return !(__u32)bpf_get_current_uid_gid();
}

/* The hexadecimal digits of a name, and how much of `conmon`, podman's and CRI-O's supervisor of a container, was read. */
struct digits {
	__u16 length;
	__u16 run;
	__u16 end;
	__u16 conmon;
	char name[ZTAP_NAME_BYTES];
};

static long count_digit(__u32 index, struct digits *digits)
{
	char one = index < digits->length ? digits->name[bounded(index, ZTAP_NAME_BYTES)] : 0;
	bool is_digit = (one >= '0' && one <= '9') || (one >= 'a' && one <= 'f');

	if (!is_digit && digits->run == ZTAP_CONTAINER_DIGITS)
		digits->end = index;
	digits->run = is_digit ? digits->run + 1 : 0;
	if (digits->conmon < CONMON_LENGTH)
		digits->conmon = one == letter_of(CONMON, digits->conmon) ? digits->conmon + 1 : one == 'c';
	return index >= digits->length;
}

/*
 * Returns where in the name of a cgroup the ID of a container is, or -1: runtimes call the cgroups of containers docker-ID.scope,
 * libpod-ID, cri-containerd-ID.scope or only ID. A global function, as find_pattern().
 */
__noinline int find_container(__u64 cgroup)
{
	struct digits digits = {};
	long length;

	if (!cgroup)
		return -1;
	length = bpf_probe_read_kernel_str(digits.name, sizeof(digits.name), BPF_CORE_READ((struct cgroup *)cgroup, kn, name));
	if (length <= ZTAP_CONTAINER_DIGITS)
		return -1;
	digits.length = length - 1;
	bpf_loop(ZTAP_NAME_BYTES, count_digit, &digits, 0);
	return digits.end && digits.conmon < CONMON_LENGTH ? (int)digits.end - ZTAP_CONTAINER_DIGITS : -1;
}

#endif
