// SPDX-License-Identifier: Apache-2.0
// Sockets: who listens in a network namespace, from the kernel's socket diagnosis (sock_diag(7)).
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include <vector>

#include "arguments.h"
#include "namespace.h"
#include "parts.h"

namespace ztap {

// States of the kernel's sockets: TCP and SCTP listen, and a UDP socket that is bound and not connected is closed.
static constexpr int STATE_CLOSE = 7, STATE_LISTEN = 10;
static constexpr int REPLY_SECONDS = 5;
static constexpr size_t MOST_SOCKETS = 65536;

struct Listener {
  uint8_t protocol;
  uint16_t port;
  uint64_t cgroup;
};

struct Search : Namespace {
  std::vector<Listener> found;
  bool isTooLarge = false;
};

static bool isLoopback(const inet_diag_msg &socket) {
  const uint32_t *address = socket.id.idiag_src;
  if (socket.idiag_family == AF_INET) return (ntohl(address[0]) >> 24) == 127;
  return address[0] == 0 && address[1] == 0 &&
         ((address[2] == 0 && ntohl(address[3]) == 1) || (ntohl(address[2]) == 0xffff && (ntohl(address[3]) >> 24) == 127));
}

static void add(Search &search, uint8_t protocol, const inet_diag_msg &socket, int length) {
  if (isLoopback(socket)) return;
  if (search.found.size() >= MOST_SOCKETS) {
    search.isTooLarge = true;
    return;
  }
  Listener one = {protocol, ntohs(socket.id.idiag_sport), 0};
  auto *attribute = reinterpret_cast<const rtattr *>(&socket + 1);
  for (; RTA_OK(attribute, length); attribute = RTA_NEXT(attribute, length))
    if (attribute->rta_type == INET_DIAG_CGROUP_ID && RTA_PAYLOAD(attribute) == sizeof(one.cgroup))
      memcpy(&one.cgroup, RTA_DATA(attribute), sizeof(one.cgroup));
  if (one.cgroup != 0) search.found.push_back(one);
}

// Reads the answer of one dump. Returns whether it was complete; a protocol that this kernel does not have has no sockets.
static bool readDump(Search &search, int fd, uint8_t protocol) {
  alignas(nlmsghdr) char buffer[32768];
  for (;;) {
    ssize_t size = recv(fd, buffer, sizeof(buffer), 0);
    if (size < 0) return false;
    int rest = size;
    for (auto *header = reinterpret_cast<nlmsghdr *>(buffer); NLMSG_OK(header, unsigned(rest)); header = NLMSG_NEXT(header, rest)) {
      if (header->nlmsg_type == NLMSG_DONE) return true;
      if (header->nlmsg_type == NLMSG_ERROR) {
        auto *error = static_cast<nlmsgerr *>(NLMSG_DATA(header));
        errno = -error->error;
        return error->error == -ENOENT;
      }
      if (header->nlmsg_type != SOCK_DIAG_BY_FAMILY) continue;
      auto *socket = static_cast<inet_diag_msg *>(NLMSG_DATA(header));
      add(search, protocol, *socket, header->nlmsg_len - NLMSG_LENGTH(sizeof(*socket)));
    }
  }
}

// Runs in the namespace.
static void searchHere(Search &search) {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
  if (fd < 0) {
    search.fail(errno, "opening a socket of NETLINK_SOCK_DIAG");
    return;
  }
  // The kernel answers at once; a lost answer must not hold the thread.
  timeval patience = {REPLY_SECONDS, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  for (uint8_t protocol : {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP}) {
    for (uint8_t family : {AF_INET, AF_INET6}) {
      struct {
        nlmsghdr header;
        inet_diag_req_v2 request;
      } message = {};
      message.header.nlmsg_len = sizeof(message);
      message.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
      message.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
      message.request.sdiag_family = family;
      message.request.sdiag_protocol = protocol;
      message.request.idiag_states = 1u << (protocol == IPPROTO_UDP ? STATE_CLOSE : STATE_LISTEN);
      if (send(fd, &message, sizeof(message), 0) == sizeof(message) && readDump(search, fd, protocol)) continue;
      search.fail(errno, "reading the sockets that listen");
      close(fd);
      return;
    }
  }
  close(fd);
  // A part of them would look like all: whoever opens so many could hide those of others.
  if (search.isTooLarge) search.fail(E2BIG, "reading the sockets that listen");
}

class SearchWorker : public Napi::AsyncWorker {
 public:
  SearchWorker(Napi::Env env, std::string path)
      : Napi::AsyncWorker(env), deferred(Napi::Promise::Deferred::New(env)) {
    search_.path = std::move(path);
  }
  void Execute() override {
    runIn(search_, [&] { searchHere(search_); });
  }
  void OnOK() override {
    Napi::Env env = Env();
    if (search_.error != 0) return deferred.Reject(failure(env, search_.error, search_.what).Value());
    if (!search_.isThere) return deferred.Resolve(env.Null());
    Napi::Array list = Napi::Array::New(env, search_.found.size());
    for (size_t at = 0; at < search_.found.size(); at++) {
      const Listener &one = search_.found[at];
      Napi::Object entry = Napi::Object::New(env);
      entry.Set("protocol", uint32_t(one.protocol));
      entry.Set("port", uint32_t(one.port));
      entry.Set("cgroup", Napi::BigInt::New(env, one.cgroup));
      list.Set(at, entry);
    }
    deferred.Resolve(list);
  }
  Napi::Promise::Deferred deferred;

 private:
  Search search_;
};

// listening(path of a network namespace) → promise of [{ protocol, port, cgroup }]; null if the namespace is gone. Without sockets that
// are bound to loopback addresses.
static Napi::Value listening(const Napi::CallbackInfo &info) {
  auto *worker = new SearchWorker(info.Env(), textArg(info, 0));
  worker->Queue();
  return worker->deferred.Promise();
}

void initSockets(Napi::Env env, Napi::Object exports) { exports.Set("listening", Napi::Function::New(env, listening)); }

}  // namespace ztap
