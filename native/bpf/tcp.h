/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * TCP: the initiator is a property of the socket. A packet with SYN and without ACK initiates and sets the socket's
 * role; every other packet belongs to the connection, and gets the verdict that the SYN would get now. The last verdict
 * of a socket's connection is cached for the epoch.
 */
#ifndef ZTAP_TCP_H
#define ZTAP_TCP_H

#include "event.h"
#include "flow.h"

/* A raw socket may use TCP's protocol number, and be connected, without being a connection. */
static __always_inline bool is_tcp(const struct bpf_sock *sk)
{
	return sk->type == SOCK_STREAM && sk->protocol == IPPROTO_TCP;
}

/* Returns whether this is an ordinary IPv4 or IPv6 packet of TCP with ACK. */
static __always_inline bool acknowledges(struct __sk_buff *skb)
{
	const __u8 *data = (const __u8 *)(long)skb->data, *end = (const __u8 *)(long)skb->data_end;
	const struct ip4 *ip4 = (const void *)data;
	const struct ip6 *ip6 = (const void *)data;

	if (skb->protocol == bpf_htons(ETH_P_IP))
		return data + sizeof(*ip4) + 14 <= end && ip4->protocol == IPPROTO_TCP && ip4->version_ihl == 0x45 &&
		       !(ip4->fragment & bpf_htons(0x1fff)) && data[sizeof(*ip4) + 13] & TCP_FLAG_ACK_BIT;
	return skb->protocol == bpf_htons(ETH_P_IPV6) && data + sizeof(*ip6) + 14 <= end && ip6->next == IPPROTO_TCP &&
	       ip6->version_class >> 4 == 6 && data[sizeof(*ip6) + 13] & TCP_FLAG_ACK_BIT;
}

/* Returns the verdict on a packet of `direction` in a connection with that initiator. */
static __always_inline __u8 policy_or_self_verdict(struct __sk_buff *skb, const struct scope *scope,
						   const struct packet *p, __u32 direction, __u32 initiator,
						   __u32 *rule)
{
	__u8 verdict = policy_verdict(scope, p, initiator, port_of(p, initiator), rule);

	if (initiator == ZTAP_INGRESS && verdict == ZTAP_ALLOWED && scope->decision->event_flags & EVENT_FALSE_IDENTITY) {
		*rule = 0;
		verdict = mode_of(scope, ZTAP_INGRESS) == ZTAP_MODE_AUDIT ? ZTAP_AUDITED : ZTAP_DENIED;
	}

	if (verdict != ZTAP_ALLOWED && is_self_traffic(skb, scope, p, direction, verdict)) {
		*rule = 0;
		return ZTAP_ALLOWED;
	}
	return verdict;
}

static __always_inline bool is_isolated(const struct scope *scope)
{
	return is_limited(scope, ZTAP_INGRESS) || is_limited(scope, ZTAP_EGRESS);
}

/* A socket whose role cannot be stored is denied if a direction is isolated. */
static __always_inline __u8 without_storage(const struct scope *scope, __u8 verdict)
{
	count(ZTAP_COUNT_NO_STORAGE);
	return is_isolated(scope) ? ZTAP_DENIED : verdict;
}

/*
 * Records the packet's connection. If it is older than the attachment, its initiator is unknown: the sender of the
 * packet is used.
 */
static __always_inline void belong_to(struct decision *decision, struct ztap_sock *sock, __u32 direction)
{
	__u8 role = sock->role;

	if (role != ZTAP_ROLE_INITIATOR && role != ZTAP_ROLE_ACCEPTOR)
		belongs_to(decision, &sock->emitted, direction);
	else
		belongs_to(decision, &sock->emitted, role == ZTAP_ROLE_INITIATOR);
}

/*
 * Returns whether a SYN that a socket sends begins a connection: the kernel counts the retransmissions of each from
 * 0.
 */
static __always_inline bool begins(struct bpf_sock *sk)
{
	struct bpf_tcp_sock *tcp = bpf_tcp_sock(sk);

	return !tcp || !tcp->total_retrans;
}

static __always_inline __u8 syn_verdict(struct __sk_buff *skb, const struct scope *scope, const struct packet *p,
					__u32 direction, struct bpf_sock *sk, bool listening)
{
	__u32 rule;
	__u8 verdict = policy_or_self_verdict(skb, scope, p, direction, direction, &rule);
	struct ztap_sock *sock;

	scope->decision->rule = rule;
	scope->decision->event_flags |= EVENT_BEGINS;
	if (verdict == ZTAP_DENIED || (direction == ZTAP_INGRESS && !listening))
		return verdict;
	sock = bpf_sk_storage_get(&ztap_socks, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!sock) {
		scope->decision->event_flags &= ~EVENT_BEGINS;
		return without_storage(scope, verdict);
	}
	/*
	 * A retransmitted SYN finds the state that the first one left; one that a listener receives again is emitted
	 * again.
	 */
	if (direction == ZTAP_INGRESS || begins(sk) || cached_verdict(scope, sock->remembered) == ZTAP_NONE) {
		scope->decision->event_flags |= EVENT_NEW;
		sock->emitted = 0;
	} else {
		scope->decision->event_flags &= ~EVENT_BEGINS;
	}
	sock->role = direction == ZTAP_EGRESS ? ZTAP_ROLE_INITIATOR : ZTAP_ROLE_ACCEPTOR;
	/* A listener caches no verdict: accepted sockets inherit its whole storage. */
	decide(scope->decision, rule, slot_of_rule(rule));
	sock->rule = direction == ZTAP_EGRESS ? rule : 0;
	sock->slot = direction == ZTAP_EGRESS ? scope->decision->slot : 0;
	sock->remembered = direction == ZTAP_EGRESS ? cache_verdict(scope, verdict) : 0;
	if (direction == ZTAP_EGRESS) {
		belong_to(scope->decision, sock, direction);
	} else if (verdict == ZTAP_AUDITED) {
		handshake_was_emitted(p, scope->cgroup->subject, scope->epoch, true);
		scope->decision->event_flags |= EVENT_HANDSHAKE_BEGINS;
	}
	return verdict;
}

static __always_inline bool enforces(const struct scope *scope, __u32 direction)
{
	return is_limited(scope, direction) &&
	       (mode_of(scope, direction) != ZTAP_MODE_AUDIT ||
		(direction == ZTAP_EGRESS && subject_of(scope)->identity_profile));
}

/* Returns whether no program saw the connection begin although those that are older than the attachment have a role. */
static __always_inline bool lacks_role(const struct scope *scope, const struct ztap_sock *sock)
{
	return sock->role == ZTAP_ROLE_NONE && scope->cgroup->flags & ZTAP_ROLES_KNOWN &&
	       (enforces(scope, ZTAP_INGRESS) || enforces(scope, ZTAP_EGRESS));
}

/* Returns the verdict for a socket older than the attachment: it may continue if either role would be allowed. */
static __always_inline __u8 either_role_verdict(struct __sk_buff *skb, const struct scope *scope,
						const struct packet *p, __u32 direction, __u32 *rule)
{
	__u8 verdict = policy_or_self_verdict(skb, scope, p, direction, ZTAP_EGRESS, rule);
	__u8 other;

	if (verdict == ZTAP_ALLOWED)
		return verdict;
	other = policy_verdict(scope, p, ZTAP_INGRESS, port_of(p, ZTAP_INGRESS), rule);
	return other == ZTAP_DENIED ? verdict : other;
}

/*
 * Gives a listener its role: the socket of a connection whose SYN another listener of the port received, as with SYN
 * cookies, inherits it from this one.
 */
static __always_inline void accept_at(struct bpf_sock *listener)
{
	struct ztap_sock *sock = bpf_sk_storage_get(&ztap_socks, listener, NULL, BPF_SK_STORAGE_GET_F_CREATE);

	if (sock)
		sock->role = ZTAP_ROLE_ACCEPTOR;
}

static __always_inline __u8 tcp_verdict(struct __sk_buff *skb, const struct scope *scope, const struct packet *p,
					__u32 direction, struct bpf_sock *sk)
{
	bool syn = (p->tcp_flags & (TCP_FLAG_SYN_BIT | TCP_FLAG_ACK_BIT)) == TCP_FLAG_SYN_BIT;
	__u32 *rule = &scope->decision->rule;
	struct ztap_sock *sock;
	bool listening;
	__u8 verdict;

	/* A raw socket has no connection: each of its packets initiates. */
	if (!sk || !is_tcp(sk)) {
		if (syn)
			scope->decision->event_flags |= EVENT_NEW | EVENT_BEGINS;
		return policy_or_self_verdict(skb, scope, p, direction, direction, rule);
	}
	listening = sk->state == BPF_TCP_LISTEN;
	if (syn)
		return syn_verdict(skb, scope, p, direction, sk, listening);
	/* The rest of a handshake, or a stray packet, which is emitted like a SYN. A listener itself only replies. */
	if (listening) {
		verdict = policy_or_self_verdict(skb, scope, p, direction, ZTAP_INGRESS, rule);
		if (verdict == ZTAP_AUDITED &&
		    (direction == ZTAP_EGRESS || handshake_was_emitted(p, scope->cgroup->subject, scope->epoch, false)))
			scope->decision->event_flags |= EVENT_HANDSHAKE_GOES_ON;
		if (direction == ZTAP_INGRESS && verdict != ZTAP_DENIED)
			accept_at(sk);
		return verdict;
	}
	sock = bpf_sk_storage_get(&ztap_socks, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!sock)
		return without_storage(scope, either_role_verdict(skb, scope, p, direction, rule));
	verdict = cached_verdict(scope, sock->remembered);
	if (verdict != ZTAP_NONE) {
		decide(scope->decision, sock->rule, sock->slot);
		belong_to(scope->decision, sock, direction);
		return verdict;
	}
	if (sock->role == ZTAP_ROLE_INITIATOR)
		verdict = policy_or_self_verdict(skb, scope, p, direction, ZTAP_EGRESS, rule);
	else if (sock->role == ZTAP_ROLE_ACCEPTOR)
		verdict = policy_or_self_verdict(skb, scope, p, direction, ZTAP_INGRESS, rule);
	else {
		verdict = lacks_role(scope, sock) ? ZTAP_DENIED : either_role_verdict(skb, scope, p, direction, rule);
		if (!sock->remembered)
			scope->decision->event_flags |= EVENT_NEW;
	}
	sock->rule = *rule;
	decide(scope->decision, *rule, slot_of_rule(*rule));
	sock->slot = scope->decision->slot;
	sock->emitted = 0;
	/* The event for an accepted socket's SYN was its listener's. */
	if (verdict == ZTAP_AUDITED && sock->role == ZTAP_ROLE_ACCEPTOR &&
	    handshake_was_emitted(p, scope->cgroup->subject, scope->epoch, true))
		sock->emitted = emitted_now(scope);
	sock->remembered = cache_verdict(scope, verdict);
	belong_to(scope->decision, sock, direction);
	return verdict;
}

#endif
