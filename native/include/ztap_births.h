/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Part of ztap_abi.h: cgroups that are enforced from their birth, and what a confined workload may not use beside packets. */
#ifndef ZTAP_BIRTHS_H
#define ZTAP_BIRTHS_H

/*
 * Cgroups are enforced from their birth: a program runs in each mkdir of a cgroup, before the call returns, and looks
 * for (node of the parent, name) in ztap_names. A node stands for one path; ZTAP_NODE_ROOT is the cgroup root. For a
 * workload's path the name has the record that a newborn cgroup gets; for a path above it the record's subject is 0.
 */
struct ztap_name_key {
	__u32 parent;
	char name[ZTAP_NAME_BYTES];
};
ZTAP_SIZE(struct ztap_name_key, 260);

struct ztap_name {
	__u32 node;
	__u32 reserved;
	struct ztap_cgroup record;
};
ZTAP_SIZE(struct ztap_name, 88);

/*
 * ztap_newborns: hash, cgroup id -> its node and its record. The record's subject is 0 if no record decides: above the
 * workloads, and once the agent has attached programs to the cgroup. `owner` is the subject whose cgroup it is, or 0. Bits
 * of `flags` are in enum ztap_newborn_flag. An entry ends with its cgroup.
 */
struct ztap_newborn {
	__u32 node;
	__u32 flags;
	__u32 owner;
	__u32 reserved;
	struct ztap_cgroup record;
};
ZTAP_SIZE(struct ztap_newborn, 96);

/*
 * LEARNS: the iterators record the roles of the cgroup's sockets. COUNTED: in ztap_living. CROWDED: a cgroup below it found no
 * room when it was born, and is closed. RELEASED: it is no workload's, though its name looks so. REMOVED: sockets in it may live.
 * OVERFLOWN: as CROWDED, of cgroups that patterns tell and that found no room in ztap_overflows; whatever has no entry below it is
 * closed. CLOSED: it found no room, and is closed until the agent knows whose it is.
 * COVERED: the programs of its workload are attached, or the record decides, so that the
 * host's policy does not hold for it. LEARNS_REST: as LEARNS, for the sockets in no cgroup that is covered. DISOWN and UNCOVER are
 * in no entry: see struct ztap_known.
 */
enum ztap_newborn_flag {
	ZTAP_LEARNS = 1,
	ZTAP_COUNTED = 2,
	ZTAP_CROWDED = 4,
	ZTAP_DISOWN = 8,
	ZTAP_RELEASED = 16,
	ZTAP_REMOVED = 32,
	ZTAP_OVERFLOWN = 64,
	ZTAP_COVERED = 128,
	ZTAP_UNCOVER = 256,
	ZTAP_LEARNS_REST = 512,
	ZTAP_CLOSED = 1024,
};

/*
 * ztap_births: array of one. `waiting`: the number of newborn cgroups with a record that decides. `levels`: a bit for
 * each depth at which ztap_newborns had a workload's cgroup. `dropped`: newborn cgroups that found no room: the guards refuse their packets.
 */
struct ztap_births {
	__u32 waiting;
	__u32 levels;
	__u64 dropped;
	/* The keys of ztap_patterns are below this number; whether there is a record of containers. */
	__u32 patterns;
	__u32 containers;
};
ZTAP_SIZE(struct ztap_births, 24);

/*
 * Cgroups that only a pattern tells. ztap_patterns: hash, number -> pattern. `text`, of `length` bytes, is the pattern of the
 * cgroup's own name: `*` stands for any bytes, `?` for one. With `level` 0 it is the name of a unit: every cgroup above is a
 * slice, and a first `_` of the name is systemd's. Otherwise it is that depth, and ztap_parts has the patterns of the names above.
 * Of several that match, the one with the lowest `rank` counts. Under ZTAP_PATTERN_CONTAINERS is the record of newborn cgroups
 * that look like those of containers: ZTAP_CONTAINER_DIGITS hexadecimal digits in the name. `node` is as in ztap_name.
 */
struct ztap_pattern {
	__u32 node;
	__u32 rank;
	__u32 level;
	__u32 length;
	struct ztap_cgroup record;
	char text[ZTAP_NAME_BYTES];
};
ZTAP_SIZE(struct ztap_pattern, 352);

/* ztap_parts: hash, (number of a pattern, depth) -> the pattern of the name there. */
struct ztap_part_key {
	__u32 pattern;
	__u32 level;
};
ZTAP_SIZE(struct ztap_part_key, 8);

struct ztap_part {
	__u32 length;
	char text[ZTAP_NAME_BYTES];
};
ZTAP_SIZE(struct ztap_part, 260);

/* ztap_containers: hash, cgroup id -> the ID of the container, of newborn cgroups that are closed until it is identified. */
struct ztap_container {
	char id[ZTAP_CONTAINER_DIGITS];
};
ZTAP_SIZE(struct ztap_container, 64);

/* ztap_crowded: hash, cgroup id -> enum ztap_crowded_kind, of newborn cgroups that patterns tell and that found no room. */
enum ztap_crowded_kind {
	ZTAP_CROWDED_PATTERN = 1,
	ZTAP_CROWDED_CONTAINER = 2,
	/* A bit: sockets in it may live. */
	ZTAP_CROWDED_REMOVED = 128,
};

/*
 * ztap_overflows: hash, cgroup id -> which cgroups found no room in ztap_crowded below it. Those with ids from `first` to `last` are
 * closed, unless they have an entry of their own; with `last` 0 none. `inside`: how many of these live, removed ones with sockets
 * included; `after`: how many younger ones. `newest` and `freed` were counted last.
 */
struct ztap_overflow {
	__u64 first;
	__u64 last;
	__u64 newest;
	__u64 freed;
	__u32 inside;
	__u32 after;
};
ZTAP_SIZE(struct ztap_overflow, 40);

/*
 * The argument of ztap_end_overflow: everything from `first` to `last` below the cgroup has an entry of its own. With `last` 0 its
 * ZTAP_OVERFLOWN ends.
 */
struct ztap_ended {
	__u64 cgroup;
	__u64 last;
};
ZTAP_SIZE(struct ztap_ended, 16);

/* The argument of ztap_set_patterns: see struct ztap_births. */
struct ztap_pattern_count {
	__u32 patterns;
	__u32 containers;
};
ZTAP_SIZE(struct ztap_pattern_count, 8);

/* ztap_living: hash, node -> the number of its cgroups that were born. The agent makes the entry with the name. */

/*
 * The argument of ztap_know: makes an entry of ztap_newborns, without a record, or changes it: a node other than
 * ZTAP_NODE_NONE, an owner other than 0, the flags. With ZTAP_DISOWN it has no owner any more, and is not covered; with
 * ZTAP_UNCOVER it is not covered.
 */
struct ztap_known {
	__u64 cgroup;
	__u32 node;
	__u32 owner;
	__u32 level;
	__u32 flags;
};
ZTAP_SIZE(struct ztap_known, 24);

/* The argument of ztap_prepare: the new half `set` of a newborn's record, and its share. */
struct ztap_prepared {
	__u64 cgroup;
	__u32 set;
	__u32 slot;
	__u32 flows_first;
	__u32 flows_size;
	struct ztap_subject subject;
	__u32 reserved;
};
ZTAP_SIZE(struct ztap_prepared, 48);

/* The argument of ztap_adopt: the record of a newborn decides no longer. And of ztap_release: it is no workload's. */
struct ztap_adopted {
	__u64 cgroup;
};
ZTAP_SIZE(struct ztap_adopted, 8);


/*
 * ztap_confined: hash, subject -> bits of enum ztap_confinement for table set 0, and shifted by ZTAP_CONFINEMENT_BITS for set 1.
 * A direction is confined if policy isolates it, does not only audit, and does not allow everything. OWN_SOCKETS_ONLY: one is,
 * and the workload may not use IP sockets that belong to another cgroup.
 */
enum ztap_confinement {
	ZTAP_CONFINED_INGRESS = 1,
	ZTAP_CONFINED_EGRESS = 2,
	ZTAP_OWN_SOCKETS_ONLY = 4,
	ZTAP_CONFINEMENT_MASK = 7,
	ZTAP_CONFINEMENT_BITS = 3,
};

/* Index into ztap_refusals: the number of refused uses. */
enum ztap_channel {
	ZTAP_REFUSED_FAMILY = 0,
	ZTAP_REFUSED_ABSTRACT = 1,
	ZTAP_REFUSED_FOREIGN = 2,
	/* IP_RECVERR at a socket of neither TCP nor UDP. */
	ZTAP_REFUSED_ERRORS = 3,
	ZTAP_CHANNELS = 4,
};

/*
 * ztap_foreign: hash, inode of an IP socket -> the confined workload of a process that has it open; the socket belongs to a
 * cgroup outside of it. `seen`: the tick when it was last found. `refused`: the guards refuse its packets; the kernel sets it for
 * a socket that a new program inherits, the agent for the others. While there are entries, ZTAP_FOREIGN_FOUND is set in
 * ztap_births.levels: no workload is at depth 0.
 *
 * ztap_tolerated: LRU hash, the same for workloads that tolerate such sockets, so that these take no room of others.
 * ztap_refused: socket storage of sockets whose packets were refused: a closed socket has no inode.
 */
struct ztap_foreign_socket {
	__u32 subject;
	__u32 seen;
	__u32 refused;
	/* A process that has it open. */
	__u32 process;
};
ZTAP_SIZE(struct ztap_foreign_socket, 16);
enum ztap_level { ZTAP_FOREIGN_FOUND = 1 };

/* The argument of ztap_set_foreign. */
struct ztap_found {
	__u32 any;
};
ZTAP_SIZE(struct ztap_found, 4);

/*
 * What ztap_find_namespaces returns: a thread of an isolated workload, and its network namespace; `is_users`: made in a user
 * namespace, so that any user may have made it.
 */
struct ztap_namespace {
	__u32 inode;
	__u32 thread;
	__u32 subject;
	__u32 is_users;
};
ZTAP_SIZE(struct ztap_namespace, 16);

#endif
