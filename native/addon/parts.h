// SPDX-License-Identifier: Apache-2.0
// The parts of the addon: each adds its functions to the module's exports.
#pragma once

#include <napi.h>

namespace ztap {

void initObject(Napi::Env env, Napi::Object exports);
void initMaps(Napi::Env env, Napi::Object exports);
void initLinks(Napi::Env env, Napi::Object exports);
void initRing(Napi::Env env, Napi::Object exports);
void initFeatures(Napi::Env env, Napi::Object exports);
void initWatch(Napi::Env env, Napi::Object exports);
void initInterfaces(Napi::Env env, Napi::Object exports);
void initSockets(Napi::Env env, Napi::Object exports);
void initSystem(Napi::Env env, Napi::Object exports);

}  // namespace ztap
