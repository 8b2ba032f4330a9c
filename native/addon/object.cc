// SPDX-License-Identifier: Apache-2.0
// Loads the object file: creates or adopts its maps, has the verifier check its programs, and returns file descriptors,
// the only handles that JavaScript keeps.
#include <csignal>
#include <cstdarg>
#include <fcntl.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "arguments.h"
#include "parts.h"

namespace ztap {

static thread_local std::string *captured = nullptr;

// Captures libbpf's log, the only source of failure details, which otherwise goes to stderr.
static int capture(enum libbpf_print_level level, const char *format, va_list args) {
  if (captured == nullptr || level == LIBBPF_DEBUG) return 0;
  va_list copy;
  va_copy(copy, args);
  int length = vsnprintf(nullptr, 0, format, copy);
  va_end(copy);
  if (length <= 0) return 0;
  size_t at = captured->size();
  captured->resize(at + length + 1);
  vsnprintf(captured->data() + at, length + 1, format, args);
  captured->resize(at + length);
  return length;
}

class Capture {
 public:
  Capture() { captured = &text; }
  ~Capture() { captured = nullptr; }
  std::string text;
};

static int keep(int fd) { return fcntl(fd, F_DUPFD_CLOEXEC, 3); }

static Napi::Object describe(Napi::Env env, struct bpf_object *object) {
  Napi::Object maps = Napi::Object::New(env), programs = Napi::Object::New(env), result = Napi::Object::New(env);
  struct bpf_map *map;
  struct bpf_program *program;
  bpf_object__for_each_map(map, object) {
    if (bpf_map__fd(map) >= 0) maps.Set(bpf_map__name(map), keep(bpf_map__fd(map)));
  }
  bpf_object__for_each_program(program, object) {
    if (bpf_program__fd(program) >= 0) programs.Set(bpf_program__name(program), keep(bpf_program__fd(program)));
  }
  result.Set("maps", maps);
  result.Set("programs", programs);
  return result;
}

// Blocks this thread's signals; they are delivered when the object is destroyed.
class SignalsHeld {
 public:
  SignalsHeld() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before_);
  }
  ~SignalsHeld() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsHeld(const SignalsHeld &) = delete;
  SignalsHeld &operator=(const SignalsHeld &) = delete;

 private:
  sigset_t before_;
};

// loadObject(file, pinFolder | "", programNames[], excludedMaps[]): loads only the named programs. With a pin folder, a
// map that is pinned there is adopted, and any other map is created and pinned.
static Napi::Value loadObject(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  std::string file = textArg(info, 0), folder = textArg(info, 1);
  Napi::Array wanted = info[2].As<Napi::Array>(), excluded = info[3].As<Napi::Array>();
  Capture log;

  struct bpf_object *object = bpf_object__open_file(file.c_str(), nullptr);
  if (object == nullptr) throw failure(env, errno, "bpf_object__open " + file, log.text);
  struct bpf_program *program;
  bpf_object__for_each_program(program, object) bpf_program__set_autoload(program, false);
  for (uint32_t i = 0; i < wanted.Length(); i++) {
    std::string name = wanted.Get(i).As<Napi::String>();
    program = bpf_object__find_program_by_name(object, name.c_str());
    if (program != nullptr) bpf_program__set_autoload(program, true);
  }
  struct bpf_map *map;
  bpf_object__for_each_map(map, object) {
    std::string name = bpf_map__name(map);
    bool skip = false;
    for (uint32_t i = 0; i < excluded.Length(); i++) skip |= name == excluded.Get(i).As<Napi::String>().Utf8Value();
    if (skip) bpf_map__set_autocreate(map, false);
    else if (!folder.empty()) bpf_map__set_pin_path(map, (folder + "/" + name).c_str());
  }
  int error = 0;
  {
    // A signal, even a profiler's, interrupts the verifier with EAGAIN.
    SignalsHeld held;
    error = bpf_object__load(object);
  }
  if (error != 0) {
    bpf_object__close(object);
    throw failure(env, error, "bpf_object__load " + file, log.text);
  }
  Napi::Object result = describe(env, object);
  bpf_object__close(object);
  return result;
}

// programInfo(fd) → { id, tag, name, mapIds }
static Napi::Value programInfo(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  uint32_t mapIds[64] = {};
  struct bpf_prog_info found = {};
  uint32_t size = sizeof(found);
  found.nr_map_ids = 64;
  found.map_ids = reinterpret_cast<uintptr_t>(mapIds);
  if (bpf_obj_get_info_by_fd(intArg(info, 0), &found, &size) != 0) throw failure(env, errno, "BPF_OBJ_GET_INFO_BY_FD");
  Napi::Object result = Napi::Object::New(env);
  Napi::Array ids = Napi::Array::New(env);
  for (uint32_t i = 0; i < found.nr_map_ids && i < 64; i++) ids.Set(i, mapIds[i]);
  char tag[2 * BPF_TAG_SIZE + 1];
  for (int i = 0; i < BPF_TAG_SIZE; i++) snprintf(tag + 2 * i, 3, "%02x", found.tag[i]);
  result.Set("id", found.id);
  result.Set("tag", tag);
  result.Set("name", found.name);
  result.Set("mapIds", ids);
  return result;
}

// programById(id) → fd
static Napi::Value programById(const Napi::CallbackInfo &info) {
  int fd = bpf_prog_get_fd_by_id(uintArg(info, 0));
  if (fd < 0) throw failure(info.Env(), errno, "BPF_PROG_GET_FD_BY_ID");
  return Napi::Number::New(info.Env(), fd);
}

// testRun(fd, packet, cb[5], repeat) → { returned, durationNs }: the packet begins with an Ethernet header.
static Napi::Value testRun(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  Napi::Buffer<uint8_t> packet = bytesArg(info, 1);
  Napi::Array cb = info[2].As<Napi::Array>();
  struct __sk_buff context = {};
  for (uint32_t i = 0; i < 5 && i < cb.Length(); i++) context.cb[i] = cb.Get(i).As<Napi::Number>().Uint32Value();
  LIBBPF_OPTS(bpf_test_run_opts, options);
  options.data_in = packet.Data();
  options.data_size_in = packet.Length();
  options.ctx_in = &context;
  options.ctx_size_in = sizeof(context);
  options.repeat = uintArg(info, 3);
  if (bpf_prog_test_run_opts(intArg(info, 0), &options) != 0) throw failure(env, errno, "BPF_PROG_TEST_RUN");
  Napi::Object result = Napi::Object::New(env);
  result.Set("returned", options.retval);
  result.Set("durationNs", options.duration);
  return result;
}

// testRunBatch(fds[], packets, steps) → results: several runs, one after another, in one call. `packets` are the
// packets in sequence, each with its Ethernet header. A step is four u32: index into fds, length of its packet, cb[0],
// cb[1]; a result is four u32: the program's return value, and cb[2], cb[3] and cb[4] after the run.
static Napi::Value testRunBatch(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  Napi::Array fds = info[0].As<Napi::Array>();
  Napi::Buffer<uint8_t> packets = bytesArg(info, 1), steps = bytesArg(info, 2);
  size_t count = steps.Length() / 16, at = 0;
  Napi::Buffer<uint8_t> results = Napi::Buffer<uint8_t>::New(env, count * 16);
  for (size_t i = 0; i < count; i++) {
    uint32_t step[4];
    memcpy(step, steps.Data() + i * 16, sizeof(step));
    if (step[0] >= fds.Length() || step[1] > packets.Length() - at) throw failure(env, EINVAL, "testRunBatch");
    struct __sk_buff context = {}, left = {};
    context.cb[0] = step[2];
    context.cb[1] = step[3];
    LIBBPF_OPTS(bpf_test_run_opts, options);
    options.data_in = packets.Data() + at;
    options.data_size_in = step[1];
    options.ctx_in = &context;
    options.ctx_size_in = sizeof(context);
    options.ctx_out = &left;
    options.ctx_size_out = sizeof(left);
    options.repeat = 1;
    if (bpf_prog_test_run_opts(fds.Get(step[0]).As<Napi::Number>().Int32Value(), &options) != 0)
      throw failure(env, errno, "BPF_PROG_TEST_RUN");
    uint32_t result[4] = {options.retval, left.cb[2], left.cb[3], left.cb[4]};
    memcpy(results.Data() + i * 16, result, sizeof(result));
    at += step[1];
  }
  return results;
}

// runEach(fd, records, size) → the number of runs with a return value other than 0: runs a syscall program once for
// each record.
static Napi::Value runEach(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  int fd = intArg(info, 0);
  Napi::Buffer<uint8_t> records = bytesArg(info, 1);
  uint32_t size = uintArg(info, 2), others = 0;
  for (size_t at = 0; at + size <= records.Length(); at += size) {
    LIBBPF_OPTS(bpf_test_run_opts, options);
    options.ctx_in = records.Data() + at;
    options.ctx_size_in = size;
    if (bpf_prog_test_run_opts(fd, &options) != 0) throw failure(env, errno, "BPF_PROG_RUN");
    others += options.retval != 0;
  }
  return Napi::Number::New(env, others);
}

void initObject(Napi::Env env, Napi::Object exports) {
  libbpf_set_print(capture);
  exports.Set("loadObject", Napi::Function::New(env, loadObject));
  exports.Set("programInfo", Napi::Function::New(env, programInfo));
  exports.Set("programById", Napi::Function::New(env, programById));
  exports.Set("runEach", Napi::Function::New(env, runEach));
  exports.Set("testRun", Napi::Function::New(env, testRun));
  exports.Set("testRunBatch", Napi::Function::New(env, testRunBatch));
}

}  // namespace ztap
