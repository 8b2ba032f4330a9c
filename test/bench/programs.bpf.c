/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The programs, as test/bench/programs.mjs measures them by BPF_PROG_TEST_RUN. A test run has no TCP socket of its own,
 * so the established connection is a real one of this machine, looked up by its addresses; what that costs is
 * measured apart (bench_socket) and subtracted.
 */
#include "../../native/bpf/ztap.bpf.c"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, 16);
} bench_connection SEC(".maps");

static __always_inline struct bpf_sock *connection(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct bpf_sock_tuple tuple = {}, *found = bpf_map_lookup_elem(&bench_connection, &zero);

	if (!found)
		return NULL;
	tuple.ipv4 = found->ipv4;
	return bpf_sk_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
}

SEC("?cgroup_skb/egress")
int bench_empty(struct __sk_buff *skb)
{
	return 1;
}

SEC("?cgroup_skb/egress")
int bench_socket(struct __sk_buff *skb)
{
	struct bpf_sock *sk = connection(skb);

	if (!sk)
		return 0;
	bpf_sk_release(sk);
	return 1;
}

/* The workload of the test; the cgroup's storage, which a test run has empty, is read as ztap_egress reads it. */
static __always_inline struct ztap_cgroup *workload(struct __sk_buff *skb)
{
	struct ztap_cgroup *empty = bpf_get_local_storage(&ztap_cgroup, 0);
	__u32 index = skb->cb[0];

	return *(volatile __u32 *)&empty->subject ? NULL : bpf_map_lookup_elem(&ztap_test_subjects, &index);
}

SEC("?cgroup_skb/egress")
int bench_packet(struct __sk_buff *skb)
{
	struct ztap_cgroup *cgroup = workload(skb);

	return cgroup ? passes(decide_packet(skb, cgroup, ZTAP_EGRESS, skb->sk, 0)) : 0;
}

/* The connection's first packet, whose verdict the socket caches. */
SEC("?cgroup_skb/egress")
int bench_begin(struct __sk_buff *skb)
{
	struct ztap_cgroup *cgroup = workload(skb);
	struct bpf_sock *sk = connection(skb);
	int allowed;

	if (!sk)
		return 0;
	allowed = cgroup && passes(evaluate(skb, cgroup, ZTAP_EGRESS, sk, 0));
	bpf_sk_release(sk);
	return allowed;
}

SEC("?cgroup_skb/egress")
int bench_established(struct __sk_buff *skb)
{
	struct ztap_cgroup *cgroup = workload(skb);
	struct bpf_sock *sk = connection(skb);
	int allowed;

	if (!sk)
		return 0;
	allowed = cgroup && passes(decide_packet(skb, cgroup, ZTAP_EGRESS, sk, 0));
	bpf_sk_release(sk);
	return allowed;
}

SEC("?tc")
int bench_interface(struct __sk_buff *skb)
{
	return 1;
}

/* ztap_host_ingress and ztap_host_egress, the latter also for the loopback device, which a test run has. */
SEC("?tc")
int bench_host_ingress(struct __sk_buff *skb)
{
	return may_be_error(skb) && is_refused_error(skb, current_epoch()) ? 0 : 1;
}

SEC("?tc")
int bench_host_egress(struct __sk_buff *skb)
{
	return may_be_answer(skb) && is_refused_answer(skb, current_epoch()) ? 0 : 1;
}
