#include "runtime/peer_message.h"

#include <gtest/gtest.h>

#include "transport/base/rng.h"

namespace perigee {
namespace {

template <typename T>
T RoundTrip(const T& message) {
  const absl::StatusOr<PeerMessage> decoded = DecodePeerMessage(Encode(message));
  EXPECT_TRUE(decoded.ok()) << decoded.status();
  return std::get<T>(*decoded);
}

TEST(PeerMessage, ComesBackAsItWas) {
  const auto call = RoundTrip(CallMessage{OpId::Of(StepId(7), 2), "allreduce sum of 10 f32"});
  EXPECT_EQ(call.op, OpId::Of(StepId(7), 2));
  EXPECT_EQ(call.text, "allreduce sum of 10 f32");
  EXPECT_EQ(RoundTrip(DoneMessage{OpId(99)}).through, OpId(99));
  const auto fail = RoundTrip(FailMessage{OpId(3), 13, "digest"});
  EXPECT_EQ(fail.code, 13u);
  EXPECT_EQ(fail.text, "digest");
}

TEST(PeerMessage, LongTextsAreCut) {
  const CallMessage call{OpId(1), std::string(10 * kPeerTextBytesMax, 'x')};
  EXPECT_EQ(RoundTrip(call).text.size(), kPeerTextBytesMax);
}

TEST(PeerMessage, EveryCutAndEveryExtraByteIsAnError) {
  for (const PeerMessage& message :
       {PeerMessage(CallMessage{OpId(1), "abc"}), PeerMessage(DoneMessage{OpId(2)}),
        PeerMessage(FailMessage{OpId(3), 1, "z"})}) {
    std::vector<uint8_t> bytes = Encode(message);
    for (size_t size = 0; size < bytes.size(); ++size) {
      EXPECT_FALSE(DecodePeerMessage(absl::MakeSpan(bytes).first(size)).ok());
    }
    bytes.push_back(0);
    EXPECT_FALSE(DecodePeerMessage(bytes).ok());
  }
}

TEST(PeerMessage, RandomBytesNeverCrash) {
  for (uint64_t seed = 1; seed <= 2000; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Rng rng(seed);
    std::vector<uint8_t> bytes(rng.Below(40));
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(rng.Next());
    const absl::StatusOr<PeerMessage> message = DecodePeerMessage(bytes);
    if (message.ok()) {
      EXPECT_EQ(Encode(*message), bytes);
    }
  }
}

}  // namespace
}  // namespace perigee
