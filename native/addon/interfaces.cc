// SPDX-License-Identifier: Apache-2.0
// Interfaces: programs at network interfaces, also in other network namespaces.
//
// From Linux 6.6 on an attachment is a link (tcx), which can be pinned. Before, it is a filter of the clsact queueing discipline, which
// stays until it is removed or the interface is.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <dirent.h>
#include <fcntl.h>
#include <map>
#include <net/if.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <vector>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "arguments.h"
#include "namespace.h"
#include "parts.h"

namespace ztap {

// Ingress and egress, as enum ztap_direction. The headers of libbpf 1.1 do not have the first two.
enum Direction { INGRESS = 0, EGRESS = 1 };
static constexpr int DIRECTIONS = 2;
static constexpr int TCX[DIRECTIONS] = {46, 47};
static constexpr uint32_t BEFORE_ALL = 1u << 3;
static constexpr enum bpf_tc_attach_point POINTS[DIRECTIONS] = {BPF_TC_INGRESS, BPF_TC_EGRESS};
static constexpr uint32_t MOST_PROGRAMS = 64;

// Returns a link whose program runs before all others of the interface, or a negative errno.
static int createLink(int program, int index, int type) {
  union bpf_attr attr = {};
  attr.link_create.prog_fd = program;
  attr.link_create.target_fd = index;
  attr.link_create.attach_type = type;
  attr.link_create.flags = BEFORE_ALL;
  long link = syscall(__NR_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));
  if (link < 0) return -errno;
  int fd = fcntl(link, F_DUPFD_CLOEXEC, 3);
  close(link);
  return fd < 0 ? -errno : fd;
}

struct Interface {
  unsigned int index;
  std::string name;
  bool isAttached = false;
  std::string problem;
};

struct Visit : Namespace {
  std::string folder;
  bool isLink = true, attaches = false, detaches = false;
  int programs[DIRECTIONS] = {-1, -1};
  uint32_t handle = 0, priority = 0;
  std::vector<Interface> interfaces;
};

// Compares programs in the kernel with those of this build: by tag, and by the one map that both use.
class Programs {
 public:
  explicit Programs(const Visit &visit) {
    for (int at = 0; at < DIRECTIONS; at++) read(visit.programs[at], wanted_[at]);
  }
  bool isWanted(uint32_t id, int direction) {
    auto known = known_.find(id);
    if (known == known_.end()) {
      Identity found;
      int fd = bpf_prog_get_fd_by_id(id);
      if (fd >= 0) {
        read(fd, found);
        close(fd);
      }
      known = known_.emplace(id, found).first;
    }
    const Identity &found = known->second, &wanted = wanted_[direction];
    return found.map != 0 && found.map == wanted.map && memcmp(found.tag, wanted.tag, sizeof(found.tag)) == 0;
  }

 private:
  struct Identity {
    uint8_t tag[BPF_TAG_SIZE] = {};
    uint32_t map = 0;
  };
  static void read(int fd, Identity &identity) {
    struct bpf_prog_info info = {};
    uint32_t size = sizeof(info), map = 0;
    info.nr_map_ids = 1;
    info.map_ids = reinterpret_cast<uint64_t>(&map);
    if (bpf_obj_get_info_by_fd(fd, &info, &size) != 0) return;
    memcpy(identity.tag, info.tag, sizeof(identity.tag));
    identity.map = map;
  }
  Identity wanted_[DIRECTIONS];
  std::map<uint32_t, Identity> known_;
};

// Whether the interface has this build's program, whatever the name of its pin: one that is moved to another namespace keeps its links.
static bool isLinked(unsigned int index, int direction, Programs &programs) {
  uint32_t ids[MOST_PROGRAMS], count = MOST_PROGRAMS, flags = 0;
  if (bpf_prog_query(index, static_cast<enum bpf_attach_type>(TCX[direction]), 0, &flags, ids, &count) != 0) return false;
  return std::any_of(ids, ids + count, [&](uint32_t id) { return programs.isWanted(id, direction); });
}

// The name of a pin is used once: what an earlier one holds may be attached elsewhere by now.
static std::string freePin(const Visit &visit, unsigned int index, int direction) {
  static std::atomic<uint64_t> last{uint64_t(std::chrono::system_clock::now().time_since_epoch().count())};
  return visit.folder + "/" + std::to_string(visit.inode) + "-" + std::to_string(index) + (direction ? "-egress-" : "-ingress-") +
         std::to_string(++last);
}

static int link(const Visit &visit, unsigned int index, int direction) {
  int fd = createLink(visit.programs[direction], index, TCX[direction]);
  if (fd < 0) return fd;
  int error = bpf_obj_pin(fd, freePin(visit, index, direction).c_str()) == 0 ? 0 : errno;
  close(fd);
  return -error;
}

struct Filter {
  struct bpf_tc_hook hook = {};
  struct bpf_tc_opts options = {};
  Filter(const Visit &visit, unsigned int index, int direction) {
    hook.sz = sizeof(hook);
    hook.ifindex = index;
    hook.attach_point = POINTS[direction];
    options.sz = sizeof(options);
    options.handle = visit.handle;
    options.priority = visit.priority;
  }
};

static uint32_t filterProgram(const Visit &visit, unsigned int index, int direction) {
  Filter filter(visit, index, direction);
  return bpf_tc_query(&filter.hook, &filter.options) == 0 ? filter.options.prog_id : 0;
}

static int filter(const Visit &visit, unsigned int index, int direction) {
  Filter filter(visit, index, direction);
  filter.options.prog_fd = visit.programs[direction];
  filter.options.flags = BPF_TC_F_REPLACE;
  int made = bpf_tc_hook_create(&filter.hook);
  return made != 0 && made != -EEXIST ? made : bpf_tc_attach(&filter.hook, &filter.options);
}

static bool isAttached(const Visit &visit, unsigned int index, int direction, Programs &programs) {
  return visit.isLink ? isLinked(index, direction, programs)
                      : programs.isWanted(filterProgram(visit, index, direction), direction);
}

// An interface with the queueing discipline `ingress` has one list of filters for both directions.
static bool lacksEgress(const Visit &visit, unsigned int index, Programs &programs) {
  return !visit.isLink && programs.isWanted(filterProgram(visit, index, EGRESS), INGRESS);
}

static void visitInterface(const Visit &visit, Interface &one, Programs &programs) {
  int missing = 0;
  for (int direction : {INGRESS, EGRESS}) {
    if (visit.detaches) {
      Filter filter(visit, one.index, direction);
      bpf_tc_detach(&filter.hook, &filter.options);
      continue;
    }
    if (isAttached(visit, one.index, direction, programs)) continue;
    missing++;
    if (direction == EGRESS && lacksEgress(visit, one.index, programs)) {
      one.problem = "its queueing discipline is ingress, which has no filters at egress";
      continue;
    }
    if (!visit.attaches) continue;
    int result = visit.isLink ? link(visit, one.index, direction) : filter(visit, one.index, direction);
    if (result != 0) one.problem = strerror(-result);
    else missing--;
  }
  one.isAttached = missing == 0;
}

// Runs in the namespace.
static void visitAll(Visit &visit) {
  Programs programs(visit);
  struct if_nameindex *all = if_nameindex();
  if (all == nullptr) {
    visit.error = errno;
    visit.what = "listing network interfaces";
    return;
  }
  for (struct if_nameindex *one = all; one->if_index != 0; one++) {
    Interface found;
    found.index = one->if_index;
    found.name = one->if_name;
    visitInterface(visit, found, programs);
    // One that is gone by now is not attached, and needs not be.
    char name[IF_NAMESIZE];
    if (found.isAttached || if_indextoname(found.index, name) != nullptr) visit.interfaces.push_back(found);
  }
  if_freenameindex(all);
}

class NamespaceVisit : public Napi::AsyncWorker {
 public:
  NamespaceVisit(Napi::Env env, Visit visit)
      : Napi::AsyncWorker(env), deferred(Napi::Promise::Deferred::New(env)), visit_(std::move(visit)) {}
  void Execute() override {
    runIn(visit_, [&] { visitAll(visit_); });
  }
  void OnOK() override {
    Napi::Env env = Env();
    if (visit_.error != 0) return deferred.Reject(failure(env, visit_.error, visit_.what).Value());
    if (!visit_.isThere) return deferred.Resolve(env.Null());
    Napi::Array list = Napi::Array::New(env);
    for (const auto &one : visit_.interfaces) {
      Napi::Object entry = Napi::Object::New(env);
      entry.Set("name", one.name);
      entry.Set("isAttached", one.isAttached);
      entry.Set("problem", one.problem);
      list.Set(list.Length(), entry);
    }
    Napi::Object result = Napi::Object::New(env);
    result.Set("inode", double(visit_.inode));
    result.Set("interfaces", list);
    deferred.Resolve(result);
  }
  Napi::Promise::Deferred deferred;

 private:
  Visit visit_;
};

// namespaceVisit(path, inode | 0, { does, programs, folder, handle, priority }) → promise of { inode, interfaces: [{ name, isAttached,
// problem }] }; null if the namespace is gone or another one. `does`: "look", "attach" or "detach" (filters only).
static Napi::Value namespaceVisit(const Napi::CallbackInfo &info) {
  Napi::Object how = info[2].As<Napi::Object>();
  std::string does = how.Get("does").As<Napi::String>();
  Napi::Array programs = how.Get("programs").As<Napi::Array>();
  Visit visit;
  visit.path = textArg(info, 0);
  visit.inode = info[1].As<Napi::Number>().Int64Value();
  visit.attaches = does == "attach";
  visit.detaches = does == "detach";
  visit.isLink = how.Get("isLink").As<Napi::Boolean>();
  visit.folder = how.Get("folder").As<Napi::String>();
  visit.handle = how.Get("handle").As<Napi::Number>().Uint32Value();
  visit.priority = how.Get("priority").As<Napi::Number>().Uint32Value();
  for (int at = 0; at < DIRECTIONS; at++) visit.programs[at] = programs.Get(at).As<Napi::Number>().Int32Value();
  auto *worker = new NamespaceVisit(info.Env(), visit);
  worker->Queue();
  return worker->deferred.Promise();
}

// Removes the pins of links whose interfaces are gone.
class Sweep : public Napi::AsyncWorker {
 public:
  Sweep(Napi::Env env, std::string folder)
      : Napi::AsyncWorker(env), deferred(Napi::Promise::Deferred::New(env)), folder_(std::move(folder)) {}
  void Execute() override {
    DIR *folder = opendir(folder_.c_str());
    if (folder == nullptr) return;
    std::vector<std::string> pins;
    while (struct dirent *one = readdir(folder))
      if (one->d_name[0] != '.') pins.push_back(folder_ + "/" + one->d_name);
    closedir(folder);
    for (const std::string &pin : pins) {
      int link = bpf_obj_get(pin.c_str());
      if (link < 0) continue;
      struct bpf_link_info info = {};
      uint32_t size = sizeof(info), index = 0;
      int result = bpf_obj_get_info_by_fd(link, &info, &size);
      close(link);
      // The first field of the part for tcx, which these headers do not have: the index of the interface, 0 without one.
      memcpy(&index, &info.raw_tracepoint, sizeof(index));
      if (result == 0 && index == 0) unlink(pin.c_str());
    }
  }
  void OnOK() override { deferred.Resolve(Env().Undefined()); }
  Napi::Promise::Deferred deferred;

 private:
  std::string folder_;
};

// interfaceSweep(folder) → promise
static Napi::Value interfaceSweep(const Napi::CallbackInfo &info) {
  auto *worker = new Sweep(info.Env(), textArg(info, 0));
  worker->Queue();
  return worker->deferred.Promise();
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
  int link = createLink(program, 1, TCX[0]);
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
  exports.Set("namespaceVisit", Napi::Function::New(env, namespaceVisit));
  exports.Set("interfaceSweep", Napi::Function::New(env, interfaceSweep));
  exports.Set("interfaceAttachment", Napi::Function::New(env, interfaceAttachment));
}

}  // namespace ztap
