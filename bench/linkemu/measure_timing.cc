// Delay, jitter and outages: probes one at a time.
#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "absl/time/clock.h"
#include "bench/linkemu/ceiling.h"
#include "bench/linkemu/load_generator.h"
#include "bench/linkemu/measurements.h"
#include "bench/linkemu/probes.h"
#include "bench/linkemu/thread_priority.h"
#include "runtime/cli/report.h"
#include "transport/base/rng.h"
#include "transport/base/status.h"

namespace perigee::linkemu {
namespace {

constexpr int kA = 0;
constexpr int kB = 1;
constexpr uint32_t kProbeBytes = 128;
constexpr double kLinkRate = 125e6;  // where no load says otherwise: 1 Gbit/s
// Single probes; of the load only what is counted.
constexpr auto kDepth = ProbeSockets::Depth::kFirsts;
constexpr absl::Duration kQuiet = absl::Milliseconds(50);
constexpr absl::Duration kPatience = absl::Seconds(10);
constexpr int kOutageProbes = 300;  // each way and phase
constexpr absl::Duration kOutageSpacing = absl::Microseconds(200);

absl::StatusOr<Testbed> Mesh(const Link& link, uint64_t seed) {
  ChannelSettings channel{.link = link};
  channel.queue_bytes_max = 256 << 20;
  PERIGEE_ASSIGN_OR_RETURN(Network network, MakeTopology("mesh", kMeshNodes, channel));
  return Testbed::Create(std::move(network), seed);
}

TimingFigures FiguresOf(std::vector<double> extra_us) {
  TimingFigures figures{.probes = extra_us.size()};
  if (extra_us.empty()) return figures;
  figures.delay_error_us = Quantile(extra_us, 0.5);
  for (double& extra : extra_us) extra = std::abs(extra);
  figures.jitter_us_p50 = Quantile(extra_us, 0.5);
  figures.jitter_us_p99 = Quantile(extra_us, 0.99);
  figures.jitter_us_max = Quantile(extra_us, 1);
  return figures;
}

// One direction of a link with an outage in the middle.
struct Way {
  int from = 0;
  int to = 0;
  // Of every probe: was the way down, and did the probe arrive?
  std::vector<bool> down;
  std::vector<bool> arrived;
};

bool AsExpected(const std::vector<Way>& ways) {
  return std::all_of(ways.begin(), ways.end(), [](const Way& way) {
    for (size_t i = 0; i < way.down.size(); ++i) {
      if (way.arrived[i] == way.down[i]) return false;
    }
    return true;
  });
}

// Sends on both ways for a while, and returns when the emulator has fetched all of it.
absl::Status SendBothWays(Testbed& testbed, bool down, std::vector<Way>* ways) {
  for (int i = 0; i < kOutageProbes; ++i) {
    for (Way& way : *ways) {
      way.down.push_back(down && way.from == kA);
      way.arrived.push_back(false);
      PERIGEE_RETURN_IF_ERROR(
          testbed.sockets.Send({.from = way.from, .to = way.to, .first = way.down.size() - 1}));
    }
    absl::SleepFor(kOutageSpacing);
  }
  const absl::Time end = absl::Now() + kPatience;
  while (testbed.PacketsFetched() < 2 * (*ways)[0].down.size()) {
    if (absl::Now() > end) return absl::DeadlineExceededError("the emulator does not fetch probes");
    absl::SleepFor(kOutageSpacing);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TimingFigures> MeasureTiming(const TimingSettings& settings) {
  const double rate =
      settings.load_bytes_per_second > 0 ? settings.load_bytes_per_second / 0.98 : kLinkRate;
  PERIGEE_ASSIGN_OR_RETURN(Testbed testbed, Mesh({rate, settings.delay}, settings.seed));
  std::unique_ptr<LoadGenerator> load;
  if (settings.load_bytes_per_second > 0) {
    load = std::make_unique<LoadGenerator>(
        testbed.sockets, LoadGenerator::Settings{.links = LinksBut(testbed.network, kA, kB),
                                                 .bytes_per_second = settings.load_bytes_per_second,
                                                 .catch_up_max = absl::Milliseconds(1)});
  }
  const absl::Duration ideal = settings.delay + absl::Seconds(kProbeBytes / rate);
  std::vector<double> extra_us;
  const auto OnProbe = [&](const Probe& probe, absl::Time received) {
    if (probe.from != kA || probe.to != kB) return;
    const absl::Time sent = absl::FromUnixNanos(probe.sent_ns);
    extra_us.push_back(absl::ToDoubleMicroseconds(received - sent - ideal));
  };
  // Else a probe would wait for the processor between its time stamp and its sending.
  const ThreadPriority priority(ThreadPriority::Rank::kProbe);
  Rng rng(settings.seed);
  const absl::Time end = absl::Now() + settings.length;
  for (uint64_t number = 0; absl::Now() < end; ++number) {
    PERIGEE_RETURN_IF_ERROR(
        testbed.sockets.Send({.from = kA, .to = kB, .first = number, .packet_bytes = kProbeBytes}));
    // At random times, so that nothing periodic stays hidden.
    const absl::Time next = absl::Now() + absl::Milliseconds(rng.Exponential(1));
    while (absl::Now() < next) {
      testbed.sockets.Receive(kDepth, OnProbe);
      absl::SleepFor(std::min(next - absl::Now(), absl::Microseconds(500)));
    }
  }
  if (load) PERIGEE_RETURN_IF_ERROR(load->Stop());
  testbed.sockets.ReceiveUntilQuiet(kQuiet, kDepth, OnProbe);
  return FiguresOf(std::move(extra_us));
}

absl::StatusOr<bool> MeasureOutage(uint64_t seed) {
  PERIGEE_ASSIGN_OR_RETURN(Testbed testbed, Mesh({kLinkRate, absl::Milliseconds(5)}, seed));
  std::vector<Way> ways = {{.from = kA, .to = kB}, {.from = kB, .to = kA}};
  for (const bool down : {false, true, false}) {
    LinkChange change;
    change.down = down;
    PERIGEE_RETURN_IF_ERROR(testbed.Change(kA, kB, change));
    PERIGEE_RETURN_IF_ERROR(SendBothWays(testbed, down, &ways));
  }
  const absl::Time end = absl::Now() + kPatience;
  do {
    testbed.sockets.ReceiveUntilQuiet(kQuiet, kDepth, [&](const Probe& probe, absl::Time) {
      ways[probe.from].arrived[probe.number] = true;
    });
  } while (!AsExpected(ways) && absl::Now() < end);
  return AsExpected(ways);
}

}  // namespace perigee::linkemu
