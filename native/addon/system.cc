// SPDX-License-Identifier: Apache-2.0
// System functions beside BPF that the enforcer needs: cgroup ids, the BPF file system, a grace period.
#include <cmath>
#include <ctime>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "arguments.h"
#include "parts.h"

namespace ztap {

// cgroupId(path) → bigint, or null if there is no such folder. The id belongs to this folder for ever: a folder made
// again under the same path has another one.
static Napi::Value cgroupId(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  struct {
    struct file_handle handle;
    uint8_t bytes[8];
  } named = {};
  int mount;
  named.handle.handle_bytes = 8;
  if (name_to_handle_at(AT_FDCWD, textArg(info, 0).c_str(), &named.handle, &mount, 0) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return env.Null();
    throw failure(env, errno, "name_to_handle_at " + textArg(info, 0));
  }
  uint64_t id;
  memcpy(&id, named.handle.f_handle, sizeof(id));
  return Napi::BigInt::New(env, id);
}

// cgroupById(root, id) → path, "" if the path is longer than the kernel can say, or null if the cgroup was removed. The
// kernel looks the cgroup up by its file handle, which is its id: nothing below `root` is walked.
static Napi::Value cgroupById(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  std::string root = textArg(info, 0);
  struct {
    struct file_handle handle;
    uint8_t bytes[8];
  } named = {};
  int mount, mountFd = open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (mountFd < 0) throw failure(env, errno, "open " + root);
  named.handle.handle_bytes = 8;
  int fd = name_to_handle_at(mountFd, "", &named.handle, &mount, AT_EMPTY_PATH);
  if (fd == 0) {
    bool lossless;
    uint64_t id = info[1].As<Napi::BigInt>().Uint64Value(&lossless);
    memcpy(named.handle.f_handle, &id, sizeof(id));
    fd = open_by_handle_at(mountFd, &named.handle, O_PATH | O_CLOEXEC);
  }
  int error = fd < 0 ? errno : 0;
  close(mountFd);
  if (error == ESTALE || error == ENOENT) return env.Null();
  if (error != 0) throw failure(env, error, "open_by_handle_at below " + root);
  char path[PATH_MAX];
  ssize_t length = readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), path, sizeof(path));
  error = length < 0 ? errno : 0;
  close(fd);
  if (error != 0 && error != ENAMETOOLONG) throw failure(env, error, "readlink of a cgroup");
  return Napi::String::New(env, path, error != 0 || length == sizeof(path) ? 0 : length);
}

// Returns when every program that was running has ended; otherwise an errno. There is no call for that; but a running
// program might use the previous inner map of a map of maps, so the kernel waits for an RCU grace period before an
// update of one returns (Linux 5.0, maybe_wait_bpf_programs). That holds with one processor as with many, and under
// nohz_full, where membarrier() does nothing or is refused.
static int waitForPrograms() {
  int inner = bpf_map_create(BPF_MAP_TYPE_ARRAY, "ztap_grace", 4, 4, 1, nullptr);
  if (inner < 0) return errno;
  LIBBPF_OPTS(bpf_map_create_opts, options, .inner_map_fd = uint32_t(inner));
  int outer = bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "ztap_grace", 4, 4, 1, &options);
  uint32_t index = 0;
  int error = outer < 0 || bpf_map_update_elem(outer, &index, &inner, BPF_ANY) != 0 ? errno : 0;
  if (outer >= 0) close(outer);
  close(inner);
  return error;
}

// Waits for the grace period on a thread of its own.
class GracePeriod : public Napi::AsyncWorker {
 public:
  explicit GracePeriod(Napi::Env env) : Napi::AsyncWorker(env), deferred(Napi::Promise::Deferred::New(env)) {}
  void Execute() override {
    error = waitForPrograms();
  }
  void OnOK() override {
    if (error != 0) deferred.Reject(failure(Env(), error, "waiting for running programs").Value());
    else deferred.Resolve(Env().Undefined());
  }
  Napi::Promise::Deferred deferred;

 private:
  int error = 0;
};

// gracePeriod() → promise
static Napi::Value gracePeriod(const Napi::CallbackInfo &info) {
  GracePeriod *worker = new GracePeriod(info.Env());
  worker->Queue();
  return worker->deferred.Promise();
}

// isBpffs(path)
static Napi::Value isBpffs(const Napi::CallbackInfo &info) {
  struct statfs found;
  bool yes = statfs(textArg(info, 0).c_str(), &found) == 0 && found.f_type == BPF_FS_MAGIC;
  return Napi::Boolean::New(info.Env(), yes);
}

// mountBpffs(path)
static void mountBpffs(const Napi::CallbackInfo &info) {
  if (mount("bpf", textArg(info, 0).c_str(), "bpf", 0, "mode=0700") != 0)
    throw failure(info.Env(), errno, "mount bpf on " + textArg(info, 0));
}

// lockFolder(path) → fd that holds the lock, or -1 if another process has it. The kernel releases the lock when the
// process ends, however that happens.
static Napi::Value lockFolder(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  std::string path = textArg(info, 0);
  int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) throw failure(env, errno, "open " + path);
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return Napi::Number::New(env, fd);
  int error = errno;
  close(fd);
  if (error == EWOULDBLOCK) return Napi::Number::New(env, -1);
  throw failure(env, error, "flock " + path);
}

// capabilities() → bigint: the effective set of this process.
static Napi::Value capabilities(const Napi::CallbackInfo &info) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2] = {};
  if (syscall(__NR_capget, &header, data) != 0) throw failure(info.Env(), errno, "capget");
  return Napi::BigInt::New(info.Env(), uint64_t(data[1].effective) << 32 | data[0].effective);
}

// closeFd(fd)
static void closeFd(const Napi::CallbackInfo &info) { close(intArg(info, 0)); }

// libbpfVersion() → "v1.1"
static Napi::Value libbpfVersion(const Napi::CallbackInfo &info) {
  return Napi::String::New(info.Env(), libbpf_version_string());
}

// taiOffset() → number: seconds by which CLOCK_TAI is ahead of UTC; 0 until somebody told the kernel.
static Napi::Value taiOffset(const Napi::CallbackInfo &info) {
  struct timespec tai, utc;
  clock_gettime(CLOCK_TAI, &tai);
  clock_gettime(CLOCK_REALTIME, &utc);
  double ahead = (tai.tv_sec - utc.tv_sec) + (tai.tv_nsec - utc.tv_nsec) / 1e9;
  return Napi::Number::New(info.Env(), std::round(ahead));
}

void initSystem(Napi::Env env, Napi::Object exports) {
  exports.Set("taiOffset", Napi::Function::New(env, taiOffset));
  exports.Set("cgroupId", Napi::Function::New(env, cgroupId));
  exports.Set("cgroupById", Napi::Function::New(env, cgroupById));
  exports.Set("gracePeriod", Napi::Function::New(env, gracePeriod));
  exports.Set("isBpffs", Napi::Function::New(env, isBpffs));
  exports.Set("lockFolder", Napi::Function::New(env, lockFolder));
  exports.Set("mountBpffs", Napi::Function::New(env, mountBpffs));
  exports.Set("capabilities", Napi::Function::New(env, capabilities));
  exports.Set("closeFd", Napi::Function::New(env, closeFd));
  exports.Set("libbpfVersion", Napi::Function::New(env, libbpfVersion));
}

}  // namespace ztap
