// SPDX-License-Identifier: Apache-2.0
// Maps: whole tables in one call, single values, and the control word in shared memory.
#include <algorithm>
#include <atomic>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "arguments.h"
#include "parts.h"

namespace ztap {

static struct bpf_map_info mapInfoOf(Napi::Env env, int fd) {
  struct bpf_map_info found = {};
  uint32_t size = sizeof(found);
  if (bpf_obj_get_info_by_fd(fd, &found, &size) != 0) throw failure(env, errno, "BPF_OBJ_GET_INFO_BY_FD");
  return found;
}

static bool isPerCpu(uint32_t type) { return type == BPF_MAP_TYPE_PERCPU_ARRAY || type == BPF_MAP_TYPE_PERCPU_HASH; }

// mapInfo(fd) → { id, type, name, keySize, valueSize, maxEntries }
static Napi::Value mapInfo(const Napi::CallbackInfo &info) {
  struct bpf_map_info found = mapInfoOf(info.Env(), intArg(info, 0));
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("id", found.id);
  result.Set("type", found.type);
  result.Set("name", found.name);
  result.Set("keySize", found.key_size);
  result.Set("valueSize", found.value_size);
  result.Set("maxEntries", found.max_entries);
  return result;
}

// Returns the size of one entry's value in a system call: a per-CPU map has one value for each CPU, in sequence.
static size_t valueRoom(const struct bpf_map_info &map) {
  if (!isPerCpu(map.type)) return map.value_size;
  return size_t(map.value_size + 7) / 8 * 8 * libbpf_num_possible_cpus();
}

// mapRead(fd) → { count, keys, values }: all entries, in sequence; for a per-CPU map the values of all CPUs.
static Napi::Value mapRead(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  int fd = intArg(info, 0);
  struct bpf_map_info map = mapInfoOf(env, fd);
  std::vector<uint8_t> keys, values, token(std::max<uint32_t>(map.key_size, 8));
  size_t valueSize = valueRoom(map);
  uint32_t total = 0, room = 4096;
  bool first = true;
  for (;;) {
    keys.resize(size_t(total + room) * map.key_size);
    values.resize(size_t(total + room) * valueSize);
    uint32_t count = room;
    int error = bpf_map_lookup_batch(fd, first ? nullptr : token.data(), token.data(),
                                     keys.data() + size_t(total) * map.key_size,
                                     values.data() + size_t(total) * valueSize, &count, nullptr);
    // A hash bucket that does not fit: the kernel requests a larger buffer.
    if (error != 0 && errno == ENOSPC && room < (1u << 22)) {
      room *= 2;
      continue;
    }
    if (error != 0 && errno != ENOENT) throw failure(env, errno, "BPF_MAP_LOOKUP_BATCH");
    total += count;
    first = false;
    if (error != 0) break;
  }
  Napi::Object result = Napi::Object::New(env);
  result.Set("count", total);
  result.Set("keys", Napi::Buffer<uint8_t>::Copy(env, keys.data(), size_t(total) * map.key_size));
  result.Set("values", Napi::Buffer<uint8_t>::Copy(env, values.data(), size_t(total) * valueSize));
  return result;
}

// mapWrite(fd, keys, values): adds or replaces; in a per-CPU map every CPU gets the value. Entries before a failing one
// are written.
static void mapWrite(const Napi::CallbackInfo &info) {
  Napi::Buffer<uint8_t> keys = bytesArg(info, 1), values = bytesArg(info, 2);
  struct bpf_map_info map = mapInfoOf(info.Env(), intArg(info, 0));
  uint32_t count = keys.Length() / map.key_size;
  if (count * map.value_size != values.Length() || count * map.key_size != keys.Length())
    throw failure(info.Env(), EINVAL, "mapWrite");
  if (count == 0) return;
  const uint8_t *written = values.Data();
  std::vector<uint8_t> repeated;
  if (isPerCpu(map.type)) {
    size_t room = valueRoom(map), step = size_t(map.value_size + 7) / 8 * 8;
    repeated.resize(room * count);
    for (size_t at = 0; at < repeated.size(); at += step)
      memcpy(repeated.data() + at, values.Data() + at / room * map.value_size, map.value_size);
    written = repeated.data();
  }
  if (bpf_map_update_batch(intArg(info, 0), keys.Data(), written, &count, nullptr) != 0)
    throw failure(info.Env(), errno, std::string("BPF_MAP_UPDATE_BATCH ") + map.name);
}

// mapDelete(fd, keys): missing entries are skipped.
static void mapDelete(const Napi::CallbackInfo &info) {
  Napi::Buffer<uint8_t> keys = bytesArg(info, 1);
  struct bpf_map_info map = mapInfoOf(info.Env(), intArg(info, 0));
  uint32_t total = keys.Length() / map.key_size, done = 0;
  while (done < total) {
    uint32_t count = total - done;
    int error = bpf_map_delete_batch(intArg(info, 0), keys.Data() + size_t(done) * map.key_size, &count, nullptr);
    if (error != 0 && errno != ENOENT)
      throw failure(info.Env(), errno, std::string("BPF_MAP_DELETE_BATCH ") + map.name);
    done += count + (error != 0 ? 1 : 0);
  }
}

// mapGet(fd, key) → the value, or null. For a per-CPU map the values of all CPUs, in sequence.
static Napi::Value mapGet(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  struct bpf_map_info map = mapInfoOf(env, intArg(info, 0));
  Napi::Buffer<uint8_t> value = Napi::Buffer<uint8_t>::New(env, valueRoom(map));
  if (bpf_map_lookup_elem(intArg(info, 0), bytesArg(info, 1).Data(), value.Data()) != 0) {
    if (errno == ENOENT) return env.Null();
    throw failure(env, errno, std::string("BPF_MAP_LOOKUP_ELEM ") + map.name);
  }
  return value;
}

// mapGetMany(fd, keys) → the values in sequence, each as from mapGet. All keys must exist.
static Napi::Value mapGetMany(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  int fd = intArg(info, 0);
  Napi::Buffer<uint8_t> keys = bytesArg(info, 1);
  struct bpf_map_info map = mapInfoOf(env, fd);
  size_t count = keys.Length() / map.key_size, room = valueRoom(map);
  Napi::Buffer<uint8_t> values = Napi::Buffer<uint8_t>::New(env, count * room);
  for (size_t i = 0; i < count; i++) {
    if (bpf_map_lookup_elem(fd, keys.Data() + i * map.key_size, values.Data() + i * room) != 0)
      throw failure(env, errno, std::string("BPF_MAP_LOOKUP_ELEM ") + map.name);
  }
  return values;
}

// mapSet(fd, key, value)
static void mapSet(const Napi::CallbackInfo &info) {
  if (bpf_map_update_elem(intArg(info, 0), bytesArg(info, 1).Data(), bytesArg(info, 2).Data(), BPF_ANY) != 0)
    throw failure(info.Env(), errno, "BPF_MAP_UPDATE_ELEM");
}

// One 64-bit word of a mapped array's memory, for the duration of a scope.
class MappedWord {
 public:
  MappedWord(Napi::Env env, int fd, uint32_t offset) {
    size = sysconf(_SC_PAGESIZE);
    memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) throw failure(env, errno, "mmap of the control map");
    word = reinterpret_cast<std::atomic<uint64_t> *>(static_cast<uint8_t *>(memory) + offset);
  }
  ~MappedWord() { munmap(memory, size); }
  std::atomic<uint64_t> *word;

 private:
  void *memory;
  size_t size;
};

// wordLoad(fd, offset) → bigint
static Napi::Value wordLoad(const Napi::CallbackInfo &info) {
  MappedWord mapped(info.Env(), intArg(info, 0), uintArg(info, 1));
  return Napi::BigInt::New(info.Env(), mapped.word->load());
}

// wordStore(fd, offset, bigint): one atomic store, visible to every CPU when it returns.
static void wordStore(const Napi::CallbackInfo &info) {
  bool lossless;
  MappedWord mapped(info.Env(), intArg(info, 0), uintArg(info, 1));
  mapped.word->store(info[2].As<Napi::BigInt>().Uint64Value(&lossless));
}

// wordIncrement(fd, offset) → bigint: the new value, visible to every CPU when it returns.
static Napi::Value wordIncrement(const Napi::CallbackInfo &info) {
  MappedWord mapped(info.Env(), intArg(info, 0), uintArg(info, 1));
  return Napi::BigInt::New(info.Env(), mapped.word->fetch_add(1) + 1);
}

void initMaps(Napi::Env env, Napi::Object exports) {
  exports.Set("mapInfo", Napi::Function::New(env, mapInfo));
  exports.Set("mapRead", Napi::Function::New(env, mapRead));
  exports.Set("mapWrite", Napi::Function::New(env, mapWrite));
  exports.Set("mapDelete", Napi::Function::New(env, mapDelete));
  exports.Set("mapGet", Napi::Function::New(env, mapGet));
  exports.Set("mapGetMany", Napi::Function::New(env, mapGetMany));
  exports.Set("mapSet", Napi::Function::New(env, mapSet));
  exports.Set("wordLoad", Napi::Function::New(env, wordLoad));
  exports.Set("wordStore", Napi::Function::New(env, wordStore));
  exports.Set("wordIncrement", Napi::Function::New(env, wordIncrement));
}

}  // namespace ztap
