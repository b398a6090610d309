#include "tests/runtime/sim/chaos_world.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

ClusterClocks DrawClocks(uint32_t nodes, Rng rng) {
  ClusterClocks clocks;
  if (rng.Bernoulli(0.3)) return clocks;
  const auto some = [&] { return absl::Milliseconds(rng.Between(-200, 200)); };
  clocks.coordinator = some();
  for (uint32_t node = 0; node < nodes; ++node) clocks.nodes[NodeId(node)] = some();
  const absl::Duration wrong = absl::Hours(rng.Bernoulli(0.5) ? 1 : -1);
  const auto whose = static_cast<uint32_t>(rng.Below(2 * nodes));
  (whose < nodes ? clocks.nodes[NodeId(whose)] : clocks.coordinator) = wrong;
  return clocks;
}

std::string ToString(const ClusterClocks& clocks) {
  std::string text = absl::StrCat(", clocks ", absl::FormatDuration(clocks.coordinator));
  for (const auto& [node, ahead] : clocks.nodes) {
    absl::StrAppend(&text, " ", absl::FormatDuration(ahead));
  }
  return text;
}

// Most worlds are small: what they cost grows faster than the square of their nodes.
constexpr double kLargeShare = 0.3;
constexpr absl::Duration kLargeDelayMax = absl::Milliseconds(10);  // a ring of 40 takes 78 of them
constexpr absl::Duration kLargeFaultsForMax = absl::Seconds(6);

uint32_t DrawNodes(Rng& rng) {
  if (!rng.Bernoulli(kLargeShare)) return static_cast<uint32_t>(rng.Between(2, kSmallNodesMax));
  return static_cast<uint32_t>(rng.Between(kSmallNodesMax + 1, kNodesMax));
}

}  // namespace

ChaosWorld DrawWorld(Rng& rng) {
  ChaosWorld world;
  world.nodes = DrawNodes(rng);
  world.founders = world.nodes;
  if (world.nodes > 2 && rng.Bernoulli(0.4)) {
    world.founders = static_cast<uint32_t>(rng.Between(2, world.nodes));
  }
  constexpr int kDelayMs[] = {0, 1, 5, 20, 50, 150};
  constexpr double kLoss[] = {0, 0, 0.001, 0.01, 0.05, 0.2};
  constexpr double kMegabytesPerSecond[] = {0, 2, 12.5, 125};
  world.delay_max = absl::Milliseconds(kDelayMs[rng.Below(6)]);
  world.faults_for = absl::Seconds(3 + rng.Unit() * 12);
  world.fault_every = absl::Milliseconds(rng.Between(200, 2000));
  ChannelSettings& channel = world.channel;
  channel.link.bytes_per_second = 1e6 * kMegabytesPerSecond[rng.Below(4)];
  channel.loss = kLoss[rng.Below(6)];
  if (rng.Bernoulli(0.3)) channel.burst_mean = absl::Milliseconds(rng.Between(1, 50));
  if (rng.Bernoulli(0.4)) channel.reorder = rng.Unit() * 0.1;
  channel.reorder_delay_max = absl::Milliseconds(rng.Between(1, 30));
  if (rng.Bernoulli(0.4)) channel.duplicate = rng.Unit() * 0.1;
  if (rng.Bernoulli(0.3)) channel.bit_flip = rng.Unit() * 0.02;
  world.doomed = rng.Bernoulli(0.05);
  world.coordinator_stays_away = rng.Bernoulli(0.3);
  world.clocks = DrawClocks(world.nodes, Rng(Rng(rng).Next()));
  world.ends_cut = rng.Bernoulli(0.2);
  if (world.nodes > kSmallNodesMax) {
    world.delay_max = std::min(world.delay_max, kLargeDelayMax);
    world.faults_for = std::min(world.faults_for, kLargeFaultsForMax);
  }
  return world;
}

ContactPlan DrawPlan(const ChaosWorld& world, Rng& rng) {
  std::vector<DarkInterval> dark;
  if (world.nodes > 2 && rng.Bernoulli(0.25)) {
    absl::Time begins = Cluster::Start() + absl::Seconds(1) + rng.Unit() * world.faults_for / 2;
    for (int64_t i = 0; i < rng.Between(1, 3); ++i) {
      const NodeId node(static_cast<uint32_t>(rng.Below(world.nodes)));
      const absl::Time ends = begins + absl::Milliseconds(rng.Between(200, 3000));
      dark.push_back({node, begins, ends});
      begins = ends + absl::Milliseconds(rng.Between(0, 1000));
    }
  }
  // All at once: the job sleeps.
  if (dark.empty() && rng.Bernoulli(0.15)) {
    const absl::Time begins =
        Cluster::Start() + absl::Seconds(2) + rng.Unit() * world.faults_for / 2;
    for (uint32_t i = 0; i < world.nodes; ++i) {
      const absl::Time at = begins + rng.Unit() * absl::Milliseconds(300);
      dark.push_back({NodeId(i), at, at + absl::Milliseconds(rng.Between(1000, 3000))});
    }
  }
  absl::StatusOr<ContactPlan> plan = ContactPlan::Create({}, std::move(dark));
  PERIGEE_CHECK(plan.ok());
  return *std::move(plan);
}

std::string ToString(const ChaosWorld& world) {
  return absl::StrCat(world.nodes, " nodes (", world.founders, " founders), delay up to ",
                      absl::FormatDuration(world.delay_max), ", ",
                      world.channel.link.bytes_per_second / 1e6, " MB/s, loss ", world.channel.loss,
                      ", burst ", absl::FormatDuration(world.channel.burst_mean), ", reorder ",
                      world.channel.reorder, ", duplicate ", world.channel.duplicate, ", flip ",
                      world.channel.bit_flip, ", faults for ",
                      absl::FormatDuration(world.faults_for), " every ",
                      absl::FormatDuration(world.fault_every), world.doomed ? ", doomed" : "",
                      world.coordinator_stays_away ? ", coordinator stays away" : "",
                      world.durable ? ", durable coordinator" : "",
                      world.ends_cut ? ", ends with a cut" : "", ToString(world.clocks));
}

}  // namespace perigee
