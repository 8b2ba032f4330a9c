/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Roles: the connections that are older than the first attachment, found once by iterators. See docs/adr/0011-newborn-cgroups.md. */
#ifndef ZTAP_ROLES_H
#define ZTAP_ROLES_H

#include "kernel.h"
#include "maps.h"

/* Gives a connection that is older than the attachment, in a cgroup that learns, the role of either side. */
static __always_inline void learn_role(struct sock *sk)
{
	struct cgroup *cgroup = BPF_CORE_READ(sk, sk_cgrp_data.cgroup);
	__u32 deepest = BPF_CORE_READ(cgroup, level);
	struct ztap_newborn *newborn;
	struct ztap_sock *sock;
	__u32 flags = 0;
	__u64 id;

	for (__u32 level = 0; level <= ZTAP_MAX_LEVEL && level <= deepest; level++) {
		id = id_of_ancestor(cgroup, level);
		newborn = bpf_map_lookup_elem(&ztap_newborns, &id);
		if (newborn)
			flags |= newborn->flags;
	}
	if (!(flags & ZTAP_LEARNS) && (flags & (ZTAP_LEARNS_REST | ZTAP_COVERED)) != ZTAP_LEARNS_REST)
		return;
	sock = bpf_sk_storage_get(&ztap_socks, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (sock && sock->role == ZTAP_ROLE_NONE)
		sock->role = BPF_CORE_READ(sk, __sk_common.skc_state) == BPF_TCP_LISTEN ? ZTAP_ROLE_ACCEPTOR :
											   ZTAP_ROLE_EITHER;
}

/* Iterates over the open files of all processes. */
SEC("iter/task_file")
int ztap_learn_files(struct bpf_iter__task_file *ctx)
{
	struct file *file = ctx->file;
	struct socket *socket = file ? bpf_sock_from_file(file) : NULL;
	struct sock *sk = socket ? socket->sk : NULL;

	if (sk && BPF_CORE_READ(sk, sk_protocol) == IPPROTO_TCP)
		learn_role(sk);
	return 0;
}

/* Iterates over the TCP sockets of one network namespace: also those that no process has open. */
SEC("iter/tcp")
int ztap_learn_tcp(struct bpf_iter__tcp *ctx)
{
	struct sock_common *common = ctx->sk_common;
	struct sock *sk = common ? (struct sock *)bpf_skc_to_tcp_sock(common) : NULL;

	if (sk)
		learn_role(sk);
	return 0;
}

#endif
