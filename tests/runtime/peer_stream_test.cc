#include "runtime/peer_stream.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "transport/base/rng.h"

namespace perigee {
namespace {

std::vector<uint8_t> Bytes(size_t size, uint8_t first) {
  std::vector<uint8_t> bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(first + 7 * i);
  return bytes;
}

// Pieces arrive in any order; messages come out whole and in theirs.
TEST(PeerStream, MessagesComeInOrderWhateverOvertakes) {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE(seed);
    Rng rng(seed);
    PeerStream sender(1, true);
    PeerStream receiver(1, false);
    std::vector<std::vector<uint8_t>> sent;
    std::vector<PartMessage> parts;
    for (uint8_t i = 0; i < 20; ++i) {
      sent.push_back(Bytes(rng.Below(3 * kPartBytesMax), i));
      for (PartMessage& part : sender.Split(sent.back())) parts.push_back(std::move(part));
    }
    for (size_t i = parts.size(); i > 1; --i) std::swap(parts[i - 1], parts[rng.Below(i)]);
    std::vector<std::vector<uint8_t>> received;
    for (const PartMessage& part : parts) {
      EXPECT_LE(part.bytes.size(), kPartBytesMax);
      const auto whole = receiver.OnPart(part);
      ASSERT_TRUE(whole.ok()) << whole.status();
      received.insert(received.end(), whole->begin(), whole->end());
    }
    EXPECT_EQ(received, sent);
  }
}

TEST(PeerStream, WhatIsNotThereYetIsBounded) {
  PeerStream receiver(1, false);
  absl::Status status;
  uint32_t sequence = 1;
  while (status.ok() && sequence < 2 * PeerStream::kHeldMax) {
    status = receiver.OnPart({.life = 1, .sequence = sequence++, .last = true}).status();
  }
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_EQ(sequence, PeerStream::kHeldMax + 2);
}

TEST(PeerStream, AMessageWithoutEndIsRefused) {
  PeerStream receiver(1, false);
  absl::Status status;
  uint32_t sequence = 0;
  while (status.ok() && sequence < 2 * PeerStream::kMessageBytesMax / kPartBytesMax) {
    status = receiver
                 .OnPart({.life = 1,
                          .sequence = sequence++,
                          .last = false,
                          .bytes = std::vector<uint8_t>(kPartBytesMax)})
                 .status();
  }
  EXPECT_TRUE(absl::IsResourceExhausted(status));
}

}  // namespace
}  // namespace perigee
