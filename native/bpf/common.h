/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The common base of all parts: UAPI headers, the ABI, and the few constants that UAPI does not have. */
#ifndef ZTAP_COMMON_H
#define ZTAP_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#include "../include/ztap_abi.h"

#ifndef AF_INET
#define AF_INET 2
#define AF_INET6 10
#endif

#define SOCK_STREAM 1


/*
 * An index below a power of two, masked in assembly so that clang cannot drop the mask. clang knows bounds that the
 * verifier of Linux 6.1 does not see, and then leaves the mask out.
 */
#define bounded(index, size)                                                                                           \
	({                                                                                                             \
		__u64 __index = (index);                                                                               \
		asm volatile("%0 &= %1" : "+r"(__index) : "i"((size)-1));                                              \
		__index;                                                                                               \
	})

#endif
