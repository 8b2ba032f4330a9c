// SPDX-License-Identifier: Apache-2.0
#include "parts.h"

static Napi::Object init(Napi::Env env, Napi::Object exports) {
  ztap::initObject(env, exports);
  ztap::initMaps(env, exports);
  ztap::initLinks(env, exports);
  ztap::initRing(env, exports);
  ztap::initWatch(env, exports);
  ztap::initInterfaces(env, exports);
  ztap::initSockets(env, exports);
  ztap::initSystem(env, exports);
  ztap::initFeatures(env, exports);
  return exports;
}

NODE_API_MODULE(ztap, init)
