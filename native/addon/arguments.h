// SPDX-License-Identifier: Apache-2.0
// Helpers of all parts: errors that carry errno, and the reading of arguments.
// The addon is glue between JavaScript and the kernel: file descriptors, buffers, no policy.
#pragma once

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>

#include <napi.h>

namespace ztap {

// Returns "EPERM" for EPERM; null for a number without a name.
const char *errorName(int error);

// Returns a JavaScript error with `errno` (negative, like Node's own), `code` ("EPERM"), `syscall` and, for the
// verifier, `log`.
inline Napi::Error failure(Napi::Env env, int error, const std::string &what, const std::string &log = "") {
  error = error < 0 ? -error : error;
  const char *name = errorName(error);
  Napi::Error thrown = Napi::Error::New(env, what + ": " + strerror(error));
  thrown.Set("errno", Napi::Number::New(env, -error));
  thrown.Set("code", Napi::String::New(env, name ? name : "UNKNOWN"));
  thrown.Set("syscall", Napi::String::New(env, what));
  if (!log.empty()) thrown.Set("log", Napi::String::New(env, log));
  return thrown;
}

inline int32_t intArg(const Napi::CallbackInfo &info, size_t index) {
  return info[index].As<Napi::Number>().Int32Value();
}

inline uint32_t uintArg(const Napi::CallbackInfo &info, size_t index) {
  return info[index].As<Napi::Number>().Uint32Value();
}

inline std::string textArg(const Napi::CallbackInfo &info, size_t index) {
  return info[index].As<Napi::String>().Utf8Value();
}

inline Napi::Buffer<uint8_t> bytesArg(const Napi::CallbackInfo &info, size_t index) {
  return info[index].As<Napi::Buffer<uint8_t>>();
}

}  // namespace ztap
