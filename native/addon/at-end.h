// SPDX-License-Identifier: Apache-2.0
// A thread that calls JavaScript must end before the environment does: a process may exit without having closed it.
#pragma once

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

}  // namespace ztap
