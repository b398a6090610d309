#include "transport/control_stream.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "transport/base/rng.h"

namespace perigee {
namespace {

TEST(ControlStreamTest, Example) {
  ControlStream sender(10), receiver(10);
  const std::vector<uint8_t> bytes = {1, 2, 3};
  const uint64_t id = *sender.Queue(bytes);
  const wire::MessageFrame frame = *sender.FrameFor(id);
  EXPECT_EQ(frame.bytes, bytes);
  EXPECT_TRUE(receiver.IsNew(frame));
  EXPECT_FALSE(receiver.IsNew(frame)) << "once";
  sender.OnAcked(id);
  EXPECT_FALSE(sender.FrameFor(id).has_value());
}

TEST(ControlStreamTest, ASingleLostMessageHoldsTheSpanBack) {
  ControlStream sender(10);
  const uint64_t stuck = *sender.Queue({});
  for (uint64_t i = 1; i < ControlStream::kSpanMax; ++i) sender.OnAcked(*sender.Queue({}));
  EXPECT_TRUE(absl::IsResourceExhausted(sender.Queue({}).status()));
  sender.OnAcked(stuck);
  EXPECT_TRUE(sender.Queue({}).ok());
  EXPECT_TRUE(sender.IsBeyondWindow({ControlStream::kSpanMax, 0, {}}));
}

// Frames arrive in any order, several times, with old floors: each id is new exactly once.
TEST(ControlStreamTest, EachIdIsNewOnce) {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Rng rng(seed);
    ControlStream sender(20), receiver(20);
    std::vector<wire::MessageFrame> flying;
    std::vector<uint64_t> pending;
    std::map<uint64_t, int> delivered;
    for (int step = 0; step < 1000; ++step) {
      if (rng.Bernoulli(0.3)) {
        const absl::StatusOr<uint64_t> id = sender.Queue({});
        if (id.ok()) pending.push_back(*id);
      }
      if (!pending.empty()) {
        const uint64_t id = pending[rng.Below(pending.size())];
        if (const auto frame = sender.FrameFor(id)) flying.push_back({frame->id, frame->floor, {}});
      }
      if (flying.empty() || rng.Bernoulli(0.5)) continue;
      const wire::MessageFrame frame = flying[rng.Below(flying.size())];
      ASSERT_FALSE(receiver.IsBeyondWindow(frame));
      if (receiver.IsNew(frame)) ++delivered[frame.id];
      if (rng.Bernoulli(0.7)) {
        sender.OnAcked(frame.id);
        std::erase(pending, frame.id);
      }
    }
    for (const auto& [id, count] : delivered) EXPECT_EQ(count, 1) << id;
  }
}

}  // namespace
}  // namespace perigee
