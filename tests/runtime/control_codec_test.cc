#include "runtime/control_codec.h"

#include <gtest/gtest.h>

#include <variant>

#include "tests/runtime/random_messages.h"

namespace perigee {
namespace {

Beat RandomBeat(Rng& rng) {
  Beat beat{.step = StepId(rng.Next()), .epoch = Epoch(rng.Next()), .active = rng.Bernoulli(0.5)};
  beat.undecided = rng.Bernoulli(0.5);
  beat.loop_lateness = absl::Microseconds(rng.Below(1000));
  beat.stats.training_loss = rng.Unit();
  beat.ops.push_back({.op = OpId(rng.Next()), .epoch = Epoch(3), .progress = rng.Unit()});
  beat.ops.back().waiting_for = {NodeId(2), NodeId(9)};
  beat.ops.back().phase = static_cast<OpReport::Phase>(rng.Below(3));
  beat.ops.back().call = "allreduce sum of 1000 f32";
  beat.calls = {.last = OpId(rng.Next()), .ago = absl::Seconds(4), .failure = "mismatch"};
  if (rng.Bernoulli(0.5)) beat.clock = RandomClockReport(rng);
  beat.step_interval = absl::Nanoseconds(rng.Below(1'000'000'000'000));
  beat.op_length = absl::Nanoseconds(rng.Below(1'000'000'000));
  beat.links.push_back({.peer = NodeId(2), .heard_ago = absl::Milliseconds(20)});
  return beat;
}

std::vector<MemberMessage> RandomMemberMessages(Rng& rng) {
  return {RandomRegister(rng),
          RandomBeat(rng),
          RandomPromise(rng),
          Accepted{.epoch = Epoch(rng.Next()), .ballot = RandomBallot(rng), .granted = true},
          Leave{"finished"},
          Suspect{.node = NodeId(3), .silent_for = absl::Milliseconds(900)}};
}

std::vector<CoordinatorMessage> RandomCoordinatorMessages(Rng& rng) {
  return {Welcome{.coordinator = rng.NextIncarnation(), .policy = {.steps_ahead = rng.Next()}},
          Prepare{.epoch = Epoch(4), .ballot = RandomBallot(rng), .planned = false},
          Accept{.ballot = RandomBallot(rng), .proposal = RandomProposal(rng)},
          Install{RandomProposal(rng)},
          Removed{.may_rejoin = false, .reason = "old"},
          Waiting{"votes"},
          Waiting{.reason = "votes",
                  .clock = absl::FromUnixNanos(static_cast<int64_t>(rng.Next())),
                  .calendar_ahead = absl::Nanoseconds(static_cast<int64_t>(rng.Next()))}};
}

TEST(ControlCodec, EveryKindComesBackAsItWas) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(seed);
    Rng rng(seed);
    // Equal bytes are equal fields: the codec writes every field of a message.
    for (const MemberMessage& message : RandomMemberMessages(rng)) {
      const auto back = DecodeMemberMessage(Encode(message));
      ASSERT_TRUE(back.ok()) << back.status();
      EXPECT_EQ(back->index(), message.index());
      EXPECT_EQ(Encode(*back), Encode(message));
    }
    for (const CoordinatorMessage& message : RandomCoordinatorMessages(rng)) {
      const auto back = DecodeCoordinatorMessage(Encode(message));
      ASSERT_TRUE(back.ok()) << back.status();
      EXPECT_EQ(back->index(), message.index());
      EXPECT_EQ(Encode(*back), Encode(message));
    }
  }
}

TEST(ControlCodec, FieldsArriveInTheirPlaces) {
  Rng rng(7);
  const Proposal proposal = RandomProposal(rng);
  const auto install = DecodeCoordinatorMessage(Encode(CoordinatorMessage(Install{proposal})));
  EXPECT_EQ(std::get<Install>(*install).proposal, proposal);
  const Beat beat = RandomBeat(rng);
  const auto back = DecodeMemberMessage(Encode(MemberMessage(beat)));
  EXPECT_EQ(std::get<Beat>(*back).step, beat.step);
  EXPECT_EQ(std::get<Beat>(*back).undecided, beat.undecided);
  EXPECT_EQ(std::get<Beat>(*back).stats.training_loss, beat.stats.training_loss);
  EXPECT_EQ(std::get<Beat>(*back).ops[0].waiting_for, beat.ops[0].waiting_for);
  EXPECT_EQ(std::get<Beat>(*back).ops[0].phase, beat.ops[0].phase);
  EXPECT_EQ(std::get<Beat>(*back).calls.last, beat.calls.last);
  EXPECT_EQ(std::get<Beat>(*back).step_interval, beat.step_interval);
  EXPECT_EQ(std::get<Beat>(*back).links[0].peer, NodeId(2));
}

TEST(ControlCodec, EveryCutAndEveryExtraByteIsAnError) {
  Rng rng(3);
  for (const MemberMessage& message : RandomMemberMessages(rng)) {
    std::vector<uint8_t> bytes = Encode(message);
    for (size_t size = 0; size < bytes.size(); ++size) {
      EXPECT_FALSE(DecodeMemberMessage(absl::MakeSpan(bytes).first(size)).ok());
    }
    bytes.push_back(0);
    EXPECT_FALSE(DecodeMemberMessage(bytes).ok());
  }
}

TEST(ControlCodec, FlippedBitsNeverDoHarm) {
  for (uint64_t seed = 1; seed <= 2000; ++seed) {
    Rng rng(seed);
    for (const CoordinatorMessage& message : RandomCoordinatorMessages(rng)) {
      std::vector<uint8_t> bytes = Encode(message);
      bytes[rng.Below(bytes.size())] ^= 1 << rng.Below(8);
      const auto decoded = DecodeCoordinatorMessage(bytes);
      if (!decoded.ok()) continue;
      if (const auto* install = std::get_if<Install>(&*decoded)) {
        EXPECT_FALSE(install->proposal.view.members.empty()) << "seed " << seed;
      }
    }
  }
}

TEST(ControlCodec, WhatMakesNoSenseIsRefused) {
  Proposal unsorted;
  unsorted.view.members = {{.node = NodeId(2)}, {.node = NodeId(2)}};
  EXPECT_FALSE(DecodeCoordinatorMessage(Encode(CoordinatorMessage(Install{unsorted}))).ok());
  EXPECT_FALSE(DecodeCoordinatorMessage(Encode(CoordinatorMessage(Install{}))).ok());
  EXPECT_FALSE(
      DecodeMemberMessage(Encode(MemberMessage(Promise{.accepted_ballot = Ballot()}))).ok());
}

}  // namespace
}  // namespace perigee
