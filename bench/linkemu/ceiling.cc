#include "bench/linkemu/ceiling.h"

#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "bench/linkemu/load_generator.h"
#include "bench/linkemu/probes.h"
#include "bench/linkemu/thread_priority.h"
#include "runtime/cli/quantity.h"
#include "runtime/version.h"
#include "transport/base/status.h"

namespace perigee::linkemu {
namespace {

// A single packet takes 6 us (100 bytes) to 12 us (1400 bytes) of the thread, a byte of a full
// super-packet 0.65 ns: bench/linkemu/README.md.
constexpr double kPieceBytes = 16'000;
constexpr double kSuperPacketBytes = 65'536;
constexpr double kWarnShare = 0.8;
constexpr absl::Duration kLatenessMax = absl::Milliseconds(1);
constexpr absl::Duration kDelay = absl::Milliseconds(1);
constexpr absl::Duration kQuiet = absl::Milliseconds(30);
// The links are offered a little less than they can carry, so that what is lost is the emulator's.
constexpr double kOffered = 0.98;
constexpr uint64_t kTrialQueueBytes = 256 << 20;
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int kTriesPerRate = 3;  // others use the machine too

// Carries `bytes_per_second` on every link for a while. True when the emulator kept up.
absl::StatusOr<bool> Try(Testbed& testbed, double bytes_per_second, absl::Duration length) {
  LinkChange change;
  change.bytes_per_second = bytes_per_second;
  PERIGEE_RETURN_IF_ERROR(testbed.Change(Emulator::kAny, Emulator::kAny, change));
  testbed.emulator->ResetLateness();
  const uint64_t dropped_before = testbed.DeviceDropped();
  constexpr auto kFirsts = ProbeSockets::Depth::kFirsts;
  const auto Ignore = [](const Probe&, absl::Time) {};
  LoadGenerator load(testbed.sockets, {.links = LinksOf(testbed.network),
                                       .bytes_per_second = kOffered * bytes_per_second});
  uint64_t received = testbed.sockets.ReceiveFor(length, kFirsts, Ignore);
  PERIGEE_RETURN_IF_ERROR(load.Stop());
  received += testbed.sockets.ReceiveUntilQuiet(kQuiet, kFirsts, Ignore);
  const bool complete = received == load.packets_per_link() * kMeshLinks;
  const bool prompt = testbed.emulator->Figures().lateness.Quantile(0.99) <= kLatenessMax;
  const bool kept_pace = load.behind() < length / 50;
  return complete && prompt && kept_pace && testbed.DeviceDropped() == dropped_before;
}

absl::StatusOr<bool> Passes(Testbed& testbed, double bytes_per_second, absl::Duration length) {
  for (int i = 0; i < kTriesPerRate; ++i) {
    PERIGEE_ASSIGN_OR_RETURN(const bool passed, Try(testbed, bytes_per_second, length));
    if (passed) return true;
  }
  return false;
}

double LinkLoad(double rate) {
  if (rate <= 0) return kInfinity;
  const double span = absl::ToDoubleSeconds(Emulator::Options().piece_span);
  const double pieces =
      std::min(rate / static_cast<double>(kMtuBytes), std::max(1 / span, rate / kSuperPacketBytes));
  return rate + kPieceBytes * pieces;
}

// The rate per link of the full mesh that has this load: the load grows with the rate.
double RateOfLoad(double load) {
  double low = 0;
  double high = load / kMeshLinks;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (kMeshLinks * LinkLoad(middle) < load ? low : high) = middle;
  }
  return high;
}

std::string Folder() {
  const char* const cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && *cache != '\0') return cache;
  const char* const home = std::getenv("HOME");
  return home == nullptr ? "" : absl::StrCat(home, "/.cache");
}

std::string Path() { return Folder() + "/perigee/linkemu-ceiling.json"; }

// What a measurement is valid for.
nlohmann::json Machine() {
  utsname system{};
  uname(&system);
  return {{"kernel", system.release},
          {"host", system.nodename},
          {"cores", std::thread::hardware_concurrency()},
          {"root", geteuid() == 0},
          {"version", kVersion}};
}

}  // namespace

absl::StatusOr<double> MeasureCeiling(const CeilingSearch& search) {
  ChannelSettings channel{.link = {search.first_bytes_per_second, kDelay}};
  channel.queue_bytes_max = kTrialQueueBytes;
  PERIGEE_ASSIGN_OR_RETURN(Network network, MakeTopology("mesh", kMeshNodes, channel));
  PERIGEE_ASSIGN_OR_RETURN(Testbed testbed, Testbed::Create(std::move(network), 1));
  // What the emulator can do, not what others happen to leave of the machine.
  const ThreadPriority priority(ThreadPriority::Rank::kProbe);
  double passed = 0;
  double failed = search.first_bytes_per_second;
  while (failed <= search.last_bytes_per_second) {
    PERIGEE_ASSIGN_OR_RETURN(const bool carried, Passes(testbed, failed, search.trial));
    if (!carried) break;
    passed = failed;
    failed *= 2;
  }
  for (int i = 0; passed > 0 && i < search.refinements; ++i) {
    const double middle = (passed + failed) / 2;
    PERIGEE_ASSIGN_OR_RETURN(const bool carried, Passes(testbed, middle, search.trial));
    (carried ? passed : failed) = middle;
  }
  return passed * kOffered;
}

double NetworkLoad(const Network& network) {
  double load = 0;
  for (const LinkSettings& link : network.links) {
    double fastest = link.windows.empty() ? LinkLoad(link.channel.link.bytes_per_second) : 0;
    for (const LinkWindow& window : link.windows) {
      fastest = std::max(fastest, LinkLoad(window.link.bytes_per_second));
    }
    load += fastest;
  }
  return load;
}

double CeilingLoad(double bytes_per_second_per_link) {
  return bytes_per_second_per_link > 0 ? kMeshLinks * LinkLoad(bytes_per_second_per_link) : 0;
}

std::optional<double> RememberedCeiling() {
  std::ifstream file(Path());
  const nlohmann::json read = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!read.is_object() || read.value("machine", nlohmann::json()) != Machine()) return {};
  const double ceiling = read.value("bytes_per_second_per_link", 0.0);
  if (!(ceiling > 0)) return std::nullopt;
  return ceiling;
}

// A cache that cannot be written is measured again next time.
void RememberCeiling(double bytes_per_second_per_link) {
  mkdir(Folder().c_str(), 0755);
  mkdir((Folder() + "/perigee").c_str(), 0755);
  const std::string next = absl::StrCat(Path(), ".", getpid());
  {
    std::ofstream file(next);
    const nlohmann::json content = {{"bytes_per_second_per_link", bytes_per_second_per_link},
                                    {"machine", Machine()}};
    file << content.dump(2) << "\n";
  }
  if (std::rename(next.c_str(), Path().c_str()) != 0) std::remove(next.c_str());
}

absl::Status CheckCeiling(const Network& network) {
  const double load = NetworkLoad(network);
  if (std::isinf(load)) return absl::OkStatus();
  double ceiling = RememberedCeiling().value_or(0);
  if (CeilingLoad(ceiling) < load / kWarnShare) {
    const CeilingSearch full;
    const double enough =
        std::max(RateOfLoad(load / kWarnShare) / kOffered, full.first_bytes_per_second);
    double measured = 0;
    if (enough <= full.last_bytes_per_second) {
      PERIGEE_ASSIGN_OR_RETURN(measured, MeasureCeiling({.first_bytes_per_second = enough,
                                                         .last_bytes_per_second = enough,
                                                         .refinements = 0}));
    }
    if (measured == 0) {
      std::fprintf(stderr, "perigee-linkemu: measuring what this machine can carry\n");
      PERIGEE_ASSIGN_OR_RETURN(measured, MeasureCeiling({}));
    }
    ceiling = std::max(measured, ceiling);
    if (ceiling > 0) RememberCeiling(ceiling);
  }
  if (ceiling == 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("this machine does not carry even ", kMeshLinks, " links of ",
                     FormatRate(CeilingSearch().first_bytes_per_second),
                     " at once; free it of other work, or accept what comes with --above-ceiling"));
  }
  const double share = load / CeilingLoad(ceiling);
  const std::string what = absl::StrCat(
      network.links.size(), " links that together ask for ", std::ceil(100 * share),
      " % of what this machine can carry (", kMeshLinks, " links of ", FormatRate(ceiling), ")");
  if (share > 1) {
    return absl::FailedPreconditionError(
        absl::StrCat(what, "; lower --rate, use fewer links, or accept it with --above-ceiling"));
  }
  if (share > kWarnShare) std::fprintf(stderr, "perigee-linkemu: warning: %s\n", what.c_str());
  return absl::OkStatus();
}

}  // namespace perigee::linkemu
