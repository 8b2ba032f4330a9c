/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The structures that the programs in native/bpf and the agent in src/adapters/ebpf share.
 *
 * TypeScript's copy is generated from the type information of this header (native/generate.mjs) and compared in the
 * tests. Raise ZTAP_ABI whenever the meaning or the layout of anything below changes: an agent keeps its maps apart
 * from those of other versions, and takes over from them. The part "Between versions" never changes. See
 * docs/adr/0002-dataplane.md and 0005-abi-versions.md for the reasons.
 *
 * Integers are in the byte order of the host, unless a name contains `be`.
 */
#ifndef ZTAP_ABI_H
#define ZTAP_ABI_H

#include <linux/types.h>

#ifndef __cplusplus
#define ZTAP_SIZE(type, size) _Static_assert(sizeof(type) == (size), "the size of " #type " is part of the ABI")
#else
#define ZTAP_SIZE(type, size) static_assert(sizeof(type) == (size), "the size of " #type " is part of the ABI")
#endif

/* Named numbers, as an enum so that the compiler's type information contains them. */
enum ztap_limit {
	ZTAP_ABI = 7,
	/*
	 * Address and port entries of one table set, for all workloads together. Memory is allocated with the entries.
	 */
	ZTAP_MAX_ADDRS = 4194304,
	ZTAP_MAX_PORTS = 4194304,
	/*
	 * Flows of connectionless protocols (UDP, ICMP echo, SCTP, ...) that one node tracks at a time. All workloads
	 * share the first ZTAP_COMMON_FLOWS slots, the others are divided among the workloads; powers of two.
	 */
	ZTAP_MAX_FLOWS = 131072,
	ZTAP_COMMON_FLOWS = 65536,
	/* Slots that are probed for a free or expired one, in a workload's own share and then in the common one. */
	ZTAP_FLOW_PROBES = 32,
	ZTAP_TEST_SUBJECTS = 64,
	/* Handshakes whose emitted SYN event is tracked; if an entry is evicted, its connection is emitted again. */
	ZTAP_MAX_BEGUN = 4096,
	/* Extension headers that are parsed in an IPv6 packet; headers behind them are unknown. */
	ZTAP_MAX_EXTENSIONS = 8,
	/* Idle time of a flow, in ticks of 2^30 ns (1.07 s): before a reply, after one, and for SCTP. */
	ZTAP_TICK_SHIFT = 30,
	ZTAP_FLOW_NEW_TICKS = 30,
	ZTAP_FLOW_ANSWERED_TICKS = 180,
	ZTAP_FLOW_SCTP_TICKS = 3600,
	/*
	 * Counter slots, for both rulesets during a change. Slot 0 is reserved; without a free slot, packets count in
	 * ztap_packets, the aggregate.
	 */
	ZTAP_RULE_SLOTS = 16384,
	ZTAP_SUBJECT_SLOTS = 4096,
	ZTAP_MAX_CONFINED = 16384,
	/* Sockets that belong to other cgroups than their processes. */
	ZTAP_MAX_FOREIGN = 16384,
	/* Bytes of the event ring buffer; a power of two, and a multiple of the page size. */
	ZTAP_EVENT_BYTES = 1048576,
	/*
	 * Rate limit of the events of one workload and direction on one CPU: a burst of this size, and then one in 2^22
	 * ns (238 a second).
	 */
	ZTAP_EVENT_BURST = 256,
	ZTAP_EVENT_SHIFT = 22,
	/*
	 * The slot of a workload whose programs learn beside those of another version: they let everything pass, while
	 * the other version decides, counts and emits.
	 */
	ZTAP_SLOT_LEARNING = 0x7fffffff,
	/*
	 * Cgroups that ztap_newborns holds, those of one name among them, and the depth down to which they are found.
	 */
	ZTAP_MAX_NEWBORNS = 65536,
	ZTAP_MAX_OF_ONE_NAME = 4096,
	ZTAP_MAX_NAMES = 16384,
	ZTAP_NAME_BYTES = 256,
	ZTAP_MAX_LEVEL = 31,
	/* Patterns of newborn cgroups, their parts above the last one, and the key of the record of containers. */
	ZTAP_MAX_PATTERNS = 256,
	ZTAP_MAX_PARTS = 8192,
	ZTAP_MAX_CROWDED = 16384,
	ZTAP_MAX_OVERFLOWS = 4096,
	ZTAP_PATTERN_CONTAINERS = 256,
	/* Steps of one comparison of a name; after them the name counts as one that matches. */
	ZTAP_MATCH_STEPS = 2048,
	/* Hexadecimal digits of a container's ID. */
	ZTAP_CONTAINER_DIGITS = 64,
	/* The node of the cgroup root, and a node that has no name. */
	ZTAP_NODE_ROOT = 0,
	ZTAP_NODE_NONE = 0x7fffffff,
	/* Profiles of the workloads that share an address. */
	ZTAP_MAX_GUARD_PROFILES = 128,
	/* Echo identifiers that workloads use towards themselves. */
	ZTAP_MAX_ECHOES = 4096,
	/* Times at which overrides of workloads end. */
	ZTAP_MAX_EXPIRIES = 64,
	/* Differences that are counted apart: by workload, direction, verdict and the rules of both rulesets. */
	ZTAP_MAX_DIFFERENCES = 4096,
};

enum ztap_direction { ZTAP_INGRESS = 0, ZTAP_EGRESS = 1 };

/* Isolation of one direction. UNSET is the value of storage that was never written: the packet programs deny. */
enum ztap_mode { ZTAP_MODE_UNSET = 0, ZTAP_MODE_OPEN = 1, ZTAP_MODE_ENFORCE = 2, ZTAP_MODE_AUDIT = 3 };

/* NONE is never a verdict: it means that there is no cached verdict. */
enum ztap_verdict { ZTAP_NONE = 0, ZTAP_ALLOWED = 1, ZTAP_DENIED = 2, ZTAP_AUDITED = 3 };

/*
 * The sender of the first packet of a socket's TCP connection. EITHER: the connection is older than the attachment, so
 * that its initiator is not known. NONE: no program saw the connection begin.
 */
enum ztap_role { ZTAP_ROLE_NONE = 0, ZTAP_ROLE_INITIATOR = 1, ZTAP_ROLE_ACCEPTOR = 2, ZTAP_ROLE_EITHER = 3 };

/*
 * Bits of ztap_cgroup.flags. ROLES_KNOWN: every connection of the cgroup has a role, so that one without a role is
 * refused. SHARED: other newborn cgroups have the same subject, so that it does not identify this one. IS_HOST: the workload is the
 * host: all that is below the cgroup and in no other workload.
 */
enum ztap_cgroup_flag { ZTAP_ROLES_KNOWN = 1, ZTAP_SHARED = 2, ZTAP_IS_HOST = 4 };

/* The place of a decision: a packet, or a connect() or sendto() that was refused before there was a packet. */
enum ztap_hook { ZTAP_AT_PACKET = 0, ZTAP_AT_CALL = 1 };

/* Protocol numbers in ztap_port_key are IP's, except that ICMPv6 is 1 like ICMP, and 0 stands for any. */
enum ztap_protocol { ZTAP_PROTOCOL_ANY = 0, ZTAP_PROTOCOL_ICMP = 1 };

/*
 * Values of ztap_addrs_* that are no class: a workload's own address; any address, of a workload that declares none. In the
 * scope of the node, for an address that workloads of the node declare: its guard, if policy isolates all of them, else
 * DECLARED_ADDRESS. A guard is a scope, whose IPv4 addresses from 0.0.0.0 on are the ingress profiles of these workloads.
 */
enum ztap_class { ZTAP_SELF_ADDRESS = 1, ZTAP_ANY_ADDRESS = 2, ZTAP_DECLARED_ADDRESS = 3, ZTAP_SCOPE_NODE = 0 };

/* Prefix lengths, in bits, of entries of the two LPM tries whose last fields are open. */
enum ztap_prefix {
	/* ztap_addr_key: the scope is always given. */
	ZTAP_ADDR_SCOPE_BITS = 32,
	/* ztap_port_key: any protocol; one protocol, every port (the only match without known ports); one port. */
	ZTAP_PORT_ANY_BITS = 32,
	ZTAP_PORT_PROTOCOL_BITS = 48,
	ZTAP_PORT_FULL_BITS = 64,
};

/*
 * ztap_control: array of one, mapped into the agent's memory. `epoch & 1` selects the table set in force (0: a, 1: b).
 * The agent adds one, and the end of an override two; a program reads it once for each packet. It never decreases, and is
 * never below 2. `salt` is a multiple of 4 that differs from that of other nodes on this machine: see enum ztap_mark.
 * `shadow` is the epoch under which what begins is judged by the other set as well: that set holds a ruleset which is not in force.
 * Any other value: by none. So a switch, by whomever, ends it.
 */
struct ztap_control {
	__u32 abi;
	__u32 salt;
	__u64 epoch;
	__u64 shadow;
};
ZTAP_SIZE(struct ztap_control, 24);

/*
 * ztap_deadline: array of one: a timer of the kernel, which `timer` is the room of, then the epoch that it ends, 0 for none. If it
 * is still in force when the timer runs out, the kernel adds one to the epoch, which puts the set before in force again, and counts
 * that in `returned`. See docs/adr/0024-commit-confirmed.md.
 */
struct ztap_deadline {
	__u64 timer[2];
	__u64 epoch;
	__u64 returned;
};
ZTAP_SIZE(struct ztap_deadline, 32);

/* The argument of ztap_set_deadline. `after` is in ns from now, in the time of CLOCK_BOOTTIME; 0 ends the deadline. */
struct ztap_deadline_request {
	__u64 epoch;
	__u64 after;
};
ZTAP_SIZE(struct ztap_deadline_request, 16);

/*
 * ztap_expiries: array of timers. Each adds two to the epoch at its time, `until` in seconds of CLOCK_TAI: what was decided under an
 * override is decided again. See docs/adr/0028-overrides.md.
 */
struct ztap_expiry {
	__u64 timer[2];
	__u64 until;
};
ZTAP_SIZE(struct ztap_expiry, 24);

/* The argument of ztap_set_expiry. `until` is 0 for none. */
struct ztap_expiry_request {
	__u64 index;
	__u64 until;
};
ZTAP_SIZE(struct ztap_expiry_request, 16);

/*
 * ztap_clock: array of one, written by the programs: the tick in the low half, and in the high half the low 32 bits of
 * the jiffies when it was read. One word, so that both always belong together.
 */
struct ztap_clock {
	__u64 now;
};
ZTAP_SIZE(struct ztap_clock, 8);

/*
 * OWN_SOURCES: what it sends must come from its own addresses; not set for a former workload, whose addresses are not known.
 * ASKS_IDENTITY: its ingress policy asks who sends a SYN. QUARANTINED: nothing passes; BREAKGLASS: policy refuses nothing; both until
 * `until`.
 */
enum ztap_subject_flag {
	ZTAP_OWN_SOURCES = 1,
	ZTAP_ASKS_IDENTITY = 2,
	ZTAP_QUARANTINED = 4,
	ZTAP_BREAKGLASS = 8,
};

/* Index into ztap_decider_ingress. */
enum ztap_decider { ZTAP_DECIDES = 0, ZTAP_IDENTIFIES = 1 };

/*
 * Isolation of one workload. Profile ids are 2 modulo 4 (in a trie's scope, bit 0 is the address family, and bit 1
 * distinguishes a profile from a subject), and mean nothing if the mode is OPEN.
 */
struct ztap_subject {
	__u32 ingress_profile;
	__u32 egress_profile;
	__u8 ingress_mode;
	__u8 egress_mode;
	/* Bits of enum ztap_subject_flag. */
	__u16 flags;
	/* What the policies of the destinations let the workload send; 0: whatever its egress lets pass. */
	__u32 identity_profile;
	/* The end of the override that `flags` names, in seconds of CLOCK_TAI. */
	__u32 until;
};
ZTAP_SIZE(struct ztap_subject, 20);

/*
 * ztap_cgroup: the storage of a workload's cgroup, shared by all its hooks; also the type of ztap_test_subjects.
 * `set[n]` belongs to table set n: the agent writes the idle one while the other is in force, and the epoch switches it
 * together with the tables. `subject` identifies the workload in cached verdicts and flows: never 0, and a multiple of
 * 4. `slot` is its slot in ztap_subject_counts. `flows_first` and `flows_size` (a power of two, or 0) are its share of
 * ztap_places. `cgroup` and `level` (depth below the cgroup root) let a program check whether another socket belongs to
 * the same workload. `flags`: bits of enum ztap_cgroup_flag. `born`: the subject under which the cgroup was enforced from its birth,
 * whose flows are its own, or 0.
 */
struct ztap_cgroup {
	__u64 cgroup;
	__u32 subject;
	__u32 level;
	struct ztap_subject set[2];
	__u32 slot;
	__u32 flows_first;
	__u32 flows_size;
	__u32 flags;
	__u32 born;
	__u32 reserved;
};
ZTAP_SIZE(struct ztap_cgroup, 80);

#include "ztap_births.h"
#include "ztap_identity.h"

/*
 * Marks of packets on the loopback device: the sender's subject id, exclusive-or the salt, plus one of these. Another node on this
 * machine may have a workload of the same name, and so of the same id. SENDER: a workload sent it. SELF_ONLY:
 * its policy denies it, unless it is for the workload itself: only the workload's own socket may receive it.
 */
enum ztap_mark { ZTAP_MARK_SENDER = 1, ZTAP_MARK_SELF_ONLY = 3, ZTAP_MARK_KINDS = 3 };

/*
 * ztap_echoes: LRU hash, the flow key of an echo request, with subject 0 -> the workload that sends requests to itself with
 * this identifier. The kernel's reply names no sender.
 */
struct ztap_echo {
	__u32 subject;
	__u32 seen;
};
ZTAP_SIZE(struct ztap_echo, 8);

/*
 * ztap_addrs_a, ztap_addrs_b: LPM tries, (scope, address) -> class id (u32, not 0). `scope` is a profile id, plus 1 for
 * IPv6. An IPv4 address is in the first four bytes. With a subject id instead of the profile, the entries are the
 * workload's own addresses, or everything if it declares none. With ZTAP_SCOPE_NODE, they are the addresses that the
 * workloads of the node declare.
 */
struct ztap_addr_key {
	__u32 prefixlen;
	__u32 scope;
	__u8 address[16];
};
ZTAP_SIZE(struct ztap_addr_key, 24);

/*
 * ztap_ports_a, ztap_ports_b: LPM tries, (class, protocol, port) -> rule id (u32; RULE_NONE in an identity profile, which has
 * no rules), with RULE_DENIES if it denies. What has no entry is not allowed; by an identity profile it is not limited. For
 * ICMP the port is `type << 8 | code`.
 */
enum ztap_rule { ZTAP_RULE_NONE = 1, ZTAP_RULE_DENIES = 0x80000000 };

struct ztap_port_key {
	__u32 prefixlen;
	__u32 class_id;
	__u8 zero;
	__u8 protocol;
	__be16 be_port;
};
ZTAP_SIZE(struct ztap_port_key, 12);

/*
 * ztap_socks: socket storage; cloned from a listener to the sockets that it accepts. `remembered` is the cached verdict
 * in one word, so that two CPUs cannot tear it: the low 32 bits of the epoch in its high half, and in its low half the
 * subject with the verdict in the two low bits. `slot`: the rule's slot in ztap_rule_counts; 0 if it has none.
 * `emitted`: for a connection that is only audited, the low 7 bits of the epoch of its event in the ring, plus 0x80; 0:
 * no event.
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
 * ztap_flows: flows of connectionless protocols, as one subject sees them. ICMP echo uses its identifier as local_port;
 * protocols without ports use 0.
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
 * One half for each direction that may be the initiator. `remembered` is as in ztap_sock (0: this direction never
 * initiated), `seen` the tick of the last packet in either direction. `port` and `rule` are the input and the result of
 * the policy lookup, so that it can be repeated under another epoch. `emitted` is as in ztap_sock.
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
 * `not_allowed`, by direction: the low 32 bits of the epoch under which the policy of that direction did not allow a
 * packet of this flow (0: never). Then only a reply passes, and policy need not be evaluated again.
 */
struct ztap_flow {
	struct ztap_flow_half asked[2];
	__u32 not_allowed[2];
};
ZTAP_SIZE(struct ztap_flow, 56);

/*
 * ztap_places: array of ZTAP_MAX_FLOWS, the key of the last flow in each slot. New flows take slots of their workload's
 * share in turn, then of the common one; a slot with a live flow is skipped. So the programs themselves delete expired
 * flows, the table is bounded without an agent, and a workload that opens any number of flows takes no slots from the
 * shares of others. `next` is the counter in the first slot of each share.
 */
struct ztap_flow_slot {
	struct ztap_flow_key key;
	__u32 next;
};
ZTAP_SIZE(struct ztap_flow_slot, 48);

/*
 * ztap_begun: LRU hash, struct ztap_flow_key of a connection that is only audited -> the low 32 bits of the epoch under
 * which its SYN reached a listener and was emitted. The accepted socket deletes its entry.
 */

#include "ztap_counts.h"

/*
 * Between versions. The following is frozen: a build of any version finds it in the state that a build of any other
 * version left, so that it can take over, upwards and downwards, without knowing the other's tables.
 *
 *  - <node>/abi-<version>/links/<workload>/<pin>: the attachments.
 *  - <node>/abi-<version>/maps/ztap_control: begins like struct ztap_control.
 *  - <node>/abi-<version>/maps/ztap_socks: a socket's role (enum ztap_role) is the byte at ZTAP_SOCK_ROLE of its value.
 *  - <node>/abi-<version>/births/: the pins that enforce newborn cgroups. Another version that takes over removes them all.
 *  - <node>/abi-<version>/give/flows: an iterator; reading it returns a struct ztap_exported_flow for each flow.
 *  - The subject id of a workload is the hash of its name (src/adapters/ebpf/lower/ids.ts).
 *  - The marks of packets over the loopback device (enum ztap_mark), from version 4 on, and the salt in ztap_control.
 */
enum ztap_frozen { ZTAP_SOCK_ROLE = 12 };

/*
 * A flow in a layout that is independent of versions. For each direction: whether it initiated, whether there was a
 * reply, the port that policy was evaluated for (ICMP: type << 8 | code), and the time of its last packet in either
 * direction (CLOCK_MONOTONIC, ns). Addresses and ports as in ztap_flow_key; reserved fields are 0.
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
