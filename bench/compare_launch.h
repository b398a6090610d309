// One launch of a peer: all its members over the emulated links (or over loopback), the lines that
// they print, and an end after bounded time, whatever they do.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "bench/compare.h"
#include "bench/compare_peers.h"
#include "runtime/cli/child_process.h"

namespace perigee {

struct LaunchSpec {
  CompareRow row;
  ComparePoint point;
  uint32_t nodes = 4;
  double bytes_per_second = 125e6;
  bool loopback = false;          // no emulator: rate, delay and loss do not hold
  bool survives_members = false;  // a member that ends does not end the others
  uint64_t seed = 1;
  std::vector<std::string> flags;  // further ones for every member
};

// The members of one peer, running. Ends them when it goes.
class Launch {
 public:
  static absl::StatusOr<std::unique_ptr<Launch>> Start(const LaunchSpec& spec);
  ~Launch();

  using OnEvent = std::function<void(const nlohmann::json& event)>;
  // Hands on what members print until `deadline`; false when all have ended.
  bool Read(absl::Time deadline, const OnEvent& on_event);
  // Ends the members, and returns what the emulator says of the links (null without one).
  nlohmann::json Stop();

  // A folder that all members see; it goes with this object.
  const std::string& folder() const { return folder_; }
  // The process that is member `rank`, seen from this one; 0 when there is none.
  pid_t MemberPid(uint32_t rank) const;
  // The last lines that were printed to stderr.
  std::string ErrorTail() const;

 private:
  explicit Launch(std::string folder) : folder_(std::move(folder)) {}
  absl::Status StartEmulator(const LaunchSpec& spec);
  absl::Status StartLoopback(const LaunchSpec& spec);

  std::string folder_;
  std::vector<ChildProcess> processes_;
};

// Ctrl-C and SIGTERM wait from now on until somebody asks, so that nothing is left behind. Also
// removes what a comparison that was killed left.
void HoldInterrupts();
bool Interrupted();

// Starting needs namespaces and TUN devices: why it cannot be done here, or OK.
absl::Status CanEmulate();

}  // namespace perigee
