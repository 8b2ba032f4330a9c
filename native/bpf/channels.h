/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Channels: what a confined workload could exchange beside the packets that its programs decide: sockets of other families,
 * abstract Unix addresses, and IP sockets that belong to another cgroup. See docs/adr/0015-channels.md.
 */
#ifndef ZTAP_CHANNELS_H
#define ZTAP_CHANNELS_H

#include "newborn.h"

#define EPERM 1
#define ENOMEM 12
#define SIGKILL 9
#define AF_UNIX 1
#define AF_NETLINK 16
#define AF_ALG 38
#define NETLINK_USERSOCK 2
#define IPPROTO_SMC 256
#define NOTE_INHERITED (1ULL << 32)
#define S_IFMT 0170000
#define S_IFSOCK 0140000

static __always_inline int refuse_channel(__u32 channel)
{
	__u64 *counter = bpf_map_lookup_elem(&ztap_refusals, &channel);

	if (counter)
		__sync_fetch_and_add(counter, 1);
	return -EPERM;
}

static __always_inline __u32 owner_of(__u64 cgroup)
{
	struct ztap_newborn *newborn = cgroup ? bpf_map_lookup_elem(&ztap_newborns, &cgroup) : NULL;

	return newborn ? newborn->owner : 0;
}

/* Returns the workload << 32 | its bits of enum ztap_confinement; 0 if it has none. */
static __always_inline __u64 confinement_of(__u32 owner, __u32 set)
{
	__u32 bits = 0, *held = owner ? bpf_map_lookup_elem(&ztap_confined, &owner) : NULL;

	if (held)
		bits = (set ? *held >> ZTAP_CONFINEMENT_BITS : *held) & ZTAP_CONFINEMENT_MASK;
	return bits ? (__u64)owner << 32 | bits : 0;
}

/* Returns the id of the cgroup or its ancestor at the level; 0 if it is above that. */
static __always_inline __u64 id_at(struct cgroup *cgroup, __u32 level)
{
	return cgroup && level <= (__u32)BPF_CORE_READ(cgroup, level) ? id_of_ancestor(cgroup, level) : 0;
}

/*
 * As confinement_between(), for one depth. The arguments are pointers to cgroups. A global function, so that the verifier checks
 * it once.
 */
__noinline __u64 confinement_at(__u64 own, __u64 other, __u32 level, __u32 set)
{
	__u32 mine = owner_of(id_at((struct cgroup *)own, level)), theirs = owner_of(id_at((struct cgroup *)other, level));

	/* A service that was started again has another cgroup, and is the same workload. */
	if (mine == theirs)
		return 0;
	return confinement_of(mine, set) | (__u32)confinement_of(theirs, set) << ZTAP_CONFINEMENT_BITS;
}

/*
 * Returns the bits of the workloads that only one of two cgroups is in: those of `own` and, shifted, those of `other`; and << 32
 * the innermost of `own`. The arguments are pointers to cgroups, and may be 0.
 */
__noinline __u64 confinement_between(__u64 own, __u64 other)
{
	struct ztap_births *all = births();
	__u32 zero = 0, set, levels;
	__u64 all_bits = 0, found;
	struct ztap_control *control = bpf_map_lookup_elem(&ztap_control, &zero);

	if (!all || !control)
		return 0;
	set = *(volatile __u64 *)&control->epoch & 1;
	levels = all->levels;
	for (__u32 level = 1; level <= ZTAP_MAX_LEVEL; level++) {
		if (!(levels >> level & 1))
			continue;
		found = confinement_at(own, other, level, set);
		all_bits = (found >> 32 ? found : (all_bits & ~0xffffffffULL) | (__u32)found) | (__u32)all_bits;
	}
	return all_bits;
}

static __always_inline __u64 current_cgroup(void)
{
	return (__u64)BPF_CORE_READ((struct task_struct *)bpf_get_current_task(), cgroups, dfl_cgrp);
}

/* Returns 0 if the cgroup is at that level above, or of, the current process. */
SEC("syscall")
int ztap_is_above(struct ztap_known *known)
{
	return id_at((struct cgroup *)current_cgroup(), known->level) != known->cgroup;
}

static __always_inline bool is_ip(int family)
{
	return family == AF_INET || family == AF_INET6;
}

SEC("fmod_ret/security_socket_create")
int ztap_socket_create(__u64 *arguments)
{
	int family = arguments[0], protocol = arguments[2], is_kernels = arguments[3], result = arguments[4];

	if (result || is_kernels)
		return result;
	if (family == AF_UNIX || family == AF_ALG || (family == AF_NETLINK && protocol != NETLINK_USERSOCK) ||
	    (is_ip(family) && protocol != IPPROTO_SMC))
		return 0;
	return confinement_between(current_cgroup(), 0) & (ZTAP_CONFINED_INGRESS | ZTAP_CONFINED_EGRESS) ?
		       refuse_channel(ZTAP_REFUSED_FAMILY) :
		       0;
}

static __always_inline bool is_abstract(struct sock *sk)
{
	struct unix_address *address = BPF_CORE_READ((struct unix_sock *)sk, addr);
	char first = 1;

	/* An address of the family alone is none. */
	if (!address || BPF_CORE_READ(address, len) <= (int)sizeof(__u16))
		return false;
	bpf_core_read(&first, sizeof(first), &address->name[0].sun_path);
	return !first;
}

/* The current process sends to, or connects to, the socket `other`. */
static __always_inline int check_abstract(struct sock *other)
{
	__u32 bits;

	if (!other || !is_abstract(other))
		return 0;
	bits = confinement_between(current_cgroup(), (__u64)BPF_CORE_READ(other, sk_cgrp_data.cgroup));
	return bits & (ZTAP_CONFINED_EGRESS | ZTAP_CONFINED_INGRESS << ZTAP_CONFINEMENT_BITS) ?
		       refuse_channel(ZTAP_REFUSED_ABSTRACT) :
		       0;
}

SEC("fmod_ret/security_unix_stream_connect")
int ztap_unix_stream_connect(__u64 *arguments)
{
	int result = arguments[3];

	return result ? result : check_abstract((struct sock *)arguments[1]);
}

SEC("fmod_ret/security_unix_may_send")
int ztap_unix_may_send(__u64 *arguments)
{
	struct socket *other = (struct socket *)arguments[1];
	int result = arguments[2];

	return result ? result : check_abstract(BPF_CORE_READ(other, sk));
}

/*
 * Records the file `opened` if it is an IP socket of another cgroup than its process, `own`, and the process is in a confined
 * workload. `what`: the process, and NOTE_INHERITED if its packets are refused at once, unless the workload tolerates it. Returns
 * 0, or -ENOMEM if there is no room for a socket that is to be refused. A global function, so that the verifier checks it once.
 */
__noinline int note_foreign(__u64 own, __u64 opened, __u64 what)
{
	struct file *file = (struct file *)opened;
	struct ztap_foreign_socket found = {}, *held;
	struct ztap_births *all = births();
	struct socket *socket;
	struct inode *inode;
	struct sock *sk;
	__u64 bits, id;

	inode = file ? BPF_CORE_READ(file, f_inode) : NULL;
	if (!all || !inode || (BPF_CORE_READ(inode, i_mode) & S_IFMT) != S_IFSOCK)
		return 0;
	socket = BPF_CORE_READ(file, private_data);
	sk = BPF_CORE_READ(socket, sk);
	if (!sk || !is_ip(BPF_CORE_READ(sk, __sk_common.skc_family)))
		return 0;
	bits = confinement_between(own, (__u64)BPF_CORE_READ(sk, sk_cgrp_data.cgroup));
	if (!(bits & ZTAP_CONFINEMENT_MASK))
		return 0;
	id = BPF_CORE_READ(inode, i_ino);
	held = bpf_map_lookup_elem(&ztap_foreign, &id);
	found.subject = bits >> 32;
	found.process = what;
	found.seen = bpf_ktime_get_ns() >> ZTAP_TICK_SHIFT;
	found.refused = what & NOTE_INHERITED ? 1 : held && held->refused;
	if (!(bits & ZTAP_OWN_SOCKETS_ONLY)) {
		bpf_map_update_elem(&ztap_tolerated, &id, &found, BPF_ANY);
		bpf_map_delete_elem(&ztap_foreign, &id);
		return 0;
	}
	if (bpf_map_update_elem(&ztap_foreign, &id, &found, BPF_ANY))
		return found.refused ? -ENOMEM : 0;
	/* After the entry: a guard that sees the bit finds it. */
	__sync_fetch_and_or(&all->levels, ZTAP_FOREIGN_FOUND);
	return 0;
}

struct inheritance {
	__u64 own;
	struct file **files;
	__u64 failed;
};

static long note_inherited(__u32 index, struct inheritance *inheritance)
{
	struct file *file = NULL;

	bpf_probe_read_kernel(&file, sizeof(file), inheritance->files + index);
	inheritance->failed = note_foreign(inheritance->own, (__u64)file, bpf_get_current_pid_tgid() >> 32 | NOTE_INHERITED);
	return inheritance->failed ? 1 : 0;
}

/*
 * A process keeps its sockets over execve(): so a service gets those that its manager made for it. Where there is no room to
 * record them, the process is ended.
 */
SEC("tp_btf/sched_process_exec")
int ztap_sched_process_exec(__u64 *arguments)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct inheritance inheritance = { .own = current_cgroup() };
	struct fdtable *table;

	(void)arguments;
	if (!confinement_between(inheritance.own, 0))
		return 0;
	table = BPF_CORE_READ(task, files, fdt);
	inheritance.files = BPF_CORE_READ(table, fd);
	if (bpf_loop(BPF_CORE_READ(table, max_fds), note_inherited, &inheritance, 0) < 0 || inheritance.failed)
		bpf_send_signal(SIGKILL);
	return 0;
}

#define PF_FORKNOEXEC 0x40
#define MAX_FORKED_NS 10000000000ULL

/*
 * Iterates over the open files of all processes: a process may also be moved into the workload, or get a socket in a message.
 * Files that a new process has only until it executes its program are its parent's.
 */
SEC("iter/task_file")
int ztap_find_foreign(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	unsigned long *closed, word = 0;
	__u64 opened = 0;

	if (!task || !file)
		return 0;
	if (BPF_CORE_READ(task, flags) & PF_FORKNOEXEC &&
	    bpf_ktime_get_ns() - BPF_CORE_READ(task, start_time) < MAX_FORKED_NS) {
		closed = BPF_CORE_READ(task, files, fdt, close_on_exec);
		bpf_probe_read_kernel(&word, sizeof(word), closed + ctx->fd / 64);
		if (word >> (ctx->fd & 63) & 1)
			return 0;
	}
	/* A global function takes no pointer of this type, but a number. */
	bpf_probe_read_kernel(&opened, sizeof(opened), &file);
	note_foreign((__u64)BPF_CORE_READ(task, cgroups, dfl_cgrp), opened, (__u32)BPF_CORE_READ(task, tgid));
	return 0;
}

/* Whether any foreign socket is known. */
SEC("syscall")
int ztap_set_foreign(struct ztap_found *found)
{
	struct ztap_births *all = births();

	if (!all)
		return 0;
	if (found->any)
		__sync_fetch_and_or(&all->levels, ZTAP_FOREIGN_FOUND);
	else
		__sync_fetch_and_and(&all->levels, ~ZTAP_FOREIGN_FOUND);
	return 0;
}

/* Returns whether it is a socket that its process may not use, or that was closed after that. `was_refused`: its ztap_refused. */
static __always_inline bool is_refused_socket(struct sock *address, const __u8 *was_refused)
{
	__u64 id = BPF_CORE_READ(address, sk_socket, file, f_inode, i_ino);
	struct ztap_foreign_socket *found = id ? bpf_map_lookup_elem(&ztap_foreign, &id) : NULL;

	return id ? found && found->refused : was_refused != NULL;
}

static __noinline int is_of_foreign(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk ? bpf_sk_fullsock(skb->sk) : NULL;

	if (!sk)
		return 0;
	if (!is_refused_socket(socket_in_kernel(sk), bpf_sk_storage_get(&ztap_refused, sk, NULL, 0)))
		return 0;
	bpf_sk_storage_get(&ztap_refused, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	refuse_channel(ZTAP_REFUSED_FOREIGN);
	return 1;
}

#endif
