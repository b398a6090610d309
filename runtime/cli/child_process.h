// Programs that run as processes of this program: benchmarks and examples with real members. A
// child ends with its parent, whatever happens to the parent.
//
//   PERIGEE_ASSIGN_OR_RETURN(ChildProcess child, ChildProcess::Start({"build/bin/perigeed",
//   "--insecure"})); ReadLines({&child}, deadline, [](size_t index, const std::string& line) { ...
//   }); child.Signal(SIGKILL);
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace perigee {

class ChildProcess {
 public:
  static constexpr size_t kLineBytesMax = 1 << 20;  // a longer line is cut

  // argv[0] is a path. Standard output is a pipe to this process; standard error is inherited, or
  // appended to `error_path`. NotFound when the program cannot be executed.
  static absl::StatusOr<ChildProcess> Start(const std::vector<std::string>& argv,
                                            const std::string& error_path = "");
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&& other) noexcept;
  ~ChildProcess();  // kills and reaps

  void Signal(int signal) const;  // nothing once it has ended
  // The exit code, or 128 + the signal that ended it; nothing while it runs.
  std::optional<int> Poll();
  // Waits; after the deadline the child is killed.
  int Wait(absl::Duration deadline);
  pid_t pid() const { return pid_; }

  // For ReadLines.
  int fd() const { return fd_; }
  // Reads what is there and appends whole lines. False at the end of the output.
  bool ReadAvailable(std::vector<std::string>* lines);

 private:
  ChildProcess(pid_t pid, int fd) : pid_(pid), fd_(fd) {}

  pid_t pid_ = -1;
  int fd_ = -1;
  std::optional<int> exit_code_;
  std::string partial_;
};

// Hands on the lines that the children print until `deadline`, or until `on_line` returns false.
// Children whose output has ended are passed over; returns at once when all have.
void ReadLines(const std::vector<ChildProcess*>& children, absl::Time deadline,
               const std::function<bool(size_t index, const std::string& line)>& on_line);

// All that a child prints until its output ends or the deadline passes.
std::string ReadOutput(ChildProcess& child, absl::Time deadline);

// The program `name` in the folder of the running program (build/bin).
std::string SiblingProgram(const std::string& name);

}  // namespace perigee
