/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* SipHash-2-4 (Aumasson, Bernstein) of the 48 bytes of a struct ztap_syn. */
#ifndef ZTAP_SIPHASH_H
#define ZTAP_SIPHASH_H

#include "common.h"

#define ROTATE(word, bits) ((word) << (bits) | (word) >> (64 - (bits)))

#define SIP_ROUND                                                                                                      \
	do {                                                                                                           \
		v0 += v1;                                                                                              \
		v1 = ROTATE(v1, 13) ^ v0;                                                                              \
		v0 = ROTATE(v0, 32);                                                                                   \
		v2 += v3;                                                                                              \
		v3 = ROTATE(v3, 16) ^ v2;                                                                              \
		v0 += v3;                                                                                              \
		v3 = ROTATE(v3, 21) ^ v0;                                                                              \
		v2 += v1;                                                                                              \
		v1 = ROTATE(v1, 17) ^ v2;                                                                              \
		v2 = ROTATE(v2, 32);                                                                                   \
	} while (0)

#define SIP_WORD(word)                                                                                                 \
	do {                                                                                                           \
		v3 ^= (word);                                                                                          \
		SIP_ROUND;                                                                                             \
		SIP_ROUND;                                                                                             \
		v0 ^= (word);                                                                                          \
	} while (0)

/* A global function, so that the verifier checks it once. */
__noinline __u64 siphash(const struct ztap_syn *syn, __u64 key0, __u64 key1)
{
	const __u64 *words = (const __u64 *)syn;
	__u64 v0, v1, v2, v3;

	if (!syn)
		return 0;
	v0 = key0 ^ 0x736f6d6570736575ULL;
	v1 = key1 ^ 0x646f72616e646f6dULL;
	v2 = key0 ^ 0x6c7967656e657261ULL;
	v3 = key1 ^ 0x7465646279746573ULL;
#pragma unroll
	for (int at = 0; at < 6; at++)
		SIP_WORD(words[at]);
	SIP_WORD((__u64)sizeof(*syn) << 56);
	v2 ^= 0xff;
	SIP_ROUND;
	SIP_ROUND;
	SIP_ROUND;
	SIP_ROUND;
	return v0 ^ v1 ^ v2 ^ v3;
}

#endif
