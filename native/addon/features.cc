// SPDX-License-Identifier: Apache-2.0
// Probes the kernel for each feature that the programs and maps rely on. A probe names the missing feature; a version
// would only be a guess, since distributions backport.
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "parts.h"

namespace ztap {

static int mapType(enum bpf_map_type type) { return libbpf_probe_bpf_map_type(type, nullptr); }
static int programType(enum bpf_prog_type type) { return libbpf_probe_bpf_prog_type(type, nullptr); }
static int helper(enum bpf_prog_type type, enum bpf_func_id id) { return libbpf_probe_bpf_helper(type, id, nullptr); }

// kernelFeatures() → [{ name, since, option, present }]: `since` is the first release of Linux with the feature,
// `option` the build option that it needs.
static Napi::Value kernelFeatures(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  const struct {
    const char *name, *since, *option;
    int found;
  } features[] = {
      {"BTF of the kernel (/sys/kernel/btf/vmlinux)", "5.4", "CONFIG_DEBUG_INFO_BTF",
       access("/sys/kernel/btf/vmlinux", R_OK) == 0},
      {"programs for packets of a cgroup (cgroup_skb)", "4.10", "CONFIG_CGROUP_BPF",
       programType(BPF_PROG_TYPE_CGROUP_SKB)},
      {"programs for connect and sendmsg (cgroup_sock_addr)", "4.18", "CONFIG_CGROUP_BPF",
       programType(BPF_PROG_TYPE_CGROUP_SOCK_ADDR)},
      {"programs at the kernel's tracepoints (raw_tracepoint)", "5.8", "CONFIG_BPF_EVENTS",
       programType(BPF_PROG_TYPE_RAW_TRACEPOINT)},
      {"programs run by a system call (syscall)", "5.14", "CONFIG_BPF_SYSCALL", programType(BPF_PROG_TYPE_SYSCALL)},
      {"storage of a cgroup (BPF_MAP_TYPE_CGROUP_STORAGE)", "4.19", "CONFIG_CGROUP_BPF",
       mapType(BPF_MAP_TYPE_CGROUP_STORAGE)},
      {"storage of a socket (BPF_MAP_TYPE_SK_STORAGE)", "5.2", "CONFIG_NET", mapType(BPF_MAP_TYPE_SK_STORAGE)},
      {"longest-prefix-match tries (BPF_MAP_TYPE_LPM_TRIE)", "4.11", "CONFIG_BPF_SYSCALL",
       mapType(BPF_MAP_TYPE_LPM_TRIE)},
      {"ring buffer (BPF_MAP_TYPE_RINGBUF)", "5.8", "CONFIG_BPF_SYSCALL", mapType(BPF_MAP_TYPE_RINGBUF)},
      {"cgroup of a socket (bpf_sk_ancestor_cgroup_id)", "5.7", "CONFIG_SOCK_CGROUP_DATA",
       helper(BPF_PROG_TYPE_CGROUP_SKB, BPF_FUNC_sk_ancestor_cgroup_id)},
      {"coarse clock (bpf_ktime_get_coarse_ns)", "5.11", "CONFIG_BPF_SYSCALL",
       helper(BPF_PROG_TYPE_CGROUP_SKB, BPF_FUNC_ktime_get_coarse_ns)},
  };
  Napi::Array result = Napi::Array::New(env);
  for (const auto &feature : features) {
    Napi::Object entry = Napi::Object::New(env);
    entry.Set("name", feature.name);
    entry.Set("since", feature.since);
    entry.Set("option", feature.option);
    entry.Set("present", feature.found == 1);
    result.Set(result.Length(), entry);
  }
  return result;
}

// takesSecurityPrograms() → whether the kernel takes a program that changes the result of a security function.
static Napi::Value takesSecurityPrograms(const Napi::CallbackInfo &info) {
  static int taken = -1;
  if (taken < 0) {
    const struct bpf_insn allow[] = {
        {BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 0},
        {BPF_JMP | BPF_EXIT, 0, 0, 0, 0},
    };
    LIBBPF_OPTS(bpf_prog_load_opts, options);
    int function = libbpf_find_vmlinux_btf_id("security_socket_create", BPF_MODIFY_RETURN);
    options.expected_attach_type = BPF_MODIFY_RETURN;
    options.attach_btf_id = function > 0 ? function : 0;
    int fd = function > 0 ? bpf_prog_load(BPF_PROG_TYPE_TRACING, "ztap_probe", "GPL", allow, 2, &options) : -1;
    // Some kernels load such a program and attach none.
    int link = fd >= 0 ? bpf_raw_tracepoint_open(nullptr, fd) : -1;
    if (link >= 0) close(link);
    if (fd >= 0) close(fd);
    taken = link >= 0;
  }
  return Napi::Boolean::New(info.Env(), taken == 1);
}

void initFeatures(Napi::Env env, Napi::Object exports) {
  exports.Set("takesSecurityPrograms", Napi::Function::New(env, takesSecurityPrograms));
  exports.Set("kernelFeatures", Napi::Function::New(env, kernelFeatures));
}

}  // namespace ztap
