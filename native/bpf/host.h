/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Host: what the kernel's own stack delivers to a socket without its cgroup's programs (errors.h), and what it answers by itself
 * (answers.h), judged at the interfaces of a network namespace. See docs/adr/0016-host-stack.md.
 */
#ifndef ZTAP_HOST_H
#define ZTAP_HOST_H

#include "answers.h"
#include "errors.h"

/* The next program of the interface decides. */
#define HOST_NEXT -1
#define HOST_DROP 2

#define PACKET_OTHERHOST 3

static __always_inline __u64 current_epoch(void)
{
	__u32 zero = 0;
	struct ztap_control *control = bpf_map_lookup_elem(&ztap_control, &zero);

	return control ? *(volatile __u64 *)&control->epoch : 0;
}

SEC("tc")
int ztap_host_ingress(struct __sk_buff *skb)
{
	/* A frame for another machine: a bridge may pass it on, and the stack does not take it. */
	if (skb->pkt_type == PACKET_OTHERHOST)
		return HOST_NEXT;
	if (!is_tagged_twice(skb) && (!may_be_error(skb) || !is_refused_error(skb, current_epoch())))
		return HOST_NEXT;
	count(ZTAP_COUNT_ICMP_ERROR);
	return HOST_DROP;
}

SEC("tc")
int ztap_host_egress(struct __sk_buff *skb)
{
	/* A process of this machine learns nothing from the stack that it could not learn otherwise. */
	if (skb->ifindex == LOOPBACK_IFINDEX || !may_be_answer(skb) || !is_refused_answer(skb, current_epoch()))
		return HOST_NEXT;
	count(ZTAP_COUNT_NO_RECEIVER);
	return HOST_DROP;
}

/*
 * Attached to interfaces. Without the program that they call, as after the removal of the pins, they let everything pass: an attachment
 * that cannot be pinned (before Linux 6.6) may be left over.
 */
SEC("tc")
int ztap_interface_ingress(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &ztap_decider_host, ZTAP_INGRESS);
	return HOST_NEXT;
}

SEC("tc")
int ztap_interface_egress(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &ztap_decider_host, ZTAP_EGRESS);
	return HOST_NEXT;
}

/*
 * Iterates over all threads: returns the network namespace of each process of an isolated workload, and of each thread that has
 * another one than its process; the first thread of a process may have ended.
 */
SEC("iter/task")
int ztap_find_namespaces(struct bpf_iter__task *ctx)
{
	struct ztap_namespace found = {};
	struct task_struct *task = ctx->task;
	struct net *net;
	__u64 bits;

	if (!task)
		return 0;
	net = BPF_CORE_READ(task, nsproxy, net_ns);
	if (!net || (BPF_CORE_READ(task, tgid) != BPF_CORE_READ(task, pid) &&
		     net == BPF_CORE_READ(task, group_leader, nsproxy, net_ns)))
		return 0;
	bits = confinement_between((__u64)BPF_CORE_READ(task, cgroups, dfl_cgrp), 0);
	if (!bits)
		return 0;
	found.inode = BPF_CORE_READ(net, ns.inum);
	found.thread = BPF_CORE_READ(task, pid);
	found.subject = bits >> 32;
	found.is_users = BPF_CORE_READ(net, user_ns, level) > 0;
	bpf_seq_write(ctx->meta->seq, &found, sizeof(found));
	return 0;
}

#endif
