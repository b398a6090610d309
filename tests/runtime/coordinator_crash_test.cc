// A coordinator that is killed between any two records of what it writes down.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/coordinator.h"
#include "tests/runtime/durable_world.h"
#include "transport/base/rng.h"

namespace perigee {
namespace {

constexpr uint32_t kNodes = 4;

constexpr absl::Time kNotDrained = absl::InfiniteFuture();

// What a run promised to its operator: what a node's drain may be, one value when the last request
// was answered, else one more; and who was evicted.
struct Operator {
  std::map<NodeId, std::set<absl::Time>> drains;
  std::vector<std::pair<NodeId, Incarnation>> evicted;
  void Asked(NodeId node, absl::Time drain, bool answered) {
    std::set<absl::Time>& allowed = drains.try_emplace(node, std::set{kNotDrained}).first->second;
    if (answered) allowed.clear();
    allowed.insert(drain);
  }
};

absl::Time DrainOf(const CoordinatorSnapshot& snapshot, NodeId node) {
  auto it = snapshot.drains.find(node);
  return it == snapshot.drains.end() ? kNotDrained : it->second;
}

// Out of the view, or known to be evicted.
void CheckEvictions(const Coordinator& coordinator, const CoordinatorSnapshot& written,
                    const Operator& asked) {
  EXPECT_EQ(coordinator.state().evictions, written.evictions);
  for (const auto& [node, incarnation] : asked.evicted) {
    const bool in_view = written.views.back().proposal.view.Contains(node, incarnation);
    EXPECT_TRUE(!in_view || FindEviction(coordinator.state(), node, incarnation) != nullptr)
        << "node " << node.value();
  }
}

// Everything that was told to anybody had been written.
void CheckPromises(const DurableWorld& world, const Operator& asked) {
  const CoordinatorSnapshot written = world.Written();
  ASSERT_TRUE(Validate(written).ok()) << Validate(written);
  for (const auto& [epoch, at] : world.installed_at) {
    const CoordinatorSnapshot by_then = world.Written(at);
    ASSERT_FALSE(by_then.views.empty());
    EXPECT_GE(by_then.views.back().proposal.view.epoch, epoch);
  }
  for (const auto& [node, allowed] : asked.drains) {
    // One that was evicted is not known any more when the coordinator starts again.
    const auto& members = world.coordinator->state().members;
    const auto record = members.find(node);
    const bool drained = record != members.end() && record->second.drain_requested;
    const absl::Time drain = drained ? record->second.drain_at : kNotDrained;
    EXPECT_TRUE(allowed.contains(drain)) << "node " << node.value() << " " << drain;
    EXPECT_EQ(drain, DrainOf(written, node));
  }
  CheckEvictions(*world.coordinator, written, asked);
  // The views that members hold are those that are written, each once.
  for (const ViewRecord& view : written.views) {
    auto it = world.installed.find(view.proposal.view.epoch);
    if (it == world.installed.end()) continue;
    EXPECT_EQ(it->second.view, view.proposal.view);
  }
}

// Faults and requests by the seed; ends quiet, with everybody there and nobody drained.
void RunScript(DurableWorld& world, uint64_t seed, Operator& asked) {
  Rng rng(seed);
  uint64_t life = 1;
  world.Found(kNodes);
  for (int i = 0; i < 12; ++i) {
    const auto node = static_cast<uint32_t>(rng.Below(kNodes));
    const absl::Time later = kStart + absl::Hours(1 + i);
    switch (rng.Below(6)) {
      case 0:
        asked.Asked(NodeId(node), later, world.Drain(node, later));
        break;
      case 1:
        if (!world.coordinator->state().members.contains(NodeId(node))) break;
        if (!world.coordinator->state().members.at(NodeId(node)).drain_requested) break;
        asked.Asked(NodeId(node), kNotDrained, world.Undrain(node));
        break;
      case 2:
        world.Kill(node);
        world.Run(absl::Milliseconds(rng.Between(100, 400)));
        world.Add(node, ++life, kNodes);
        break;
      case 3:
        world.Close(*world.Find(node));
        world.Run(kTick);
        if (!world.Find(node)->out && !world.Find(node)->stream) world.Connect(*world.Find(node));
        break;
      case 4:
        world.RestoreCoordinator();
        break;
      case 5: {
        const Incarnation incarnation = world.Find(node)->incarnation;
        if (world.Evict(node)) asked.evicted.emplace_back(NodeId(node), incarnation);
        break;
      }
    }
    world.Run(absl::Milliseconds(rng.Between(20, 400)));
    CheckPromises(world, asked);
  }
}

// At the end all are in one view, and no job but the first was ever founded.
void CheckSettled(DurableWorld& world, uint64_t& life) {
  for (int i = 0; i < 10; ++i) {
    for (uint32_t node = 0; node < kNodes; ++node) {
      Process& process = *world.Find(node);
      if (!process.removed.empty()) {
        world.Close(process);
        world.Add(node, ++life, kNodes);
      } else if (!process.stream && process.reconnect_at == absl::InfiniteFuture()) {
        world.Connect(process);
      }
    }
    world.Run(absl::Seconds(1));
  }
  const auto& view = world.coordinator->state().view;
  if (!world.coordinator->waiting_reason().empty()) return;  // a majority was killed
  ASSERT_TRUE(view.has_value());
  EXPECT_EQ(view->VotesTotal(), kNodes);
  EXPECT_EQ(view->job, world.installed.begin()->second.view.job);
  EXPECT_TRUE(world.coordinator->state().evictions.empty());
  for (uint32_t node = 0; node < kNodes; ++node) {
    EXPECT_EQ(world.Find(node)->membership.installed()->view, *view);
  }
}

TEST(CoordinatorCrash, KilledBeforeAnyRecordItLosesNothingThatWasTold) {
  const uint64_t seed = 7;
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  for (uint64_t round = 0; round < 10; ++round) {
    size_t records = SIZE_MAX;
    for (size_t crash_at = 0; crash_at < records; ++crash_at) {
      SCOPED_TRACE(absl::StrCat("seed ", seed + round, ", killed at record ", crash_at));
      DurableWorld world(seed + round);
      world.crash_at = crash_at;
      Operator asked;
      RunScript(world, seed + round, asked);
      records = std::min(records, world.log.size());
      uint64_t life = 1000;
      CheckSettled(world, life);
      CheckPromises(world, asked);
      if (HasFailure()) return;
    }
  }
}

// Every prefix of what was written is a store that a coordinator goes on from.
TEST(CoordinatorCrash, EveryPrefixIsAStore) {
  DurableWorld world;
  Operator asked;
  RunScript(world, /*seed=*/3, asked);
  for (size_t count = 0; count <= world.log.size(); ++count) {
    SCOPED_TRACE(count);
    const CoordinatorSnapshot written = world.Written(count);
    ASSERT_TRUE(Validate(written).ok());
    Coordinator next(world.options, {}, "", Rng(count));
    next.Restore(world.now, written);
    EXPECT_EQ(next.views(), written.views);
    EXPECT_EQ(next.restored_event(), written.events.empty() ? 0 : written.events.back().number);
    for (const auto& [node, at] : written.drains) {
      EXPECT_TRUE(next.state().members.at(node).drain_requested);
      EXPECT_EQ(next.state().members.at(node).drain_at, at);
    }
    EXPECT_EQ(next.state().evictions, written.evictions);
    if (count == 0) continue;
    const auto record = next.NextRecord();
    ASSERT_TRUE(record.has_value());
    EXPECT_EQ(std::get<CoordinatorEvent>(*record).number, next.restored_event() + 1);
    EXPECT_FALSE(next.NextRecord().has_value());
    EXPECT_FALSE(next.NextMessage().has_value());
  }
}

}  // namespace
}  // namespace perigee
