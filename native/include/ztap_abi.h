/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the programs in native/bpf and the agent in src/adapters/ebpf share.
 *
 * TypeScript's copy is generated from the type information of this header (native/generate.mjs) and
 * compared in the tests. Raise ZTAP_ABI whenever the meaning or the shape of anything below changes:
 * an agent keeps its maps apart from those of other versions, and takes over from them. What stands under "Between
 * versions" never changes. See docs/adr/0002-dataplane.md and 0005-abi-versions.md for the reasons.
 *
 * Integers are in the byte order of the host, except where a name says `be`.
 */
#ifndef ZTAP_ABI_H
#define ZTAP_ABI_H

#include <linux/types.h>

#ifndef __cplusplus
#define ZTAP_SIZE(type, size) _Static_assert(sizeof(type) == (size), "the size of " #type " is part of the ABI")
#else
#define ZTAP_SIZE(type, size) static_assert(sizeof(type) == (size), "the size of " #type " is part of the ABI")
#endif

/* Named numbers, as an enum so that the compiler's type information carries them. */
enum ztap_limit {
	ZTAP_ABI = 2,
	/* Address and port entries of one table set, all workloads together. Memory is taken as entries come. */
	ZTAP_MAX_ADDRS = 4194304,
	ZTAP_MAX_PORTS = 4194304,
	/*
	 * Flows without connections (UDP, ICMP echo, SCTP, ...) that one node remembers at a time. The first
	 * ZTAP_COMMON_FLOWS slots are everybody's, the others are divided among the workloads; powers of two.
	 */
	ZTAP_MAX_FLOWS = 131072,
	ZTAP_COMMON_FLOWS = 65536,
	/* Slots that are looked at for one whose flow has ended, in a workload's own share and then in the common one. */
	ZTAP_FLOW_PROBES = 32,
	ZTAP_TEST_SUBJECTS = 64,
	/* Handshakes that are remembered as told; of one that is forgotten, the connection is told again. */
	ZTAP_MAX_BEGUN = 4096,
	/* Extension headers that are walked in an IPv6 packet; what lies behind more is unknown. */
	ZTAP_MAX_EXTENSIONS = 8,
	/* Idle time of a flow, in ticks of 2^30 ns (1.07 s): until it is answered, afterwards, and for SCTP. */
	ZTAP_TICK_SHIFT = 30,
	ZTAP_FLOW_NEW_TICKS = 30,
	ZTAP_FLOW_ANSWERED_TICKS = 180,
	ZTAP_FLOW_SCTP_TICKS = 3600,
	/*
	 * Slots of counters, of both rulesets at the time of a change. Slot 0 is nobody's; what finds none free has
	 * none, and counts in ztap_packets with all such.
	 */
	ZTAP_RULE_SLOTS = 16384,
	ZTAP_SUBJECT_SLOTS = 4096,
	/* Bytes of the ring of events; a power of two, and of pages. */
	ZTAP_EVENT_BYTES = 1048576,
	/* Events of one workload and direction on one CPU: so many at once, and then one in 2^22 ns (238 a second). */
	ZTAP_EVENT_BURST = 256,
	ZTAP_EVENT_SHIFT = 22,
	/*
	 * The slot of a workload whose programs learn beside another version's: they let everything pass, which the other
	 * version judges, counts and tells meanwhile.
	 */
	ZTAP_SLOT_LEARNING = 0x7fffffff,
};

enum ztap_direction { ZTAP_INGRESS = 0, ZTAP_EGRESS = 1 };

/* Isolation of one direction. UNSET is what storage that nobody wrote holds: the packet programs refuse. */
enum ztap_mode { ZTAP_MODE_UNSET = 0, ZTAP_MODE_OPEN = 1, ZTAP_MODE_ENFORCE = 2, ZTAP_MODE_AUDIT = 3 };

/* NONE is never a verdict: it marks a remembered verdict as absent. */
enum ztap_verdict { ZTAP_NONE = 0, ZTAP_ALLOWED = 1, ZTAP_DENIED = 2, ZTAP_AUDITED = 3 };

/* Who sent the first packet of a socket's TCP connection. NONE: older than the attachment. */
enum ztap_role { ZTAP_ROLE_NONE = 0, ZTAP_ROLE_INITIATOR = 1, ZTAP_ROLE_ACCEPTOR = 2 };

/*
 * Index into ztap_packets: direction * 3 + (verdict - 1) up to 5 for packets whose rule or workload has no counters
 * of its own, then why a packet was refused beside policy.
 */
enum ztap_counter {
	ZTAP_COUNT_FLOWS_FULL = 6,
	ZTAP_COUNT_NO_STORAGE = 7,
	ZTAP_COUNT_UNSET = 8,
	ZTAP_COUNTERS = 9,
};

/* Index into ztap_told: decisions worth event_flags, and what became of each. WORTH is the sum of the others. */
enum ztap_event_statistic {
	ZTAP_EVENTS_ELIGIBLE = 0,
	/* In the ring. */
	ZTAP_EVENTS_DELIVERED = 1,
	/* Over the workload's rate. */
	ZTAP_EVENTS_LIMITED = 2,
	/* The ring was full. */
	ZTAP_EVENTS_LOST = 3,
	ZTAP_EVENT_STATISTICS = 4,
};

/* Where a decision was made: on a packet, or on a connect() or sendto() that was refused before there was one. */
enum ztap_hook { ZTAP_AT_PACKET = 0, ZTAP_AT_CALL = 1 };

/* Protocol numbers in ztap_port_key are IP's, except that ICMPv6 is 1 as ICMP is, and 0 stands for any. */
enum ztap_protocol { ZTAP_PROTOCOL_ANY = 0, ZTAP_PROTOCOL_ICMP = 1 };

enum ztap_class { ZTAP_SELF_ADDRESS = 1 };

/* Prefix lengths, in bits, of what an entry of the two tries may leave open. */
enum ztap_prefix {
	/* ztap_addr_key: the scope is always given. */
	ZTAP_ADDR_SCOPE_BITS = 32,
	/* ztap_port_key: any protocol; one protocol, every port (the only match without known ports); one port. */
	ZTAP_PORT_ANY_BITS = 32,
	ZTAP_PORT_PROTOCOL_BITS = 48,
	ZTAP_PORT_FULL_BITS = 64,
};

/*
 * ztap_control: array of one, mapped into the agent's memory.
 * `epoch & 1` names the table set in force (0: a, 1: b). The agent adds one with a single aligned
 * store; a program reads it once for each packet. It never goes back, and is never below 2.
 */
struct ztap_control {
	__u32 abi;
	__u32 reserved;
	__u64 epoch;
};
ZTAP_SIZE(struct ztap_control, 16);

/*
 * ztap_clock: array of one, the programs' own: what tick it is, in the low half, and in the high half the low 32 bits
 * of the jiffies at which that was so. One word, so that the two are never of different times.
 */
struct ztap_clock {
	__u64 now;
};
ZTAP_SIZE(struct ztap_clock, 8);

/*
 * How one workload is isolated. Profiles are 2 modulo 4 (in a trie's scope bit 0 is the address
 * family, and bit 1 tells a profile from a subject), and mean nothing where the mode is OPEN.
 */
struct ztap_subject {
	__u32 ingress_profile;
	__u32 egress_profile;
	__u8 ingress_mode;
	__u8 egress_mode;
	__u16 reserved;
	__u32 reserved2;
};
ZTAP_SIZE(struct ztap_subject, 16);

/*
 * ztap_cgroup: the storage of a workload's cgroup, shared by all its hooks; and ztap_test_subjects.
 * `set[n]` belongs to table set n: the agent writes the idle one while the other is in force, and
 * the epoch switches it together with the tables. `subject` tells workloads apart in remembered
 * verdicts and flows: never 0, and a multiple of 4. `slot` is its slot in ztap_subject_counts. `flows_first` and
 * `flows_size` (a power of two, or 0) are its share of ztap_places. `cgroup` and `level` (depth below the cgroup
 * root) let a program see whether another socket belongs to the same workload.
 */
struct ztap_cgroup {
	__u64 cgroup;
	__u32 subject;
	__u32 level;
	struct ztap_subject set[2];
	__u32 slot;
	__u32 flows_first;
	__u32 flows_size;
	__u32 reserved;
};
ZTAP_SIZE(struct ztap_cgroup, 64);

/*
 * ztap_addrs_a, ztap_addrs_b: longest-prefix-match tries, (scope, address) -> class id (u32, not 0).
 * `scope` is a profile id, plus 1 for IPv6. An IPv4 address stands in the first four bytes.
 * With a subject id in place of the profile the entries (value ZTAP_SELF_ADDRESS) are the workload's
 * own addresses, or everything where they are not declared: what a connect program cannot see itself.
 */
struct ztap_addr_key {
	__u32 prefixlen;
	__u32 scope;
	__u8 address[16];
};
ZTAP_SIZE(struct ztap_addr_key, 24);

/*
 * ztap_ports_a, ztap_ports_b: longest-prefix-match tries, (class, protocol, port) -> rule id (u32, not 0).
 * Only what is allowed has an entry. For ICMP the port is `type << 8 | code`.
 */
struct ztap_port_key {
	__u32 prefixlen;
	__u32 class_id;
	__u8 zero;
	__u8 protocol;
	__be16 be_port;
};
ZTAP_SIZE(struct ztap_port_key, 12);

/*
 * ztap_socks: what a socket remembers; cloned from a listener to the sockets that it accepts.
 * `remembered` is one word so that two CPUs cannot tear it: the low 32 bits of the epoch in its high
 * half, and in its low half the subject with the verdict in the two low bits. `slot`: of the rule, in
 * ztap_rule_counts; 0 where it has none. `emitted`: the low 7 bits of the epoch under which an event of this connection is in
 * the ring because it is only audited, plus 0x80; 0: none is.
 */
struct ztap_sock {
	__u64 remembered;
	__u32 rule;
	__u8 role;
	__u8 emitted;
	__u16 slot;
};
ZTAP_SIZE(struct ztap_sock, 16);

/*
 * ztap_flows: conversations of protocols without connections, as one subject sees them.
 * ICMP echo uses its identifier as local_port; protocols without ports use 0.
 */
struct ztap_flow_key {
	__u32 subject;
	__u8 protocol;
	__u8 family;
	__u16 reserved;
	__u8 local[16];
	__u8 remote[16];
	__be16 be_local_port;
	__be16 be_remote_port;
};
ZTAP_SIZE(struct ztap_flow_key, 44);

/*
 * One half for each direction that may have asked. `remembered` is as in ztap_sock (0: this
 * direction never asked), `seen` the tick of the last packet, either way. `port` and `rule` are what policy was asked
 * and answered, so that the question can be put again under another epoch. `emitted` is as in ztap_sock.
 */
struct ztap_flow_half {
	__u64 remembered;
	__u32 seen;
	__u32 rule;
	__u16 port;
	__u8 answered;
	__u8 emitted;
	__u16 slot;
	__u8 reserved2[2];
};
ZTAP_SIZE(struct ztap_flow_half, 24);

/*
 * `not_allowed`, by direction: the low 32 bits of the epoch under which the policy of that direction was asked for a
 * packet of this flow and did not allow it (0: never). Then only an answer passes, and policy need not be asked again.
 */
struct ztap_flow {
	struct ztap_flow_half asked[2];
	__u32 not_allowed[2];
};
ZTAP_SIZE(struct ztap_flow, 56);

/*
 * ztap_places: array of ZTAP_MAX_FLOWS, the key of the flow that took the slot last. New flows take slots of their
 * workload's share in turn, then of the common one; a slot whose flow lives is passed over. So the programs
 * themselves clear away what has ended, the table is bounded without an agent, and a workload that opens flows
 * without end takes nothing that is another's. `next` counts in the first slot of each share.
 */
struct ztap_flow_slot {
	struct ztap_flow_key key;
	__u32 next;
};
ZTAP_SIZE(struct ztap_flow_slot, 48);

/*
 * ztap_begun: LRU hash, struct ztap_flow_key of a connection that is only audited -> the low 32 bits of the epoch under
 * which its SYN came to a listener, and was told. The socket that is accepted takes its entry away.
 */

/*
 * ztap_rule_places, ztap_subject_places: hash, rule or subject id -> its slot in the arrays below. The agent makes an
 * entry before a table set names the rule, and takes it away when no program can count there any more. `identity` is
 * a hash of the rule's or the workload's name: another one that has the same id later (ids are hashes as well)
 * does not go on with a count that is not its own.
 */
struct ztap_counter_slot {
	__u64 identity;
	__u32 slot;
	__u32 reserved;
};
ZTAP_SIZE(struct ztap_counter_slot, 16);

/*
 * ztap_rule_counts: per-CPU array, by slot: packets that passed because of a rule, by their direction. Answers count
 * for the rule that allowed what they answer.
 */
struct ztap_rule_count {
	__u64 packets[2];
};
ZTAP_SIZE(struct ztap_rule_count, 16);

/*
 * ztap_subject_counts: per-CPU array, by slot: packets of one workload that no rule decided, by direction and verdict
 * (enum ztap_verdict; 0 is not used): allowed (not isolated, to itself, or what a network cannot do without), denied,
 * audited. `refused_calls` are connects and sendmsgs that were refused: they send no packet.
 * Beside them the allowance for events, by direction (ZTAP_EVENT_BURST): when it was last filled up, in units of
 * 2^ZTAP_EVENT_SHIFT ns, and what was used of it since.
 */
struct ztap_subject_count {
	__u64 packets[2][4];
	__u64 refused_calls;
	__u64 filled[2];
	__u64 used[2];
};
ZTAP_SIZE(struct ztap_subject_count, 104);

/*
 * ztap_events: ring buffer of decisions worth event_flags: denied packets, refused calls, allowed packets that begin a flow or a
 * connection, and audited ones whose conversation was not told under this epoch, or that have none. `time` is
 * CLOCK_MONOTONIC. Addresses and ports as in ztap_flow_key; `direction` is the packet's, for a conversation that is audited
 * its asker's; `icmp` is type << 8 | code; `port_bits` as in ztap_port_key: below ZTAP_PORT_FULL_BITS the packet had no ports
 * that could be known.
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
	__u32 reserved;
};
ZTAP_SIZE(struct ztap_event, 64);

/*
 * Between versions. What follows is frozen: a build of any version finds it in what a build of any other version left,
 * so that it can take over, upwards and downwards, without knowing the other's tables.
 *
 *  - <node>/abi-<version>/links/<workload>/<pin>: the attachments.
 *  - <node>/abi-<version>/maps/ztap_control: begins as struct ztap_control does.
 *  - <node>/abi-<version>/maps/ztap_socks: a socket's role (enum ztap_role) is the byte at ZTAP_SOCK_ROLE of its value.
 *  - <node>/abi-<version>/give/flows: an iterator; reading it gives a struct ztap_exported_flow for each flow.
 *  - The subject id of a workload is the hash of its name (src/adapters/ebpf/lower/ids.ts).
 *  - The mark of what a workload sends itself over the loopback device (self_mark in native/bpf/self.h).
 */
enum ztap_frozen { ZTAP_SOCK_ROLE = 12 };

/*
 * A flow in no version's layout. By the direction that asked: whether it did, whether it was answered, the port that
 * policy was asked for (ICMP: type << 8 | code), and when its last packet passed, either way (CLOCK_MONOTONIC, ns).
 * Addresses and ports as in ztap_flow_key; what is reserved is 0.
 */
struct ztap_exported_flow {
	__u32 subject;
	__u8 protocol;
	__u8 family;
	__be16 be_local_port;
	__be16 be_remote_port;
	__u16 port[2];
	__u8 asked[2];
	__u8 local[16];
	__u8 remote[16];
	__u8 answered[2];
	__u8 reserved[6];
	__u64 seen[2];
};
ZTAP_SIZE(struct ztap_exported_flow, 72);

#endif
