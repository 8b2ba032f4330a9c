// SPDX-License-Identifier: Apache-2.0
// Work in another network namespace, on a thread of its own, which ends there: no other thread of this process ever leaves its own
// namespace, and none waits for it but the worker.
#pragma once

#include <cerrno>
#include <fcntl.h>
#include <sched.h>
#include <string>
#include <sys/stat.h>
#include <system_error>
#include <thread>
#include <unistd.h>

namespace ztap {

// A network namespace, and what became of the work there.
struct Namespace {
  std::string path;
  // Of the namespace; 0 before: any.
  uint64_t inode = 0;
  // False if it is gone, or another one.
  bool isThere = false;
  int error = 0;
  std::string what;

  void fail(int number, const std::string &doing) {
    error = number;
    what = doing;
  }
};

template <typename Act>
void runIn(Namespace &space, Act act) {
  int fd = open(space.path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    if (errno != ENOENT && errno != ESRCH) space.fail(errno, "open " + space.path);
    return;
  }
  struct stat found = {};
  if (fstat(fd, &found) == 0 && (space.inode == 0 || space.inode == found.st_ino)) {
    space.inode = found.st_ino;
    space.isThere = true;
    try {
      std::thread thread([&] {
        if (setns(fd, CLONE_NEWNET) == 0) return act();
        space.fail(errno, "entering a network namespace");
      });
      thread.join();
    } catch (const std::system_error &error) {
      space.fail(error.code().value(), "starting a thread");
    }
  }
  close(fd);
}

}  // namespace ztap
