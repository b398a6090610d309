#include "runtime/host/versioned_state.h"

#include <gtest/gtest.h>

#include <vector>

namespace perigee {
namespace {

// A state in three parts, one of them empty.
class TwoNumbers : public TrainingTask {
 public:
  size_t GradientSize() const override { return 1; }
  absl::StatusOr<double> ComputeGradient(StepId, MicrobatchId, absl::Span<float>) override {
    return 0.0;
  }
  absl::Status Apply(StepId, absl::Span<const float> gradient) override {
    a_ += gradient[0];
    b_ *= gradient[0];
    return absl::OkStatus();
  }
  std::vector<absl::Span<uint8_t>> MutableState() override {
    return {{reinterpret_cast<uint8_t*>(&a_), sizeof(a_)},
            {},
            {reinterpret_cast<uint8_t*>(&b_), sizeof(b_)}};
  }
  float a_ = 1;
  float b_ = 2;
};

TEST(VersionedState, GoesBackAndForwardAgain) {
  TwoNumbers task;
  VersionedState state(task);
  EXPECT_FALSE(state.has_kept());
  const uint64_t first = state.Digest();
  state.Keep();
  ASSERT_TRUE(task.Apply(StepId(0), {3}).ok());
  const uint64_t second = state.Digest();
  EXPECT_NE(first, second);
  state.GoBack();
  EXPECT_EQ(state.Digest(), first);
  EXPECT_EQ(task.a_, 1);
  ASSERT_TRUE(task.Apply(StepId(0), {3}).ok());
  EXPECT_EQ(state.Digest(), second);
  // What is kept is still the version before.
  state.GoBack();
  EXPECT_EQ(state.Digest(), first);
}

TEST(VersionedState, KeepsTheLastVersionOnly) {
  TwoNumbers task;
  VersionedState state(task);
  state.Keep();
  task.a_ = 5;
  state.Keep();
  task.a_ = 6;
  state.GoBack();
  EXPECT_EQ(task.a_, 5);
}

TEST(VersionedState, AStateThatWasFetchedHasNoPast) {
  TwoNumbers here, there;
  there.b_ = 17;
  VersionedState source(there), state(here);
  state.Keep();
  std::vector<uint8_t> bytes = {42};  // something in front
  source.AppendTo(bytes);
  ASSERT_EQ(bytes.size(), 1 + state.bytes());
  state.Overwrite(absl::MakeConstSpan(bytes).subspan(1));
  EXPECT_EQ(state.Digest(), source.Digest());
  EXPECT_EQ(here.b_, 17);
  EXPECT_FALSE(state.has_kept());
}

TEST(VersionedState, TheDigestSeesEveryBit) {
  TwoNumbers task;
  VersionedState state(task);
  const uint64_t digest = state.Digest();
  for (absl::Span<uint8_t> part : task.MutableState()) {
    for (uint8_t& byte : part) {
      for (int bit = 0; bit < 8; ++bit) {
        byte ^= static_cast<uint8_t>(1 << bit);
        EXPECT_NE(state.Digest(), digest);
        byte ^= static_cast<uint8_t>(1 << bit);
      }
    }
  }
  EXPECT_EQ(state.Digest(), digest);
}

}  // namespace
}  // namespace perigee
