#include "collectives/schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "collectives/schedule_building.h"
#include "transport/base/rng.h"

namespace perigee {
namespace {

using ::testing::HasSubstr;
using Kind = Step::Kind;

Schedule SmallRing() {
  return RingAllReduce({.rank_count = 4, .element_count = 100, .chunk_elements = 25});
}

uint32_t FindStep(const Schedule& schedule, uint32_t rank, Kind kind, uint32_t chunk) {
  const auto& steps = schedule.by_rank[rank];
  const auto it = std::find_if(steps.begin(), steps.end(), [&](const Step& step) {
    return step.kind == kind && step.chunk.value() == chunk;
  });
  EXPECT_NE(it, steps.end());
  return static_cast<uint32_t>(it - steps.begin());
}

void ExpectInvalid(const Schedule& schedule, const std::string& what) {
  const absl::Status status = Validate(schedule);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(what));
}

TEST(Schedule, Example) {
  const Schedule schedule =
      RingAllReduce({.rank_count = 2, .element_count = 5, .chunk_elements = 10});
  ASSERT_TRUE(Validate(schedule).ok());
  EXPECT_EQ(ToText(schedule),
            "allreduce ring: 2 ranks, 5 elements, 2 chunks\n"
            "chunk 0: 3 elements at 0\n"
            "chunk 1: 2 elements at 3\n"
            "rank 0: 0 receive-reduce chunk 0 <- 1\n"
            "rank 0: 1 finalize chunk 0 after 0\n"
            "rank 0: 2 send broadcast chunk 0 -> 1 after 1\n"
            "rank 0: 3 send reduce chunk 1 -> 1\n"
            "rank 0: 4 receive-copy chunk 1 <- 1\n"
            "rank 1: 0 send reduce chunk 0 -> 0\n"
            "rank 1: 1 receive-copy chunk 0 <- 0\n"
            "rank 1: 2 receive-reduce chunk 1 <- 0\n"
            "rank 1: 3 finalize chunk 1 after 2\n"
            "rank 1: 4 send broadcast chunk 1 -> 0 after 3\n");
}

TEST(Schedule, RingsAndBroadcastsAreValid) {
  for (uint32_t n = 1; n <= 17; ++n) {
    for (size_t elements : {0, 1, 2, 7, 16, 17, 101, 1000}) {
      for (size_t chunk : {1, 3, 50, 5000}) {
        const ScheduleShape shape = {
            .rank_count = n, .element_count = elements, .chunk_elements = chunk};
        const absl::Status ring = Validate(RingAllReduce(shape));
        ASSERT_TRUE(ring.ok()) << n << " " << elements << " " << chunk << ": " << ring;
        const Rank root((elements + chunk) % n);
        const absl::Status chain = Validate(ChainBroadcast(shape, root));
        ASSERT_TRUE(chain.ok()) << n << " " << elements << " " << chunk << ": " << chain;
        const Rank receiver((root.value() + n / 2) % n);
        const Schedule star = StarBroadcast(shape, root, {receiver, root, receiver});
        ASSERT_TRUE(Validate(star, {root, receiver}).ok());
        EXPECT_EQ(Validate(star).ok(), n <= 2);
      }
    }
  }
}

TEST(Schedule, RingChunksAreEvenAndStartEverywhereAtOnce) {
  const Schedule schedule =
      RingAllReduce({.rank_count = 5, .element_count = 1003, .chunk_elements = 50});
  const size_t longest = schedule.chunks[0].count;
  for (const ChunkRange& chunk : schedule.chunks) {
    EXPECT_LE(chunk.count, 50u);
    EXPECT_LE(longest - chunk.count, 2u);
  }
  for (uint32_t rank = 0; rank < 5; ++rank) {
    // The chunk that sets out at this rank is among the first N.
    const auto& steps = schedule.by_rank[rank];
    const auto first = std::find_if(steps.begin(), steps.end(), [](const Step& step) {
      return step.kind == Kind::kSend && step.phase == Phase::kReduce && step.after.empty();
    });
    ASSERT_NE(first, steps.end());
    EXPECT_EQ(first->chunk.value(), (rank + 4) % 5);
  }
}

TEST(Schedule, MemoryIsTheResultAndWhatPassesThrough) {
  const Schedule schedule = SmallRing();
  const size_t trailers = 1000 * schedule.by_rank[1].size();
  EXPECT_GE(schedule.MemoryBytes(Rank(1), 4), size_t{100 + 75} * 4);
  EXPECT_LE(schedule.MemoryBytes(Rank(1), 4), size_t{100 + 75} * 4 + trailers);
}

TEST(ScheduleValidation, FindsAMissingReceiveAndAMissingSend) {
  Schedule schedule = SmallRing();
  ASSERT_EQ(schedule.by_rank[3].back().kind, Kind::kSend);
  schedule.by_rank[3].pop_back();
  ExpectInvalid(schedule, "0 sends of rank 3 meet it");

  // The final of chunk 3 goes 3, 0, 1, 2, so at rank 2 nothing depends on its receive.
  schedule = SmallRing();
  auto& steps = schedule.by_rank[2];
  ASSERT_EQ(steps.back().kind, Kind::kReceiveCopy);
  steps.pop_back();
  ExpectInvalid(schedule, "0 receives of rank 2 meet it");
}

TEST(ScheduleValidation, FindsATransferThatIsThereTwice) {
  Schedule schedule = SmallRing();
  const Step last = schedule.by_rank[3].back();
  schedule.by_rank[3].push_back(last);
  ASSERT_EQ(schedule.by_rank[3].back().kind, Kind::kSend);
  ExpectInvalid(schedule, "2 sends of rank 3 meet it");
}

Schedule OneChunk(uint32_t rank_count) {
  Schedule schedule;
  schedule.algorithm = "by hand";
  schedule.rank_count = rank_count;
  schedule.element_count = 4;
  schedule.chunks = {{0, 4}};
  schedule.by_rank.resize(rank_count);
  return schedule;
}

TEST(ScheduleValidation, FindsAPartialThatIsUsedTooEarly) {
  Schedule schedule = OneChunk(2);
  for (uint32_t rank : {0, 1}) {
    auto& steps = schedule.by_rank[rank];
    const Rank other(1 - rank);
    AddStep(steps, Kind::kReceiveReduce, other, ChunkId(0), Phase::kReduce);
    AddStep(steps, Kind::kSend, other, ChunkId(0), Phase::kReduce);
  }
  ExpectInvalid(schedule, "before all of it is received");
  for (auto& steps : schedule.by_rank) steps[1].after.push_back(0);
  ExpectInvalid(schedule, "cycle");
}

// 1 and 2 both send to 0, and 1 also sends to 2: the input of 1 would be in the result twice.
TEST(ScheduleValidation, FindsAnOverlap) {
  Schedule schedule = OneChunk(3);
  auto add = [&schedule](uint32_t rank, Kind kind, uint32_t peer) {
    return AddStep(schedule.by_rank[rank], kind, Rank(peer), ChunkId(0), Phase::kReduce);
  };
  add(1, Kind::kSend, 2);
  add(1, Kind::kSend, 0);
  add(2, Kind::kReceiveReduce, 1);
  schedule.by_rank[2][add(2, Kind::kSend, 0)].after.push_back(0);
  add(0, Kind::kReceiveReduce, 1);
  add(0, Kind::kReceiveReduce, 2);
  schedule.by_rank[0][add(0, Kind::kFinalize, 0)].after.push_back(1);
  ExpectInvalid(schedule, "used twice");
}

TEST(ScheduleValidation, FindsAFinalThatLacksSomebody) {
  Schedule schedule = OneChunk(3);
  AddStep(schedule.by_rank[1], Kind::kSend, Rank(0), ChunkId(0), Phase::kReduce);
  auto& root = schedule.by_rank[0];
  AddStep(root, Kind::kReceiveReduce, Rank(1), ChunkId(0), Phase::kReduce);
  root[AddStep(root, Kind::kFinalize, Rank(0), ChunkId(0), Phase::kBroadcast)].after = {0};
  ExpectInvalid(schedule, "holds only {0-1} of 3");
}

TEST(ScheduleValidation, FindsACycle) {
  Schedule schedule = SmallRing();
  const uint32_t send = FindStep(schedule, 1, Kind::kSend, 0);
  ASSERT_TRUE(schedule.by_rank[1][send].after.empty());
  // The first send of chunk 0 waits for its final.
  schedule.by_rank[1][send].after.push_back(FindStep(schedule, 1, Kind::kReceiveCopy, 0));
  ExpectInvalid(schedule, "cycle");
}

TEST(ScheduleValidation, FindsAWrongTile) {
  for (int change : {-1, 1}) {
    Schedule schedule = SmallRing();
    schedule.chunks[2].count += change;
    ExpectInvalid(schedule, "chunks");
    schedule = SmallRing();
    schedule.chunks[2].offset += change;
    ExpectInvalid(schedule, "tile");
  }
}

TEST(ScheduleValidation, FindsIdsOutOfRange) {
  Schedule schedule = SmallRing();
  schedule.by_rank[1][0].peer = Rank(4);
  ExpectInvalid(schedule, "no such peer");
  schedule = SmallRing();
  schedule.by_rank[1][0].chunk = ChunkId(99);
  ExpectInvalid(schedule, "no chunk 99");
  schedule = SmallRing();
  schedule.by_rank[1][0].after.push_back(1000);
  ExpectInvalid(schedule, "no step 1000");
  schedule = SmallRing();
  schedule.by_rank.pop_back();
  ExpectInvalid(schedule, "3 ranks, not of 4");
}

TEST(ScheduleValidation, ABroadcastHasOneRootAndDoesNotReduce) {
  const ScheduleShape shape = {.rank_count = 3, .element_count = 10, .chunk_elements = 5};
  Schedule schedule = ChainBroadcast(shape, Rank(1));
  AddStep(schedule.by_rank[0], Kind::kSend, Rank(1), ChunkId(0), Phase::kReduce);
  ExpectInvalid(schedule, "does not reduce");
  schedule = ChainBroadcast(shape, Rank(1));
  ExpectInvalid(StarBroadcast(shape, Rank(1), {Rank(0)}), "rank 2 ends without the final");
}

// Any single change of a ring that removes a step, moves a peer or swaps a chunk is found.
TEST(ScheduleValidation, FindsRandomDamage) {
  const uint64_t seed = 4711;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  for (int round = 0; round < 300; ++round) {
    Schedule schedule = RingAllReduce({.rank_count = 3 + static_cast<uint32_t>(rng.Below(5)),
                                       .element_count = 64,
                                       .chunk_elements = 8});
    auto& steps = schedule.by_rank[rng.Below(schedule.rank_count)];
    Step& step = steps[rng.Below(steps.size())];
    switch (rng.Below(3)) {
      case 0:
        step.chunk = ChunkId((step.chunk.value() + 1) % schedule.chunks.size());
        break;
      case 1:
        if (step.kind == Kind::kFinalize) continue;
        step.peer = Rank((step.peer.value() + 1) % schedule.rank_count);
        break;
      default:
        if (step.after.empty()) continue;
        step.after.pop_back();
    }
    ASSERT_FALSE(Validate(schedule).ok()) << "round " << round << "\n" << ToText(schedule);
  }
}

}  // namespace
}  // namespace perigee
