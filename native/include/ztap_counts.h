/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Part of ztap_abi.h: the counters of packets, and the events for the agent. */
#ifndef ZTAP_COUNTS_H
#define ZTAP_COUNTS_H

/*
 * Index into ztap_packets: direction * 3 + (verdict - 1) up to 5 for packets whose rule or workload has no counters of
 * its own, then the reasons for denials other than policy.
 */
enum ztap_counter {
	ZTAP_COUNT_FLOWS_FULL = 6,
	ZTAP_COUNT_NO_STORAGE = 7,
	ZTAP_COUNT_UNSET = 8,
	/* The source is not the workload's own address. */
	ZTAP_COUNT_FALSE_SOURCE = 9,
	/* An ICMP error for a socket whose workload did not allow the flow. */
	ZTAP_COUNT_ICMP_ERROR = 10,
	/* The kernel's own answer to a packet that no socket received, and no policy allows. */
	ZTAP_COUNT_NO_RECEIVER = 11,
	/* Sent to a workload that does not let the sender in, and would by the address that it shares. */
	ZTAP_COUNT_IDENTITY = 12,
	/* A SYN from a node that has keys: without an identity, with a wrong code, with the code of yesterday, or of another workload than policy lets in. */
	ZTAP_COUNT_NO_IDENTITY = 13,
	ZTAP_COUNT_FORGED_IDENTITY = 14,
	ZTAP_COUNT_EXPIRED_IDENTITY = 15,
	ZTAP_COUNT_OTHER_IDENTITY = 16,
	ZTAP_COUNTERS = 17,
};

/* Index into ztap_told: eligible decisions, and the outcome of each. ELIGIBLE is the sum of the others. */
enum ztap_event_statistic {
	ZTAP_EVENTS_ELIGIBLE = 0,
	/* In the ring. */
	ZTAP_EVENTS_DELIVERED = 1,
	/* Over the workload's rate limit. */
	ZTAP_EVENTS_LIMITED = 2,
	/* The ring was full. */
	ZTAP_EVENTS_LOST = 3,
	ZTAP_EVENT_STATISTICS = 4,
};

/*
 * ztap_rule_places, ztap_subject_places: hash, rule or subject id -> its slot in the arrays below. The agent creates an
 * entry before a table set uses the rule, and deletes it when no program can count there any more. `identity` is a hash
 * of the rule's or the workload's name: a later one with the same id (ids are hashes as well) does not continue a count
 * that is not its own.
 */
struct ztap_counter_slot {
	__u64 identity;
	__u32 slot;
	__u32 reserved;
};
ZTAP_SIZE(struct ztap_counter_slot, 16);

/*
 * ztap_rule_counts: per-CPU array, by slot: packets that passed by a rule, by their direction. Replies count for the
 * rule that allowed the initiating packet.
 */
struct ztap_rule_count {
	__u64 packets[2];
};
ZTAP_SIZE(struct ztap_rule_count, 16);

/*
 * ztap_subject_counts: per-CPU array, by slot: packets of one workload that no rule decided, by direction and verdict
 * (enum ztap_verdict; 0 is not used): allowed (not isolated, self traffic, or neighbour discovery), denied, audited.
 * `refused_calls` are connects and sendmsgs that were refused: they send no packet. Beside them the budget for events,
 * by direction (ZTAP_EVENT_BURST): the time of its last refill, in units of 2^ZTAP_EVENT_SHIFT ns, and the number of
 * events since.
 */
struct ztap_subject_count {
	__u64 packets[2][4];
	__u64 refused_calls;
	__u64 filled[2];
	__u64 used[2];
};
ZTAP_SIZE(struct ztap_subject_count, 104);

/*
 * ztap_events: ring buffer of eligible decisions: denied packets, refused calls, allowed packets that begin a flow or a
 * connection, and audited ones whose connection or flow has no event under this epoch, or that have neither. `time` is
 * CLOCK_MONOTONIC. Addresses and ports as in ztap_flow_key; `direction` is the packet's, for an audited connection or
 * flow the initiator's; `icmp` is type << 8 | code; `port_bits` as in ztap_port_key: below ZTAP_PORT_FULL_BITS the
 * packet's ports are unknown. `shadow` is the verdict of the ruleset in the other set (enum ztap_verdict), where it decides otherwise, and
 * `shadow_rule` its rule; 0: it does not, or was not asked.
 */
struct ztap_event {
	__u64 time;
	__u32 subject;
	__u32 rule;
	__u8 verdict;
	__u8 direction;
	__u8 hook;
	__u8 family;
	__u8 protocol;
	__u8 port_bits;
	__u16 icmp;
	__u8 local[16];
	__u8 remote[16];
	__be16 be_local_port;
	__be16 be_remote_port;
	__u32 shadow_rule;
	__u8 shadow;
	__u8 reserved[7];
};
ZTAP_SIZE(struct ztap_event, 72);

/*
 * ztap_shadow_counts: per-CPU hash -> packets and refused calls on which the two rulesets differ (u64). `rule` and `shadow_rule` are those
 * that decide, with RULE_DENIES; 0: none does. `verdict`: ALLOWED or DENIED by the ruleset which is not in force.
 */
struct ztap_shadow_key {
	__u32 subject;
	__u32 rule;
	__u32 shadow_rule;
	__u8 direction;
	__u8 verdict;
	__u16 reserved;
};
ZTAP_SIZE(struct ztap_shadow_key, 16);

/*
 * What ztap_list_connections returns for each established TCP connection of a workload. An IPv4 address is in the first four bytes.
 * `subject` is 0 if it is not known; `role` is one of enum ztap_role.
 */
struct ztap_connection {
	__u32 subject;
	__u8 role;
	__u8 family;
	__u16 local_port;
	__be16 be_remote_port;
	__u16 reserved;
	__u8 local[16];
	__u8 remote[16];
};
ZTAP_SIZE(struct ztap_connection, 44);

/* Index into ztap_shadow_totals: what was judged by both rulesets, and what only the coming one denies, or allows. */
enum ztap_shadow_total {
	ZTAP_SHADOW_EVALUATED = 0,
	ZTAP_SHADOW_DENIALS = 1,
	ZTAP_SHADOW_ALLOWS = 2,
	ZTAP_SHADOW_TOTALS = 3,
};

/*
 * ztap_shadow: array of one: which rulesets the counts are of (a hash of both), and since when: ms since 1970. Written and read by the
 * agent alone, so that the next one goes on counting.
 */
struct ztap_shadow {
	__u64 identity;
	__u64 since;
};
ZTAP_SIZE(struct ztap_shadow, 16);

#endif
