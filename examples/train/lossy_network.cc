#include "examples/train/lossy_network.h"

#include <unistd.h>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

// The emulator may measure what the machine can carry before it starts.
constexpr absl::Duration kStartDeadline = absl::Seconds(60);
constexpr absl::Duration kAskDeadline = absl::Seconds(10);
constexpr char kReady[] = "namespace ready ";
// Holds a namespace open, and says where the emulator listens.
constexpr char kHolder[] = "echo namespace ready $PERIGEE_LINKEMU; exec sleep infinity";

}  // namespace

absl::StatusOr<LossyNetwork> LossyNetwork::Start(const TrainOptions& options) {
  PERIGEE_ASSIGN_OR_RETURN(
      ChildProcess emulator,
      ChildProcess::Start({SiblingProgram("perigee-linkemu"),
                           "run",
                           "--nodes",
                           absl::StrCat(options.nodes),
                           "--rate",
                           absl::StrFormat("%.0fbit", options.rate_bytes_per_second * 8),
                           "--delay",
                           absl::StrFormat("%gs", absl::ToDoubleSeconds(options.delay)),
                           "--loss",
                           absl::StrCat(options.loss),
                           "--burst-ms",
                           absl::StrCat(options.burst_ms),
                           "--seed",
                           absl::StrCat(options.seed),
                           "--coordinator",
                           kHolder,
                           "--no-prefix",
                           "--",
                           "sh",
                           "-c",
                           kHolder}));
  LossyNetwork network(std::move(emulator));
  std::string control;
  uint32_t ready = 0;
  ReadLines({&network.emulator_}, absl::Now() + kStartDeadline,
            [&](size_t, const std::string& line) {
              const std::vector<std::string> parts = absl::StrSplit(line, kReady);
              if (parts.size() != 2) return true;
              control = parts[1];
              return ++ready <= options.nodes;
            });
  if (ready <= options.nodes) {
    return absl::UnavailableError(absl::StrCat("--netns: perigee-linkemu made ", ready, " of ",
                                               options.nodes + 1,
                                               " namespaces: what it said is above"));
  }
  PERIGEE_RETURN_IF_ERROR(network.ReadPlaces(control));
  return network;
}

absl::Status LossyNetwork::ReadPlaces(const std::string& control) {
  PERIGEE_ASSIGN_OR_RETURN(
      ChildProcess ask, ChildProcess::Start({SiblingProgram("perigee-linkemu"), "set", "--control",
                                             control, "status"}));
  const std::string output = ReadOutput(ask, absl::Now() + kAskDeadline);
  const nlohmann::json status = nlohmann::json::parse(output, nullptr, /*allow_exceptions=*/false);
  if (!status.is_object() || !status.contains("nodes")) {
    return absl::UnavailableError(
        absl::StrCat("--netns: perigee-linkemu at ", control, " does not answer"));
  }
  for (const auto& node : status["nodes"]) {
    nodes_.push_back({.address = node.at("address").get<std::string>(),
                      .pid = absl::StrCat(node.at("pid").get<int64_t>())});
  }
  return absl::OkStatus();
}

std::vector<std::string> LossyNetwork::Inside(uint32_t node,
                                              const std::vector<std::string>& argv) const {
  std::vector<std::string> inside = {"/usr/bin/nsenter", "--target", nodes_[node].pid, "--net"};
  if (geteuid() != 0) inside.insert(inside.end(), {"--user", "--preserve-credentials"});
  inside.push_back("--");
  inside.insert(inside.end(), argv.begin(), argv.end());
  return inside;
}

}  // namespace perigee
