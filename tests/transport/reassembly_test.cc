#include "transport/reassembly.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "transport/base/rng.h"

namespace perigee {
namespace {

using Outcome = Reassembly::Outcome;

TransferKey Key(uint32_t chunk) { return {.epoch = Epoch(1), .chunk = ChunkId(chunk)}; }

TEST(ReassemblyTest, Example) {
  Reassembly reassembly(10);
  std::vector<uint8_t> place(2000);
  const uint64_t message = *reassembly.Post(Key(0), {.body = absl::MakeSpan(place)});
  EXPECT_EQ(reassembly.CreditFor(message)->size, 2000);

  const std::vector<uint8_t> full(1376, 1), rest(624, 2);
  EXPECT_EQ(reassembly.OnSegment({message, 1, 2}, rest).outcome, Outcome::kWritten);
  EXPECT_FALSE(reassembly.CreditFor(message).has_value()) << "it evidently arrived";
  EXPECT_EQ(reassembly.OnSegment({message, 1, 2}, rest).outcome, Outcome::kDuplicate);
  const Reassembly::Result result = reassembly.OnSegment({message, 0, 2}, full);
  EXPECT_EQ(result.outcome, Outcome::kCompleted);
  EXPECT_EQ(result.key, Key(0));
  EXPECT_EQ(place[1375], 1);
  EXPECT_EQ(place[1376], 2);
  EXPECT_EQ(reassembly.OnSegment({message, 0, 2}, full).outcome, Outcome::kUnknown);
  EXPECT_TRUE(absl::IsAlreadyExists(reassembly.Post(Key(0), {}).status()));
}

TEST(ReassemblyTest, WhatDoesNotFitIsRefused) {
  Reassembly reassembly(10);
  std::vector<uint8_t> place(2000);
  const uint64_t message = *reassembly.Post(Key(0), {.body = absl::MakeSpan(place)});
  const std::vector<uint8_t> full(1376, 1), rest(624, 1);
  EXPECT_EQ(reassembly.OnSegment({message, 1, 2}, full).outcome, Outcome::kMalformed);
  EXPECT_EQ(reassembly.OnSegment({message, 0, 2}, rest).outcome, Outcome::kMalformed);
  EXPECT_EQ(reassembly.OnSegment({message, 0, 3}, full).outcome, Outcome::kMalformed);
  EXPECT_EQ(reassembly.OnSegment({message, 2, 3}, rest).outcome, Outcome::kMalformed);
  EXPECT_EQ(place, std::vector<uint8_t>(2000));
}

TEST(ReassemblyTest, RemembersABoundedNumberOfKeys) {
  Reassembly reassembly(2);
  for (uint32_t i = 0; i < 3; ++i) {
    const uint64_t message = *reassembly.Post(Key(i), {});
    EXPECT_EQ(reassembly.OnSegment({message, 0, 1}, {}).outcome, Outcome::kCompleted);
  }
  EXPECT_TRUE(reassembly.Post(Key(0), {}).ok());
  EXPECT_FALSE(reassembly.Post(Key(1), {}).ok());
}

// Segments in any order, some twice: the bytes are right and completion comes once, at the last.
TEST(ReassemblyTest, AnyOrderGivesTheMessage) {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Rng rng(seed);
    std::vector<uint8_t> data(rng.Below(20'000));
    for (uint8_t& byte : data) byte = static_cast<uint8_t>(rng.Next());
    std::vector<uint8_t> place(data.size());
    const size_t body = rng.Below(data.size() + 1);
    Reassembly reassembly(10);
    const uint64_t message = *reassembly.Post(
        Key(0), {absl::MakeSpan(place).first(body), absl::MakeSpan(place).subspan(body)});
    const uint32_t count = wire::SegmentCount(data.size());
    std::vector<bool> arrived(count);
    uint32_t missing = count;
    while (missing > 0) {
      const uint32_t segment = static_cast<uint32_t>(rng.Below(count));
      const auto bytes = absl::MakeSpan(data).subspan(size_t{segment} * 1376, 1376);
      const Outcome outcome = reassembly.OnSegment({message, segment, count}, bytes).outcome;
      missing -= arrived[segment] ? 0 : 1;
      EXPECT_EQ(outcome, arrived[segment] ? Outcome::kDuplicate
                         : missing == 0   ? Outcome::kCompleted
                                          : Outcome::kWritten);
      arrived[segment] = true;
    }
    EXPECT_EQ(place, data);
  }
}

}  // namespace
}  // namespace perigee
