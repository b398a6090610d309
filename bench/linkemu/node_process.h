// A command that runs as one node: in the node's network namespace and in a process namespace of
// its own, so that ending the node ends everything it ever started.
//
// Between the emulator and the command stands a small process, the first of the namespace. It
// forwards signals to all that live there, collects their ends, and ends when the command or the
// emulator does; with it, the kernel ends the rest. That holds after a kill -9 of the emulator too.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/linkemu/file_descriptor.h"

namespace perigee::linkemu {

class NodeProcess {
 public:
  struct Settings {
    std::vector<std::string> argv;         // argv[0] is looked up in PATH
    std::vector<std::string> environment;  // "NAME=value", added to this process's own
    int network_namespace = -1;
  };

  // Called from the thread that lives longest: the kernel ends the node with it. A command that
  // cannot be executed ends with 127 and says why on its standard error.
  static absl::StatusOr<NodeProcess> Start(const Settings& settings);
  NodeProcess(NodeProcess&&) noexcept = default;
  NodeProcess& operator=(NodeProcess&&) noexcept = default;
  ~NodeProcess();  // kills and reaps

  // To every process of the node. SIGSTOP and SIGCONT too.
  void Signal(int signal);
  void Kill();
  // The command's exit code, or 128 + the signal that ended it; nothing while it runs.
  std::optional<int> Poll();

  pid_t pid() const { return pid_.value; }     // of the process that stands between
  int exit_fd() const { return exit_.get(); }  // readable when the node has ended
  FileDescriptor& output() { return output_; }
  FileDescriptor& error() { return error_; }

 private:
  // A process id that moves: the moved-from object owns nothing.
  struct Pid {
    Pid() = default;
    explicit Pid(pid_t pid) : value(pid) {}
    Pid(Pid&& other) noexcept : value(std::exchange(other.value, -1)) {}
    Pid& operator=(Pid&& other) noexcept {
      std::swap(value, other.value);
      return *this;
    }
    pid_t value = -1;
  };
  NodeProcess() = default;

  Pid pid_;
  FileDescriptor exit_;
  FileDescriptor commands_;  // one byte per signal; the node ends when it closes
  FileDescriptor output_;
  FileDescriptor error_;
  std::optional<int> exit_code_;
};

}  // namespace perigee::linkemu
