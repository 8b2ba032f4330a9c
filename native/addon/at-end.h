// SPDX-License-Identifier: Apache-2.0
// A thread that calls JavaScript must end before the environment does, since a process may exit without having closed it; and what it
// had queued by then must do no harm.
#pragma once

#include <initializer_list>
#include <memory>

#include <napi.h>

namespace ztap {

// Stops something at the end of the environment, unless it is removed before. Add it after the callback was made, so that it runs
// before the callback's own end.
template <typename Stoppable>
class AtEnd {
 public:
  AtEnd(Napi::Env env, std::shared_ptr<Stoppable> stopped) : env_(env), held_(new std::shared_ptr<Stoppable>(stopped)) {
    napi_add_env_cleanup_hook(env_, run, held_);
  }
  void remove() {
    napi_remove_env_cleanup_hook(env_, run, held_);
    delete held_;
  }

 private:
  static void run(void *data) {
    auto *held = static_cast<std::shared_ptr<Stoppable> *>(data);
    (*held)->stop();
    delete held;
  }
  napi_env env_;
  std::shared_ptr<Stoppable> *held_;
};

// Calls JavaScript for a thread. Does nothing where the environment ends: then it runs no JavaScript, although calls that were queued
// are still delivered. An error that the callback throws stays pending, and Node.js reports it.
inline void deliver(napi_env env, napi_value callback, std::initializer_list<napi_value> arguments) {
  napi_value receiver = nullptr;
  if (env == nullptr || napi_get_undefined(env, &receiver) != napi_ok) return;
  napi_call_function(env, receiver, callback, arguments.size(), arguments.begin(), nullptr);
}

}  // namespace ztap
