// A second opinion: the same links, measured by a program that others wrote.
#include <poll.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "bench/linkemu/address_plan.h"
#include "bench/linkemu/measurements.h"
#include "bench/linkemu/node_process.h"
#include "bench/linkemu/probes.h"
#include "bench/linkemu/thread_priority.h"
#include "transport/base/status.h"

namespace perigee::linkemu {
namespace {

constexpr double kRate = 62.5e6;  // 500 Mbit/s
constexpr double kLoss = 0.01;
// Of a full packet: IPv4, TCP and its time stamp take 52 bytes.
constexpr double kTcpShare = 1448.0 / 1500.0;
constexpr absl::Duration kServerStart = absl::Milliseconds(300);
constexpr absl::Duration kSlack = absl::Seconds(10);

bool IsInstalled() {
  const char* const path = std::getenv("PATH");
  for (absl::string_view folder : absl::StrSplit(path == nullptr ? "" : path, ':')) {
    std::error_code error;
    if (std::filesystem::exists(absl::StrCat(folder, "/iperf3"), error)) return true;
  }
  return false;
}

// Runs iperf3 from node 0 to node 1 and returns its JSON.
absl::StatusOr<nlohmann::json> Iperf(const Testbed& testbed, std::vector<std::string> flags,
                                     absl::Duration length) {
  PERIGEE_ASSIGN_OR_RETURN(NodeProcess server,
                           NodeProcess::Start({.argv = {"iperf3", "-s"},
                                               .environment = {},
                                               .network_namespace = testbed.nodes[1].ns.get()}));
  absl::SleepFor(kServerStart);
  std::vector<std::string> argv = {
      "iperf3",       "-J", "-c",
      NodeAddress(1), "-t", absl::StrCat(std::max<int64_t>(1, absl::ToInt64Seconds(length)))};
  argv.insert(argv.end(), flags.begin(), flags.end());
  PERIGEE_ASSIGN_OR_RETURN(
      NodeProcess client,
      NodeProcess::Start(
          {.argv = argv, .environment = {}, .network_namespace = testbed.nodes[0].ns.get()}));
  const absl::Time end = absl::Now() + length + kSlack;
  std::string text;
  while (absl::Now() < end) {
    pollfd waiting = {client.output().get(), POLLIN, 0};
    poll(&waiting, 1, 100);
    char buffer[4096];
    const ssize_t size = read(client.output().get(), buffer, sizeof(buffer));
    if (size == 0) break;
    if (size > 0) text.append(buffer, static_cast<size_t>(size));
  }
  nlohmann::json result = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!result.is_object() || !result.contains("end") || result.contains("error")) {
    return absl::InternalError(absl::StrCat("iperf3 said: ", text.substr(0, 200)));
  }
  return result;
}

double Number(const nlohmann::json& json, const std::string& pointer) {
  const auto at = nlohmann::json::json_pointer(pointer);
  return json.contains(at) && json[at].is_number() ? json[at].get<double>() : 0;
}

}  // namespace

absl::StatusOr<std::optional<IperfFigures>> MeasureWithIperf(absl::Duration length, uint64_t seed) {
  if (!IsInstalled()) return std::nullopt;
  ChannelSettings channel{.link = {kRate, absl::Milliseconds(5)}};
  PERIGEE_ASSIGN_OR_RETURN(Network network, MakeTopology("mesh", 2, channel));
  PERIGEE_ASSIGN_OR_RETURN(Testbed testbed, Testbed::Create(std::move(network), seed));
  const ThreadPriority priority(ThreadPriority::Rank::kProbe);  // of its processes
  IperfFigures figures{.loss_asked = kLoss};
  PERIGEE_ASSIGN_OR_RETURN(const nlohmann::json tcp, Iperf(testbed, {"-O", "1"}, length));
  figures.tcp_fraction = Number(tcp, "/end/sum_received/bits_per_second") / (8 * kRate * kTcpShare);
  LinkChange change;
  change.loss = kLoss;
  PERIGEE_RETURN_IF_ERROR(testbed.Change(0, 1, change));
  PERIGEE_ASSIGN_OR_RETURN(const nlohmann::json udp,
                           Iperf(testbed, {"-u", "-b", "100M", "-l", "1400", "-w", "2M"}, length));
  figures.udp_loss = Number(udp, "/end/sum/lost_percent") / 100;
  return figures;
}

}  // namespace perigee::linkemu
