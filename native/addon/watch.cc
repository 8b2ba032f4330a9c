// SPDX-License-Identifier: Apache-2.0
// Watch: reports that entries of watched folders were made or removed, and that network interfaces of this namespace or their addresses
// changed, on its own thread. A report carries nothing, and
// comes at most once in each period: a user who makes folders, however fast, costs the process one read a period. The
// kernel's queue of events is bounded, and one that overflows is a report as well.
#include <atomic>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <memory>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <system_error>
#include <thread>
#include <unistd.h>

#include "arguments.h"
#include "at-end.h"
#include "parts.h"

namespace ztap {

static constexpr int PERIOD_MS = 20;
// Without IN_MODIFY: counters of a cgroup (memory.events) change as often as its processes like.
static constexpr uint32_t EVENTS = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_ONLYDIR;

struct Watch {
  int inotifyFd = -1, routeFd = -1, stopFd = -1;
  std::thread thread;
  Napi::ThreadSafeFunction call;
  std::atomic<bool> isReported{false};
  std::unique_ptr<AtEnd<Watch>> atEnd;

  // Ends the thread. Returns false if it could not be told.
  bool stop() {
    if (!thread.joinable()) return true;
    uint64_t one = 1;
    if (write(stopFd, &one, sizeof(one)) != sizeof(one)) return false;
    thread.join();
    return true;
  }

  ~Watch() {
    if (inotifyFd >= 0) close(inotifyFd);
    if (routeFd >= 0) close(routeFd);
    if (stopFd >= 0) close(stopFd);
  }
};

static void report(std::shared_ptr<Watch> watch) {
  alignas(struct inotify_event) char events[64 * 1024];
  struct pollfd polled[3] = {{watch->stopFd, POLLIN, 0}, {watch->inotifyFd, POLLIN, 0}, {watch->routeFd, POLLIN, 0}};
  for (;;) {
    int ready = poll(polled, 3, -1);
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0 || polled[0].revents != 0) return;
    if (read(watch->inotifyFd, events, sizeof(events)) < 0 && errno != EAGAIN && errno != EINTR) return;
    // A queue that overflowed is a report as well (ENOBUFS).
    while (recv(watch->routeFd, events, sizeof(events), MSG_DONTWAIT) > 0) continue;
    if (!watch->isReported.exchange(true)) {
      auto call = [watch](Napi::Env env, Napi::Function callback) {
        watch->isReported = false;
        deliver(env, callback, {});
      };
      if (watch->call.NonBlockingCall(call) != napi_ok) return;
    }
    if (poll(polled, 1, PERIOD_MS) > 0) return;
  }
}

static std::shared_ptr<Watch> watchOf(const Napi::CallbackInfo &info) {
  return *info[0].As<Napi::External<std::shared_ptr<Watch>>>().Data();
}

// watchOpen(onChange()) → handle. Does not keep the process alive.
static Napi::Value watchOpen(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  auto watch = std::make_shared<Watch>();
  watch->inotifyFd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  if (watch->inotifyFd < 0) throw failure(env, errno, "inotify_init1");
  watch->routeFd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
  struct sockaddr_nl groups = {};
  groups.nl_family = AF_NETLINK;
  groups.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
  if (watch->routeFd < 0 || bind(watch->routeFd, reinterpret_cast<struct sockaddr *>(&groups), sizeof(groups)) != 0)
    throw failure(env, errno, "a socket for changes of network interfaces");
  watch->stopFd = eventfd(0, EFD_CLOEXEC);
  if (watch->stopFd < 0) throw failure(env, errno, "eventfd");
  watch->call = Napi::ThreadSafeFunction::New(env, info[0].As<Napi::Function>(), "ztap watch", 0, 1);
  watch->call.Unref(env);
  try {
    watch->thread = std::thread(report, watch);
  } catch (const std::system_error &error) {
    throw failure(env, error.code().value(), "starting a thread");
  }
  watch->atEnd = std::make_unique<AtEnd<Watch>>(env, watch);
  return Napi::External<std::shared_ptr<Watch>>::New(env, new std::shared_ptr<Watch>(watch),
                                                     [](Napi::Env, std::shared_ptr<Watch> *held) { delete held; });
}

// watchAdd(handle, folder) → descriptor of the watch. Adding a folder again returns the same descriptor, unless the folder
// was made again.
static Napi::Value watchAdd(const Napi::CallbackInfo &info) {
  std::string folder = textArg(info, 1);
  int descriptor = inotify_add_watch(watchOf(info)->inotifyFd, folder.c_str(), EVENTS);
  if (descriptor < 0) throw failure(info.Env(), errno, "inotify_add_watch " + folder);
  return Napi::Number::New(info.Env(), descriptor);
}

// watchRemove(handle, descriptor). The kernel has removed the watch of a removed folder itself.
static void watchRemove(const Napi::CallbackInfo &info) {
  inotify_rm_watch(watchOf(info)->inotifyFd, intArg(info, 1));
}

// watchClose(handle): no report comes after this. May be called again.
static void watchClose(const Napi::CallbackInfo &info) {
  auto watch = watchOf(info);
  if (!watch->thread.joinable()) return;
  if (!watch->stop()) throw failure(info.Env(), errno, "eventfd");
  watch->atEnd->remove();
  watch->call.Abort();
}

void initWatch(Napi::Env env, Napi::Object exports) {
  exports.Set("watchOpen", Napi::Function::New(env, watchOpen));
  exports.Set("watchAdd", Napi::Function::New(env, watchAdd));
  exports.Set("watchRemove", Napi::Function::New(env, watchRemove));
  exports.Set("watchClose", Napi::Function::New(env, watchClose));
}

}  // namespace ztap
