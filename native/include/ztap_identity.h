/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Part of ztap_abi.h: the identity of a workload in its TCP SYNs, and the keys that prove it. See docs/adr/0021-syn-identity.md. */
#ifndef ZTAP_IDENTITY_H
#define ZTAP_IDENTITY_H

/* AF_INET and AF_INET6. */
enum ztap_family { ZTAP_FAMILY_IPV4 = 2, ZTAP_FAMILY_IPV6 = 10 };

enum ztap_identity_limit {
	/* TCP option: an experimental kind (RFC 4727), its length, and the identifier of the experiment (RFC 6994). */
	ZTAP_OPTION_KIND = 253,
	ZTAP_OPTION_BYTES = 16,
	ZTAP_OPTION_EXPERIMENT = 0x5a54,
	/* Days for which a peer has keys in advance; a power of two. */
	ZTAP_KEY_DAYS = 32,
	/* Seconds before and after midnight (TAI) in which the key of the other day is valid as well. */
	ZTAP_KEY_OVERLAP = 300,
	ZTAP_MAX_PEERS = 65536,
	ZTAP_MAX_MEMBERS = 16384,
	ZTAP_MAX_IDENTITIES = 4194304,
	/* The prefix length of every struct ztap_identity_key. */
	ZTAP_IDENTITY_BITS = 224,
};

/*
 * ztap_peers: hash, address of a node of the cluster -> the keys that it shares with this node. An IPv4 address is in the
 * first four bytes.
 */
struct ztap_peer_key {
	__u8 address[16];
	__u32 family;
};
ZTAP_SIZE(struct ztap_peer_key, 20);

/* The key of each day: that of day d, counted from 1970 (TAI), is at d modulo ZTAP_KEY_DAYS. */
struct ztap_day_keys {
	__u32 day[ZTAP_KEY_DAYS];
	__u64 key[ZTAP_KEY_DAYS][2];
};
ZTAP_SIZE(struct ztap_day_keys, 640);

/*
 * `verify_from`, `previous_until`: CLOCK_MONOTONIC, ns: from when on the peer's SYNs must carry an identity, and until when
 * the keys before the last change of either node's key pair are valid. This node writes with `current`.
 */
struct ztap_peer {
	__u64 verify_from;
	__u64 previous_until;
	struct ztap_day_keys current;
	struct ztap_day_keys previous;
};
ZTAP_SIZE(struct ztap_peer, 1296);

/* ztap_members: hash, subject id of a workload of this node, 0 for the host -> its identity in SYNs (u32, not 0). */

/*
 * ztap_identities_a, ztap_identities_b: LPM tries, so that memory is allocated with the entries; every prefix is whole. (ingress profile, identity of the sender, its address) -> class id. Identity 0: a
 * sender without a proven identity; there is such an entry for each address of a workload that the policy names.
 */
struct ztap_identity_key {
	__u32 prefixlen;
	__u32 profile;
	__u32 identity;
	__u32 family;
	__u8 address[16];
};
ZTAP_SIZE(struct ztap_identity_key, 32);

/*
 * What the SipHash-2-4 of a SYN covers, in this order. `seq` and the ports are as in the packet, the addresses as in
 * ztap_peer_key.
 */
struct ztap_syn {
	__u32 identity;
	__be32 be_seq;
	__be16 be_source_port;
	__be16 be_destination_port;
	__u32 family;
	__u8 source[16];
	__u8 destination[16];
};
ZTAP_SIZE(struct ztap_syn, 48);

/* The option as it is sent. */
struct ztap_syn_option {
	__u8 kind;
	__u8 length;
	__be16 be_experiment;
	__u32 identity;
	__u8 mac[8];
};
ZTAP_SIZE(struct ztap_syn_option, 16);

#endif
