#include "collectives/frame.h"

#include <gtest/gtest.h>

#include <vector>

#include "transport/base/rng.h"

namespace perigee {
namespace {

Frame SomeFrame(uint32_t universe, Rng& rng) {
  Frame frame = {.contributions = ContributionSet(universe),
                 .flags = static_cast<uint32_t>(rng.Next()),
                 .done_through = OpId(rng.Next()),
                 .call_digest = rng.Next()};
  for (uint32_t i = 0; i < universe; ++i) {
    if (rng.Bernoulli(0.5)) frame.contributions.Add(i);
  }
  return frame;
}

TEST(Frame, Example) {
  const std::vector<uint8_t> body = {1, 2, 3};
  Frame frame = {.contributions = ContributionSet(10),
                 .flags = 0x0a0b,
                 .done_through = OpId(0x0102),
                 .call_digest = 0x1122334455667788};
  frame.contributions.Add(9);
  std::vector<uint8_t> trailer(FrameBytes(10));
  EncodeFrame(frame, body, absl::MakeSpan(trailer));

  ASSERT_EQ(trailer.size(), 48u);
  EXPECT_EQ(trailer[4], 0x0b);
  EXPECT_EQ(trailer[5], 0x0a);
  EXPECT_EQ(trailer[8], 0x02);
  EXPECT_EQ(trailer[16], 0x88);
  EXPECT_EQ(trailer[24], 10);
  EXPECT_EQ(trailer[33], 0x02);  // contribution 9 is bit 1 of byte 1
  const auto decoded = DecodeFrame(body, trailer);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(*decoded, frame);
}

TEST(Frame, SizeDependsOnlyOnTheUniverse) {
  EXPECT_EQ(FrameBytes(0), 40u);
  EXPECT_EQ(FrameBytes(1), 48u);
  EXPECT_EQ(FrameBytes(64), 48u);
  EXPECT_EQ(FrameBytes(65), 56u);
  EXPECT_EQ(FrameBytes(ContributionSet::kUniverseMax), 40u + 512u);
}

TEST(Frame, AnyFlippedBitIsFound) {
  const uint64_t seed = 17;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  for (uint32_t universe : {0u, 1u, 64u, 65u, 1584u}) {
    const Frame frame = SomeFrame(universe, rng);
    std::vector<uint8_t> body(rng.Below(300));
    for (uint8_t& byte : body) byte = static_cast<uint8_t>(rng.Next());
    std::vector<uint8_t> trailer(FrameBytes(universe));
    EncodeFrame(frame, body, absl::MakeSpan(trailer));
    ASSERT_EQ(*DecodeFrame(body, trailer), frame);
    for (size_t bit = 0; bit < 8 * (body.size() + trailer.size()); ++bit) {
      std::vector<uint8_t>& damaged = bit < 8 * body.size() ? body : trailer;
      const size_t at = bit < 8 * body.size() ? bit : bit - 8 * body.size();
      damaged[at / 8] ^= 1 << (at % 8);
      ASSERT_EQ(DecodeFrame(body, trailer).status().code(), absl::StatusCode::kDataLoss) << bit;
      damaged[at / 8] ^= 1 << (at % 8);
    }
  }
}

TEST(Frame, RoomForALargerUniverseIsAllowedAndTooLittleIsDataLoss) {
  Rng rng(3);
  const Frame frame = SomeFrame(70, rng);
  std::vector<uint8_t> trailer(FrameBytes(ContributionSet::kUniverseMax));
  EncodeFrame(frame, {}, absl::MakeSpan(trailer));
  EXPECT_EQ(*DecodeFrame({}, trailer), frame);
  EXPECT_EQ(DecodeFrame({}, absl::MakeConstSpan(trailer).subspan(0, 12)).status().code(),
            absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace perigee
