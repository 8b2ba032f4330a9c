/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The maps of docs/adr/0002-dataplane.md. The agent pins all of them except the test's; none is created by hand. */
#ifndef ZTAP_MAPS_H
#define ZTAP_MAPS_H

#include "common.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct ztap_control));
} ztap_control SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct ztap_clock));
} ztap_clock SEC(".maps");

/* Keyed by the bare cgroup id, so that all hooks of a cgroup share one storage (Linux 5.9). */
struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_STORAGE);
	__uint(key_size, sizeof(__u64));
	__uint(value_size, sizeof(struct ztap_cgroup));
} ztap_cgroup SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ZTAP_MAX_NAMES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(key_size, sizeof(struct ztap_name_key));
	__uint(value_size, sizeof(struct ztap_name));
} ztap_names SEC(".maps");

/* The workloads that are confined. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ZTAP_MAX_CONFINED);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} ztap_confined SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, ZTAP_CHANNELS);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u64));
} ztap_refusals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ZTAP_MAX_FOREIGN);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(key_size, sizeof(__u64));
	__uint(value_size, sizeof(struct ztap_foreign_socket));
} ztap_foreign SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, ZTAP_MAX_FOREIGN);
	__uint(key_size, sizeof(__u64));
	__uint(value_size, sizeof(struct ztap_foreign_socket));
} ztap_tolerated SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u8);
} ztap_refused SEC(".maps");

/* Its memory is allocated at once: a cgroup must not stay open because there is none. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ZTAP_MAX_NEWBORNS);
	__uint(key_size, sizeof(__u64));
	__uint(value_size, sizeof(struct ztap_newborn));
} ztap_newborns SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ZTAP_MAX_NAMES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} ztap_living SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct ztap_births));
} ztap_births SEC(".maps");

/* One more than patterns: the record of containers. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ZTAP_MAX_PATTERNS + 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct ztap_pattern));
} ztap_patterns SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ZTAP_MAX_PARTS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(key_size, sizeof(struct ztap_part_key));
	__uint(value_size, sizeof(struct ztap_part));
} ztap_parts SEC(".maps");

/* Of those with a record, of those in ztap_crowded, and of those that the agent has found in ranges. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ZTAP_MAX_OF_ONE_NAME + 2 * ZTAP_MAX_CROWDED);
	__uint(key_size, sizeof(__u64));
	__uint(value_size, sizeof(struct ztap_container));
} ztap_containers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ZTAP_MAX_CROWDED);
	__uint(key_size, sizeof(__u64));
	__uint(value_size, sizeof(__u8));
} ztap_crowded SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ZTAP_MAX_OVERFLOWS);
	__uint(key_size, sizeof(__u64));
	__uint(value_size, sizeof(struct ztap_overflow));
} ztap_overflows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, ZTAP_MAX_ECHOES);
	__uint(key_size, sizeof(struct ztap_flow_key));
	__uint(value_size, sizeof(struct ztap_echo));
} ztap_echoes SEC(".maps");

/* Room for a key that is too long for a program's stack. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct ztap_name_key));
} ztap_scratch SEC(".maps");

/*
 * The packet program of workloads, which the guard of this direction calls, and the program that interfaces call. The kernel allows
 * one type of program in a map, and one direction.
 */
#define ZTAP_DECIDER(name, entries)                                                                                    \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_PROG_ARRAY);                                                                 \
		__uint(max_entries, entries);                                                                          \
		__uint(key_size, sizeof(__u32));                                                                       \
		__uint(value_size, sizeof(__u32));                                                                     \
	} name SEC(".maps")

/* By enum ztap_decider. */
ZTAP_DECIDER(ztap_decider_ingress, 2);
ZTAP_DECIDER(ztap_decider_egress, 1);
/* By direction. */
ZTAP_DECIDER(ztap_decider_host, 2);

#define ZTAP_TRIE(name, key, entries)                                                                                  \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_LPM_TRIE);                                                                   \
		__uint(max_entries, entries);                                                                          \
		__uint(map_flags, BPF_F_NO_PREALLOC);                                                                  \
		__uint(key_size, sizeof(struct key));                                                                  \
		__uint(value_size, sizeof(__u32));                                                                     \
	} name SEC(".maps")

ZTAP_TRIE(ztap_addrs_a, ztap_addr_key, ZTAP_MAX_ADDRS);
ZTAP_TRIE(ztap_addrs_b, ztap_addr_key, ZTAP_MAX_ADDRS);
ZTAP_TRIE(ztap_ports_a, ztap_port_key, ZTAP_MAX_PORTS);
ZTAP_TRIE(ztap_ports_b, ztap_port_key, ZTAP_MAX_PORTS);
ZTAP_TRIE(ztap_identities_a, ztap_identity_key, ZTAP_MAX_IDENTITIES);
ZTAP_TRIE(ztap_identities_b, ztap_identity_key, ZTAP_MAX_IDENTITIES);

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ZTAP_MAX_PEERS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(key_size, sizeof(struct ztap_peer_key));
	__uint(value_size, sizeof(struct ztap_peer));
} ztap_peers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ZTAP_MAX_MEMBERS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} ztap_members SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct ztap_sock);
} ztap_socks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ZTAP_MAX_FLOWS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(key_size, sizeof(struct ztap_flow_key));
	__uint(value_size, sizeof(struct ztap_flow));
} ztap_flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, ZTAP_MAX_BEGUN);
	__uint(key_size, sizeof(struct ztap_flow_key));
	__uint(value_size, sizeof(__u32));
} ztap_begun SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ZTAP_MAX_FLOWS);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct ztap_flow_slot));
} ztap_places SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, ZTAP_COUNTERS);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u64));
} ztap_packets SEC(".maps");

#define ZTAP_COUNTED(places, counts, value, size)                                                                      \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_HASH);                                                                       \
		__uint(max_entries, size);                                                                             \
		__uint(map_flags, BPF_F_NO_PREALLOC);                                                                  \
		__uint(key_size, sizeof(__u32));                                                                       \
		__uint(value_size, sizeof(struct ztap_counter_slot));                                                  \
	} places SEC(".maps");                                                                                         \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);                                                               \
		__uint(max_entries, size);                                                                             \
		__uint(key_size, sizeof(__u32));                                                                       \
		__uint(value_size, sizeof(struct value));                                                              \
	} counts SEC(".maps")

ZTAP_COUNTED(ztap_rule_places, ztap_rule_counts, ztap_rule_count, ZTAP_RULE_SLOTS);
ZTAP_COUNTED(ztap_subject_places, ztap_subject_counts, ztap_subject_count, ZTAP_SUBJECT_SLOTS);

/* Its memory is allocated at once: a packet must not wait for it. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, ZTAP_MAX_DIFFERENCES);
	__uint(key_size, sizeof(struct ztap_shadow_key));
	__uint(value_size, sizeof(__u64));
} ztap_shadow_counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, ZTAP_SHADOW_TOTALS);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u64));
} ztap_shadow_totals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct ztap_shadow));
} ztap_shadow SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, ZTAP_EVENT_STATISTICS);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u64));
} ztap_told SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, ZTAP_EVENT_BYTES);
} ztap_events SEC(".maps");

/* Replaces the cgroup's storage in a test run, where that is always zero. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ZTAP_TEST_SUBJECTS);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct ztap_cgroup));
} ztap_test_subjects SEC(".maps");

#endif
