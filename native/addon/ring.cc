// SPDX-License-Identifier: Apache-2.0
// Ring: reads a BPF ring buffer on its own thread, which sleeps in epoll until the kernel wakes it, so that an idle
// ring costs no CPU time. One batch at a time is passed to JavaScript; until it is taken, records wait in the ring, and
// events that find the ring full are counted there as lost.
#include <condition_variable>
#include <memory>
#include <mutex>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <system_error>
#include <thread>
#include <time.h>
#include <unistd.h>
#include <vector>

#include <bpf/libbpf.h>

#include "arguments.h"
#include "at-end.h"
#include "parts.h"

namespace ztap {

struct Ring {
  struct ring_buffer *buffer = nullptr;
  int stopFd = -1, pollFd = -1;
  std::thread thread;
  Napi::ThreadSafeFunction call;
  std::mutex mutex;
  std::condition_variable taken;
  bool waiting = false, stopping = false;
  std::vector<uint8_t> batch;
  std::unique_ptr<AtEnd<Ring>> atEnd;

  // Ends the thread. Returns false if it could not be told.
  bool stop() {
    if (!thread.joinable()) return true;
    {
      std::lock_guard<std::mutex> lock(mutex);
      stopping = true;
      taken.notify_one();
    }
    uint64_t one = 1;
    if (write(stopFd, &one, sizeof(one)) != sizeof(one)) return false;
    thread.join();
    return true;
  }

  ~Ring() {
    if (buffer != nullptr) ring_buffer__free(buffer);
    if (pollFd >= 0) close(pollFd);
    if (stopFd >= 0) close(stopFd);
  }
};

// All records have the same size; the batch holds them in sequence.
static int keepRecord(void *context, void *data, size_t size) {
  Ring *ring = static_cast<Ring *>(context);
  const uint8_t *bytes = static_cast<const uint8_t *>(data);
  ring->batch.insert(ring->batch.end(), bytes, bytes + size);
  return 0;
}

// The thread: passes the content of the ring to JavaScript, then waits until it was taken, and for more.
static void follow(std::shared_ptr<Ring> ring) {
  for (;;) {
    struct epoll_event event;
    int ready = epoll_wait(ring->pollFd, &event, 1, -1);
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0 || event.data.fd == ring->stopFd) break;
    bool more = true;
    while (more) {
      ring->batch.clear();
      ring_buffer__consume(ring->buffer);
      more = !ring->batch.empty();
      if (!more) break;
      std::unique_lock<std::mutex> lock(ring->mutex);
      if (ring->stopping) return;
      ring->waiting = true;
      auto *bytes = new std::vector<uint8_t>(ring->batch);
      auto call = [](Napi::Env env, Napi::Function callback, std::vector<uint8_t> *held) {
        std::unique_ptr<std::vector<uint8_t>> owned(held);
        napi_value copy = nullptr;
        if (env == nullptr || napi_create_buffer_copy(env, owned->size(), owned->data(), nullptr, &copy) != napi_ok) return;
        deliver(env, callback, {copy});
      };
      if (ring->call.NonBlockingCall(bytes, call) != napi_ok) {
        delete bytes;
        return;
      }
      ring->taken.wait(lock, [&] { return !ring->waiting || ring->stopping; });
      if (ring->stopping) return;
    }
  }
}

static std::shared_ptr<Ring> ringOf(const Napi::CallbackInfo &info) {
  return *info[0].As<Napi::External<std::shared_ptr<Ring>>>().Data();
}

// ringOpen(mapFd, onBatch(buffer)) → handle. Does not keep the process alive.
static Napi::Value ringOpen(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  auto ring = std::make_shared<Ring>();
  ring->buffer = ring_buffer__new(intArg(info, 0), keepRecord, ring.get(), nullptr);
  if (ring->buffer == nullptr) throw failure(env, errno, "ring_buffer__new");
  ring->stopFd = eventfd(0, EFD_CLOEXEC);
  ring->pollFd = epoll_create1(EPOLL_CLOEXEC);
  if (ring->stopFd < 0 || ring->pollFd < 0) throw failure(env, errno, "epoll_create1");
  for (int fd : {ring_buffer__epoll_fd(ring->buffer), ring->stopFd}) {
    struct epoll_event event = {};
    event.events = EPOLLIN;
    event.data.fd = fd;
    if (epoll_ctl(ring->pollFd, EPOLL_CTL_ADD, fd, &event) != 0) throw failure(env, errno, "epoll_ctl");
  }
  ring->call = Napi::ThreadSafeFunction::New(env, info[1].As<Napi::Function>(), "ztap ring", 0, 1);
  ring->call.Unref(env);
  try {
    ring->thread = std::thread(follow, ring);
  } catch (const std::system_error &error) {
    throw failure(env, error.code().value(), "starting a thread");
  }
  ring->atEnd = std::make_unique<AtEnd<Ring>>(env, ring);
  return Napi::External<std::shared_ptr<Ring>>::New(env, new std::shared_ptr<Ring>(ring),
                                                   [](Napi::Env, std::shared_ptr<Ring> *held) { delete held; });
}

// ringTaken(handle): the batch was processed; the next may come.
static void ringTaken(const Napi::CallbackInfo &info) {
  auto ring = ringOf(info);
  std::lock_guard<std::mutex> lock(ring->mutex);
  ring->waiting = false;
  ring->taken.notify_one();
}

// ringClose(handle): no batch comes after this. May be called again.
static void ringClose(const Napi::CallbackInfo &info) {
  auto ring = ringOf(info);
  if (!ring->thread.joinable()) return;
  if (!ring->stop()) throw failure(info.Env(), errno, "eventfd");
  ring->atEnd->remove();
  ring->call.Abort();
}

// realTimeOffset() → bigint: nanoseconds that CLOCK_REALTIME is ahead of CLOCK_MONOTONIC, which BPF programs read.
static Napi::Value realTimeOffset(const Napi::CallbackInfo &info) {
  struct timespec real, monotonic;
  clock_gettime(CLOCK_REALTIME, &real);
  clock_gettime(CLOCK_MONOTONIC, &monotonic);
  int64_t seconds = real.tv_sec - monotonic.tv_sec;
  return Napi::BigInt::New(info.Env(), seconds * 1000000000 + (real.tv_nsec - monotonic.tv_nsec));
}

void initRing(Napi::Env env, Napi::Object exports) {
  exports.Set("ringOpen", Napi::Function::New(env, ringOpen));
  exports.Set("ringTaken", Napi::Function::New(env, ringTaken));
  exports.Set("ringClose", Napi::Function::New(env, ringClose));
  exports.Set("realTimeOffset", Napi::Function::New(env, realTimeOffset));
}

}  // namespace ztap
