// SPDX-License-Identifier: Apache-2.0
// Interfaces: programs at the ingress of network interfaces, also in other network namespaces. A namespace is entered on a thread of
// its own: no other thread of this process ever leaves its own.
//
// From Linux 6.6 on an attachment is a link (tcx), which can be pinned. Before, it is a filter of the clsact queueing discipline, which
// stays until it is removed or the interface is.
#include <fcntl.h>
#include <functional>
#include <net/if.h>
#include <sched.h>
#include <sys/stat.h>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <vector>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "arguments.h"
#include "parts.h"

namespace ztap {

// Not in the headers of libbpf 1.1.
static constexpr auto TCX_INGRESS = static_cast<enum bpf_attach_type>(46);

// Runs `act` in the network namespace. Returns its result, or a negative errno.
static int inNamespace(int space, const std::function<int()> &act) {
  int result = 0;
  try {
    std::thread thread([&] { result = setns(space, CLONE_NEWNET) != 0 ? -errno : act(); });
    thread.join();
  } catch (const std::system_error &error) {
    return -error.code().value();
  }
  return result;
}

// namespaceOpen(path, inode | 0) → fd, or -1 if it is gone or another one.
static Napi::Value namespaceOpen(const Napi::CallbackInfo &info) {
  int fd = open(textArg(info, 0).c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0 && errno != ENOENT && errno != ESRCH) throw failure(info.Env(), errno, "open " + textArg(info, 0));
  struct stat found = {};
  if (fd >= 0 && uintArg(info, 1) != 0 && (fstat(fd, &found) != 0 || found.st_ino != uintArg(info, 1))) {
    close(fd);
    fd = -1;
  }
  return Napi::Number::New(info.Env(), fd);
}

// namespaceInode(fd) → number
static Napi::Value namespaceInode(const Napi::CallbackInfo &info) {
  struct stat found = {};
  if (fstat(intArg(info, 0), &found) != 0) throw failure(info.Env(), errno, "fstat of a network namespace");
  return Napi::Number::New(info.Env(), double(found.st_ino));
}

// interfaceList(namespaceFd) → [{ index, name }]
static Napi::Value interfaceList(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  std::vector<std::pair<unsigned int, std::string>> found;
  int result = inNamespace(intArg(info, 0), [&] {
    struct if_nameindex *all = if_nameindex();
    if (all == nullptr) return -errno;
    for (struct if_nameindex *one = all; one->if_index != 0; one++) found.emplace_back(one->if_index, one->if_name);
    if_freenameindex(all);
    return 0;
  });
  if (result < 0) throw failure(env, result, "listing network interfaces");
  Napi::Array list = Napi::Array::New(env);
  for (const auto &[index, name] : found) {
    Napi::Object entry = Napi::Object::New(env);
    entry.Set("index", index);
    entry.Set("name", name);
    list.Set(list.Length(), entry);
  }
  return list;
}

// interfaceLink(namespaceFd, index, programFd) → fd of a link, or -1 if the interface is gone.
static Napi::Value interfaceLink(const Napi::CallbackInfo &info) {
  int index = intArg(info, 1), program = intArg(info, 2);
  int link = inNamespace(intArg(info, 0), [&] {
    int fd = bpf_link_create(program, index, TCX_INGRESS, nullptr);
    return fd < 0 ? -errno : fd;
  });
  if (link < 0 && link != -ENODEV) throw failure(info.Env(), link, "BPF_LINK_CREATE of an interface");
  return Napi::Number::New(info.Env(), link < 0 ? -1 : link);
}

// linkInterface(linkFd) → index of the interface of a link; 0 if it is gone.
static Napi::Value linkInterface(const Napi::CallbackInfo &info) {
  struct bpf_link_info found = {};
  uint32_t size = sizeof(found), index;
  if (bpf_obj_get_info_by_fd(intArg(info, 0), &found, &size) != 0)
    throw failure(info.Env(), errno, "BPF_OBJ_GET_INFO_BY_FD");
  // The first field of the part for tcx, which these headers do not have.
  memcpy(&index, &found.raw_tracepoint, sizeof(index));
  return Napi::Number::New(info.Env(), index);
}

struct Filter {
  struct bpf_tc_hook hook;
  struct bpf_tc_opts options;
};

// Arguments (namespaceFd, index, handle, priority, ...)
static Filter filterOf(const Napi::CallbackInfo &info) {
  Filter filter = {};
  filter.hook.sz = sizeof(filter.hook);
  filter.hook.ifindex = intArg(info, 1);
  filter.hook.attach_point = BPF_TC_INGRESS;
  filter.options.sz = sizeof(filter.options);
  filter.options.handle = uintArg(info, 2);
  filter.options.priority = uintArg(info, 3);
  return filter;
}

// filterAttach(namespaceFd, index, handle, priority, programFd): replaces one of the same handle and priority. Returns whether the
// interface is there.
static Napi::Value filterAttach(const Napi::CallbackInfo &info) {
  Filter filter = filterOf(info);
  filter.options.prog_fd = intArg(info, 4);
  filter.options.flags = BPF_TC_F_REPLACE;
  int result = inNamespace(intArg(info, 0), [&] {
    int made = bpf_tc_hook_create(&filter.hook);
    return made != 0 && made != -EEXIST ? made : bpf_tc_attach(&filter.hook, &filter.options);
  });
  if (result < 0 && result != -ENODEV) throw failure(info.Env(), result, "attaching a filter to an interface");
  return Napi::Boolean::New(info.Env(), result >= 0);
}

// filterProgram(namespaceFd, index, handle, priority) → id of the program, or 0 if there is none.
static Napi::Value filterProgram(const Napi::CallbackInfo &info) {
  Filter filter = filterOf(info);
  int result = inNamespace(intArg(info, 0), [&] { return bpf_tc_query(&filter.hook, &filter.options); });
  if (result < 0 && result != -ENOENT && result != -ENODEV && result != -EINVAL)
    throw failure(info.Env(), result, "looking for a filter of an interface");
  return Napi::Number::New(info.Env(), result < 0 ? 0 : filter.options.prog_id);
}

// filterDetach(namespaceFd, index, handle, priority): nothing happens if there is none.
static void filterDetach(const Napi::CallbackInfo &info) {
  Filter filter = filterOf(info);
  int result = inNamespace(intArg(info, 0), [&] { return bpf_tc_detach(&filter.hook, &filter.options); });
  if (result < 0 && result != -ENOENT && result != -ENODEV && result != -EINVAL)
    throw failure(info.Env(), result, "detaching a filter from an interface");
}

// Tries both attachments at the loopback device of a namespace that nobody else has.
static std::string tryAttachments() {
  const struct bpf_insn next[] = {
      {BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, -1},
      {BPF_JMP | BPF_EXIT, 0, 0, 0, 0},
  };
  if (unshare(CLONE_NEWNET) != 0) return "none";
  int program = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "ztap_probe", "GPL", next, 2, nullptr);
  if (program < 0) return "none";
  std::string found = "none";
  int link = bpf_link_create(program, 1, TCX_INGRESS, nullptr);
  if (link >= 0) {
    close(link);
    found = "link";
  } else {
    struct bpf_tc_hook hook = {};
    struct bpf_tc_opts options = {};
    hook.sz = sizeof(hook);
    hook.ifindex = 1;
    hook.attach_point = BPF_TC_INGRESS;
    options.sz = sizeof(options);
    options.prog_fd = program;
    if (bpf_tc_hook_create(&hook) == 0 && bpf_tc_attach(&hook, &options) == 0) found = "filter";
  }
  close(program);
  return found;
}

// interfaceAttachment() → what an attachment to an interface is here: "link", "filter" or "none".
static Napi::Value interfaceAttachment(const Napi::CallbackInfo &info) {
  static std::string found;
  if (found.empty()) {
    try {
      std::thread thread([&] { found = tryAttachments(); });
      thread.join();
    } catch (const std::system_error &error) {
      throw failure(info.Env(), error.code().value(), "starting a thread");
    }
  }
  return Napi::String::New(info.Env(), found);
}

void initInterfaces(Napi::Env env, Napi::Object exports) {
  exports.Set("namespaceOpen", Napi::Function::New(env, namespaceOpen));
  exports.Set("namespaceInode", Napi::Function::New(env, namespaceInode));
  exports.Set("interfaceList", Napi::Function::New(env, interfaceList));
  exports.Set("interfaceLink", Napi::Function::New(env, interfaceLink));
  exports.Set("linkInterface", Napi::Function::New(env, linkInterface));
  exports.Set("filterAttach", Napi::Function::New(env, filterAttach));
  exports.Set("filterProgram", Napi::Function::New(env, filterProgram));
  exports.Set("filterDetach", Napi::Function::New(env, filterDetach));
  exports.Set("interfaceAttachment", Napi::Function::New(env, interfaceAttachment));
}

}  // namespace ztap
