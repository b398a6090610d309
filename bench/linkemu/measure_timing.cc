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

absl::StatusOr<Testbed> Mesh(const Link& link, uint64_t seed) {
  ChannelSettings channel{.link = link};
  channel.queue_bytes_max = 256 << 20;
  PERIGEE_ASSIGN_OR_RETURN(Network network, MakeTopology("mesh", kMeshNodes, channel));
  return Testbed::Create(std::move(network), seed);
}

double Quantile(std::vector<double>& values, double quantile) {
  const auto rank = static_cast<size_t>(std::ceil(quantile * static_cast<double>(values.size())));
  const auto at = values.begin() + static_cast<ptrdiff_t>(std::max<size_t>(rank, 1) - 1);
  std::nth_element(values.begin(), at, values.end());
  return *at;
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

// One direction of the outage.
struct Way {
  int from = 0;
  int to = 0;
  std::vector<absl::Time> sent;
  std::vector<bool> arrived;
};

// Sends on both ways every 200 us for `length`.
absl::Status SendBothWays(Testbed& testbed, absl::Duration length, std::vector<Way>* ways) {
  const absl::Time end = absl::Now() + length;
  while (absl::Now() < end) {
    for (Way& way : *ways) {
      way.sent.push_back(absl::Now());
      way.arrived.push_back(false);
      PERIGEE_RETURN_IF_ERROR(
          testbed.sockets.Send({.from = way.from, .to = way.to, .first = way.sent.size() - 1}));
    }
    testbed.sockets.Receive(kDepth, [ways](const Probe& probe, absl::Time) {
      (*ways)[probe.from].arrived[probe.number] = true;
    });
    absl::SleepFor(absl::Microseconds(200));
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
  LinkChange change;
  // The change itself happens between the two times that enclose it.
  absl::Time edges[2][2];
  for (const bool down : {true, false}) {
    PERIGEE_RETURN_IF_ERROR(SendBothWays(testbed, absl::Milliseconds(100), &ways));
    change.down = down;
    edges[down ? 0 : 1][0] = absl::Now();
    PERIGEE_RETURN_IF_ERROR(testbed.Change(kA, kB, change));
    edges[down ? 0 : 1][1] = absl::Now();
  }
  PERIGEE_RETURN_IF_ERROR(SendBothWays(testbed, absl::Milliseconds(100), &ways));
  testbed.sockets.ReceiveUntilQuiet(kQuiet, kDepth, [&](const Probe& probe, absl::Time) {
    ways[probe.from].arrived[probe.number] = true;
  });
  // What was sent just before a change may not have been fetched yet.
  constexpr absl::Duration kUnsure = absl::Milliseconds(5);
  bool ok = true;
  for (const Way& way : ways) {
    for (size_t i = 0; i < way.sent.size(); ++i) {
      const absl::Time sent = way.sent[i];
      const bool inside = way.from == kA && sent > edges[0][1] && sent < edges[1][0] - kUnsure;
      const bool outside = way.from == kB || sent < edges[0][0] - kUnsure || sent > edges[1][1];
      if ((inside && way.arrived[i]) || (outside && !way.arrived[i])) ok = false;
    }
  }
  return ok && !ways[0].sent.empty();
}

}  // namespace perigee::linkemu
