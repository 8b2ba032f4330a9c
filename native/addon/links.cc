// SPDX-License-Identifier: Apache-2.0
// Links: attachments of programs to cgroups, and the pins that let them outlive the process.
#include <fcntl.h>
#include <map>
#include <unistd.h>
#include <vector>

#include <bpf/bpf.h>

#include "arguments.h"
#include "parts.h"

namespace ztap {

static const std::map<std::string, enum bpf_attach_type> types = {
    {"ingress", BPF_CGROUP_INET_INGRESS},   {"egress", BPF_CGROUP_INET_EGRESS},
    {"connect4", BPF_CGROUP_INET4_CONNECT}, {"connect6", BPF_CGROUP_INET6_CONNECT},
    {"sendmsg4", BPF_CGROUP_UDP4_SENDMSG},  {"sendmsg6", BPF_CGROUP_UDP6_SENDMSG},
    {"bind4", BPF_CGROUP_INET4_BIND},       {"bind6", BPF_CGROUP_INET6_BIND},
    {"setsockopt", BPF_CGROUP_SETSOCKOPT},   {"sock_ops", BPF_CGROUP_SOCK_OPS},
};

static enum bpf_attach_type attachTypeOf(Napi::Env env, const std::string &hook) {
  auto found = types.find(hook);
  if (found == types.end()) throw failure(env, EINVAL, "unknown hook " + hook);
  return found->second;
}

static int openCgroup(Napi::Env env, const std::string &path) {
  int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) throw failure(env, errno, "open " + path);
  return fd;
}

// linkCreate(programFd, cgroupPath, hook) → fd
static Napi::Value linkCreate(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  enum bpf_attach_type type = attachTypeOf(env, textArg(info, 2));
  int cgroup = openCgroup(env, textArg(info, 1));
  int link = bpf_link_create(intArg(info, 0), cgroup, type, nullptr);
  int error = errno;
  close(cgroup);
  if (link < 0) throw failure(env, error, "BPF_LINK_CREATE " + textArg(info, 2));
  return Napi::Number::New(env, link);
}

// linkInfo(fd) → { id, programId, cgroupId, hook }: cgroup id 0 means that the cgroup is gone or the link was detached;
// the hook is "" for a link of another type.
static Napi::Value linkInfo(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  struct bpf_link_info found = {};
  uint32_t size = sizeof(found);
  if (bpf_obj_get_info_by_fd(intArg(info, 0), &found, &size) != 0) throw failure(env, errno, "BPF_OBJ_GET_INFO_BY_FD");
  Napi::Object result = Napi::Object::New(env);
  bool ours = found.type == BPF_LINK_TYPE_CGROUP;
  std::string hook;
  for (auto &[name, type] : types) {
    if (ours && type == found.cgroup.attach_type) hook = name;
  }
  result.Set("hook", hook);
  result.Set("id", found.id);
  result.Set("programId", found.prog_id);
  result.Set("cgroupId", Napi::BigInt::New(env, uint64_t(ours ? found.cgroup.cgroup_id : 0)));
  return result;
}

// linkUpdate(linkFd, newProgramFd): replaces the program in one step.
static void linkUpdate(const Napi::CallbackInfo &info) {
  if (bpf_link_update(intArg(info, 0), intArg(info, 1), nullptr) != 0)
    throw failure(info.Env(), errno, "BPF_LINK_UPDATE");
}

// linkDetach(fd)
static void linkDetach(const Napi::CallbackInfo &info) {
  if (bpf_link_detach(intArg(info, 0)) != 0) throw failure(info.Env(), errno, "BPF_LINK_DETACH");
}

// pin(fd, path)
static void pin(const Napi::CallbackInfo &info) {
  if (bpf_obj_pin(intArg(info, 0), textArg(info, 1).c_str()) != 0)
    throw failure(info.Env(), errno, "BPF_OBJ_PIN " + textArg(info, 1));
}

// openPin(path) → fd, or -1 if there is no pin.
static Napi::Value openPin(const Napi::CallbackInfo &info) {
  int fd = bpf_obj_get(textArg(info, 0).c_str());
  if (fd < 0 && errno != ENOENT) throw failure(info.Env(), errno, "BPF_OBJ_GET " + textArg(info, 0));
  return Napi::Number::New(info.Env(), fd < 0 ? -1 : fd);
}

// attached(cgroupPath, hook) → program ids, including those of others, without programs inherited from parents.
static Napi::Value attached(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  enum bpf_attach_type type = attachTypeOf(env, textArg(info, 1));
  int cgroup = openCgroup(env, textArg(info, 0));
  std::vector<uint32_t> ids(64);
  uint32_t flags = 0, count = ids.size();
  int result = bpf_prog_query(cgroup, type, 0, &flags, ids.data(), &count);
  int error = errno;
  close(cgroup);
  if (result != 0) throw failure(env, error, "BPF_PROG_QUERY");
  Napi::Array list = Napi::Array::New(env);
  for (uint32_t i = 0; i < count; i++) list.Set(i, ids[i]);
  return list;
}

// tracepointOpen(programFd) → fd of a link that runs the program at its tracepoint.
static Napi::Value tracepointOpen(const Napi::CallbackInfo &info) {
  int link = bpf_raw_tracepoint_open(nullptr, intArg(info, 0));
  if (link < 0) throw failure(info.Env(), errno, "BPF_RAW_TRACEPOINT_OPEN");
  return Napi::Number::New(info.Env(), link);
}

// iterCreate(programFd, mapFd | -1) → fd of a link that runs the iterator on every read; over the map, if it has one.
static Napi::Value iterCreate(const Napi::CallbackInfo &info) {
  union bpf_iter_link_info target = {};
  LIBBPF_OPTS(bpf_link_create_opts, options);
  if (intArg(info, 1) >= 0) {
    target.map.map_fd = intArg(info, 1);
    options.iter_info = &target;
    options.iter_info_len = sizeof(target);
  }
  int link = bpf_link_create(intArg(info, 0), 0, BPF_TRACE_ITER, &options);
  if (link < 0) throw failure(info.Env(), errno, "BPF_LINK_CREATE of an iterator");
  return Napi::Number::New(info.Env(), link);
}

// Runs the iterator once, and appends its output. Returns 0 or an errno.
static int runIterator(int link, std::vector<uint8_t> &bytes) {
  int run = bpf_iter_create(link);
  if (run < 0) return errno;
  size_t total = 0;
  int error = 0;
  for (;;) {
    bytes.resize(total + 65536);
    ssize_t got = read(run, bytes.data() + total, 65536);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got < 0) error = errno;
    if (got <= 0) break;
    total += got;
  }
  close(run);
  bytes.resize(total);
  return error;
}

// iterRead(linkFd) → the output of one run of the iterator.
static Napi::Value iterRead(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  std::vector<uint8_t> bytes;
  int error = runIterator(intArg(info, 0), bytes);
  if (error != 0) throw failure(env, error, "running an iterator");
  return Napi::Buffer<uint8_t>::Copy(env, bytes.data(), bytes.size());
}

// Runs an iterator on a thread of its own: users decide how many files and processes it goes through.
class IteratorRun : public Napi::AsyncWorker {
 public:
  IteratorRun(Napi::Env env, int link)
      : Napi::AsyncWorker(env), deferred(Napi::Promise::Deferred::New(env)), link_(link) {}
  void Execute() override {
    error_ = runIterator(link_, bytes_);
  }
  void OnOK() override {
    if (error_ != 0) deferred.Reject(failure(Env(), error_, "running an iterator").Value());
    else deferred.Resolve(Napi::Buffer<uint8_t>::Copy(Env(), bytes_.data(), bytes_.size()));
  }
  Napi::Promise::Deferred deferred;

 private:
  int link_;
  int error_ = 0;
  std::vector<uint8_t> bytes_;
};

// iterRun(linkFd) → promise of the output: the link must stay open until then.
static Napi::Value iterRun(const Napi::CallbackInfo &info) {
  IteratorRun *worker = new IteratorRun(info.Env(), intArg(info, 0));
  worker->Queue();
  return worker->deferred.Promise();
}

void initLinks(Napi::Env env, Napi::Object exports) {
  exports.Set("iterCreate", Napi::Function::New(env, iterCreate));
  exports.Set("iterRun", Napi::Function::New(env, iterRun));
  exports.Set("tracepointOpen", Napi::Function::New(env, tracepointOpen));
  exports.Set("iterRead", Napi::Function::New(env, iterRead));
  exports.Set("linkCreate", Napi::Function::New(env, linkCreate));
  exports.Set("linkInfo", Napi::Function::New(env, linkInfo));
  exports.Set("linkUpdate", Napi::Function::New(env, linkUpdate));
  exports.Set("linkDetach", Napi::Function::New(env, linkDetach));
  exports.Set("pin", Napi::Function::New(env, pin));
  exports.Set("openPin", Napi::Function::New(env, openPin));
  exports.Set("attached", Napi::Function::New(env, attached));
}

}  // namespace ztap
