// Loss by number and by time: many small probes on all links of four nodes.
#include <algorithm>
#include <map>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "bench/linkemu/ceiling.h"
#include "bench/linkemu/load_generator.h"
#include "bench/linkemu/measurements.h"
#include "bench/linkemu/probes.h"
#include "bench/linkemu/thread_priority.h"
#include "transport/base/status.h"

namespace perigee::linkemu {
namespace {

constexpr uint32_t kSmallPacketBytes = 128;
constexpr auto kDepth = ProbeSockets::Depth::kEvery;
constexpr absl::Duration kQuiet = absl::Milliseconds(2);
constexpr absl::Duration kLastQuiet = absl::Milliseconds(100);
constexpr absl::Duration kPatience = absl::Seconds(10);
constexpr double kBadShare = 1.0 / 3;  // of the time of bursty links
constexpr absl::Duration kSpacing = absl::Microseconds(500);

absl::StatusOr<Testbed> Mesh(const ChannelSettings& channel, uint64_t seed) {
  PERIGEE_ASSIGN_OR_RETURN(Network network, MakeTopology("mesh", kMeshNodes, channel));
  return Testbed::Create(std::move(network), seed);
}

absl::Status CheckSockets(const Testbed& testbed) {
  if (testbed.sockets.overflowed() == 0 && testbed.DeviceDropped() == 0) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      "the selftest lost ", testbed.sockets.overflowed(), " probes at its sockets and ",
      testbed.DeviceDropped(), " at devices: run it on a quieter machine"));
}

// What one bursty link's probes saw.
struct Trace {
  std::vector<absl::Time> sent;
  std::vector<bool> arrived;
};

// Adds the lengths of the runs of lost probes that arrivals enclose: each from the middle between
// the last arrival and the first loss to the middle between the last loss and the next arrival.
void AddRuns(const Trace& trace, BurstFigures* figures, absl::Duration* total) {
  const auto Middle = [](absl::Time a, absl::Time b) { return a + (b - a) / 2; };
  size_t i = 0;
  while (i < trace.sent.size() && !trace.arrived[i]) ++i;
  while (i < trace.sent.size()) {
    while (i < trace.sent.size() && trace.arrived[i]) ++i;
    const size_t first = i;
    while (i < trace.sent.size() && !trace.arrived[i]) ++i;
    if (i == trace.sent.size()) return;
    const absl::Time begins = Middle(trace.sent[first - 1], trace.sent[first]);
    *total += Middle(trace.sent[i - 1], trace.sent[i]) - begins;
    ++figures->bursts;
  }
}

}  // namespace

absl::StatusOr<LossFigures> MeasureLoss(double loss, uint64_t packets, uint64_t seed) {
  ChannelSettings channel{.link = {0, absl::Milliseconds(1)}, .loss = loss};
  PERIGEE_ASSIGN_OR_RETURN(Testbed testbed, Mesh(channel, seed));
  const auto links = LinksOf(testbed.network);
  LossFigures figures{.loss = loss};
  std::vector<std::vector<bool>> seen(links.size());
  std::map<std::pair<int, int>, size_t> index;
  for (size_t i = 0; i < links.size(); ++i) index[links[i]] = i;
  uint64_t arrived = 0;
  bool twice = false;
  const auto OnProbe = [&](const Probe& probe, absl::Time) {
    std::vector<bool>::reference mark = seen[index[{probe.from, probe.to}]][probe.number];
    twice |= mark;
    mark = true;
    ++arrived;
  };
  for (uint64_t number = 0; figures.packets < packets; number += ProbeBurst::kCountMax) {
    for (size_t i = 0; i < links.size(); ++i) {
      seen[i].resize(number + ProbeBurst::kCountMax);
      PERIGEE_RETURN_IF_ERROR(testbed.sockets.Send({.from = links[i].first,
                                                    .to = links[i].second,
                                                    .first = number,
                                                    .count = ProbeBurst::kCountMax,
                                                    .packet_bytes = kSmallPacketBytes}));
      figures.packets += ProbeBurst::kCountMax;
    }
    // Few enough are under way to fit into the sockets of an ordinary user.
    testbed.sockets.ReceiveUntilQuiet(kQuiet, kDepth, OnProbe);
  }
  const absl::Time end = absl::Now() + kPatience;
  do {
    testbed.sockets.ReceiveUntilQuiet(kLastQuiet, kDepth, OnProbe);
  } while (arrived + testbed.PacketsLost() < figures.packets && absl::Now() < end);
  PERIGEE_RETURN_IF_ERROR(CheckSockets(testbed));
  const uint64_t lost = figures.packets - arrived;
  figures.measured = static_cast<double>(lost) / static_cast<double>(figures.packets);
  figures.counted = !twice && lost == testbed.PacketsLost();
  return figures;
}

absl::StatusOr<BurstFigures> MeasureBursts(absl::Duration mean, absl::Duration length,
                                           uint64_t seed) {
  ChannelSettings channel{.link = {0, absl::Milliseconds(1)}, .loss = kBadShare};
  channel.burst_mean = mean;
  PERIGEE_ASSIGN_OR_RETURN(Testbed testbed, Mesh(channel, seed));
  const auto links = LinksOf(testbed.network);
  std::map<std::pair<int, int>, Trace> traces;
  const auto OnProbe = [&](const Probe& probe, absl::Time) {
    traces[{probe.from, probe.to}].arrived[probe.number] = true;
  };
  const ThreadPriority priority(ThreadPriority::Rank::kProbe);
  const absl::Time begin = absl::Now();
  for (absl::Time next = begin; next < begin + length; next += kSpacing) {
    for (const auto& link : links) {
      Trace& trace = traces[link];
      trace.sent.push_back(absl::Now());
      trace.arrived.push_back(false);
      PERIGEE_RETURN_IF_ERROR(testbed.sockets.Send(
          {.from = link.first, .to = link.second, .first = trace.sent.size() - 1}));
    }
    testbed.sockets.Receive(kDepth, OnProbe);
    absl::SleepFor(next + kSpacing - absl::Now());
  }
  testbed.sockets.ReceiveUntilQuiet(kLastQuiet, kDepth, OnProbe);
  PERIGEE_RETURN_IF_ERROR(CheckSockets(testbed));
  BurstFigures figures{.asked = mean};
  absl::Duration total;
  for (const auto& [link, trace] : traces) AddRuns(trace, &figures, &total);
  if (figures.bursts == 0) return absl::DataLossError("no burst was seen: measure for longer");
  // Bursts between two probes stay unseen. Of exponential lengths, those that are seen are longer
  // by half the spacing on average.
  figures.measured = total / static_cast<int64_t>(figures.bursts) - kSpacing / 2;
  return figures;
}

}  // namespace perigee::linkemu
