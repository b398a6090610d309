#include "runtime/control/convert.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <variant>
#include <vector>

#include "tests/runtime/random_messages.h"
#include "transport/base/rng.h"

namespace perigee {
namespace {

template <typename Message>
const Message& Get(const absl::StatusOr<MemberMessage>& message) {
  return std::get<Message>(*message);
}

// Every number that is sent arrives. Fields that have no operator== are compared one by one.
TEST(Convert, MemberMessagesArriveAsTheyWereSent) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(seed);
    Rng rng(seed);
    const Register registration = RandomRegister(rng);
    const auto registered = FromProto(ToProto(MemberMessage(registration)));
    ASSERT_TRUE(registered.ok()) << registered.status();
    EXPECT_EQ(Get<Register>(registered).node, registration.node);
    EXPECT_EQ(Get<Register>(registered).incarnation, registration.incarnation);
    EXPECT_EQ(Get<Register>(registered).address, registration.address);
    EXPECT_EQ(Get<Register>(registered).version, registration.version);
    EXPECT_EQ(Get<Register>(registered).start_members, registration.start_members);
    EXPECT_EQ(Get<Register>(registered).installed, registration.installed);

    const Promise promise = RandomPromise(rng);
    const auto promised = FromProto(ToProto(MemberMessage(promise)));
    ASSERT_TRUE(promised.ok()) << promised.status();
    EXPECT_EQ(Get<Promise>(promised).epoch, promise.epoch);
    EXPECT_EQ(Get<Promise>(promised).ballot, promise.ballot);
    EXPECT_EQ(Get<Promise>(promised).granted, promise.granted);
    EXPECT_EQ(Get<Promise>(promised).promised, promise.promised);
    EXPECT_EQ(Get<Promise>(promised).started, promise.started);
    EXPECT_EQ(Get<Promise>(promised).any_started, promise.any_started);
    EXPECT_EQ(Get<Promise>(promised).frozen, promise.frozen);
    EXPECT_EQ(Get<Promise>(promised).status, promise.status);
    EXPECT_EQ(Get<Promise>(promised).accepted_ballot, promise.accepted_ballot);
    EXPECT_EQ(Get<Promise>(promised).accepted, promise.accepted);

    const Accepted accepted{.epoch = Epoch(rng.Next()),
                            .ballot = RandomBallot(rng),
                            .granted = rng.Bernoulli(0.5),
                            .promised = RandomBallot(rng),
                            .started = StepId(rng.Next()),
                            .any_started = rng.Bernoulli(0.5)};
    const auto back = FromProto(ToProto(MemberMessage(accepted)));
    EXPECT_EQ(Get<Accepted>(back).epoch, accepted.epoch);
    EXPECT_EQ(Get<Accepted>(back).ballot, accepted.ballot);
    EXPECT_EQ(Get<Accepted>(back).granted, accepted.granted);
    EXPECT_EQ(Get<Accepted>(back).promised, accepted.promised);
    EXPECT_EQ(Get<Accepted>(back).started, accepted.started);
    EXPECT_EQ(Get<Accepted>(back).any_started, accepted.any_started);
  }
}

Beat FullBeat() {
  Beat beat{.step = StepId(12), .epoch = Epoch(3), .active = true};
  beat.loop_lateness = absl::Microseconds(17);
  beat.stats = {.training_loss = 0.25,
                .allreduce_seconds = 1.5,
                .goodput_bps = 2e8,
                .packets_lost = 9,
                .packets_repaired = 8};
  beat.ops.push_back({.op = OpId::Of(StepId(12), 1),
                      .epoch = Epoch(3),
                      .progress = 0.5,
                      .age = absl::Milliseconds(40),
                      .waiting_for = {NodeId(2), NodeId(1)},
                      .phase = OpReport::Phase::kAwaitsInput,
                      .stalled = absl::Milliseconds(30),
                      .call = "allreduce sum of 1000 f32"});
  beat.frozen = true;
  beat.calls = {.last = OpId(9),
                .ago = absl::Seconds(40),
                .failed = OpId(8),
                .failed_ago = absl::Seconds(41),
                .failure = "mismatch"};
  beat.links.push_back({.peer = NodeId(2),
                        .unanswered = absl::Seconds(4),
                        .heard_ago = absl::Milliseconds(20),
                        .round_trip = absl::Milliseconds(21),
                        .goodput_bps = 1e8,
                        .packets_lost = 7,
                        .packets_repaired = 6});
  beat.links.push_back({.peer = NodeId(3)});
  beat.clock = {.clock = absl::FromUnixNanos(7),
                .heard = absl::FromUnixNanos(-5),
                .heard_for = absl::Milliseconds(-3)};
  beat.step_interval = absl::Seconds(11);
  beat.op_length = absl::Seconds(2);
  return beat;
}

TEST(Convert, WhatBeatsTellForPeopleArrives) {
  const auto message = FromProto(ToProto(MemberMessage(FullBeat())));
  ASSERT_TRUE(message.ok()) << message.status();
  const Beat& back = Get<Beat>(message);
  EXPECT_EQ(back.ops[0].phase, OpReport::Phase::kAwaitsInput);
  EXPECT_EQ(back.ops[0].stalled, absl::Milliseconds(30));
  EXPECT_EQ(back.ops[0].call, "allreduce sum of 1000 f32");
  EXPECT_TRUE(back.frozen);
  EXPECT_EQ(back.calls.last, OpId(9));
  EXPECT_EQ(back.calls.ago, absl::Seconds(40));
  EXPECT_EQ(back.calls.failed, OpId(8));
  EXPECT_EQ(back.calls.failed_ago, absl::Seconds(41));
  EXPECT_EQ(back.calls.failure, "mismatch");
  ASSERT_EQ(back.links.size(), 2u);
  EXPECT_EQ(back.links[0].peer, NodeId(2));
  EXPECT_EQ(back.links[0].unanswered, absl::Seconds(4));
  EXPECT_EQ(back.links[0].heard_ago, absl::Milliseconds(20));
  EXPECT_EQ(back.links[0].round_trip, absl::Milliseconds(21));
  EXPECT_EQ(back.links[0].goodput_bps, 1e8);
  EXPECT_EQ(back.links[0].packets_lost, 7u);
  EXPECT_EQ(back.links[0].packets_repaired, 6u);
  EXPECT_EQ(back.links[1].heard_ago, absl::InfiniteDuration());
}

// Also what makes no sense: clocks are wrong (clock_offset.h sorts it out).
TEST(Convert, TimesArriveAndAreAbsentWhereTheyAreNotTold) {
  const auto message = FromProto(ToProto(MemberMessage(FullBeat())));
  const Beat& back = Get<Beat>(message);
  ASSERT_TRUE(back.clock.has_value());
  EXPECT_EQ(back.clock->clock, absl::FromUnixNanos(7));
  EXPECT_EQ(back.clock->heard, absl::FromUnixNanos(-5));
  EXPECT_EQ(back.clock->heard_for, absl::Milliseconds(-3));
  EXPECT_EQ(back.step_interval, absl::Seconds(11));
  EXPECT_EQ(back.op_length, absl::Seconds(2));
  const auto empty = FromProto(ToProto(MemberMessage(Beat())));
  EXPECT_FALSE(Get<Beat>(empty).clock.has_value());

  const auto told = FromProto(ToProto(CoordinatorMessage(
      Waiting{.clock = absl::FromUnixNanos(9), .calendar_ahead = absl::Hours(-1)})));
  EXPECT_EQ(std::get<Waiting>(*told).clock, absl::FromUnixNanos(9));
  EXPECT_EQ(std::get<Waiting>(*told).calendar_ahead, absl::Hours(-1));
  const auto untold = FromProto(ToProto(CoordinatorMessage(Waiting{"votes"})));
  EXPECT_FALSE(std::get<Waiting>(*untold).clock.has_value());
  EXPECT_FALSE(std::get<Waiting>(*untold).calendar_ahead.has_value());
  const auto welcome =
      FromProto(ToProto(CoordinatorMessage(Welcome{.clock = absl::FromUnixNanos(9)})));
  EXPECT_EQ(std::get<Welcome>(*welcome).clock, absl::FromUnixNanos(9));
}

TEST(Convert, BeatsSuspicionsAndFarewellsArriveAsTheyWereSent) {
  const Beat beat = FullBeat();
  const auto message = FromProto(ToProto(MemberMessage(beat)));
  ASSERT_TRUE(message.ok()) << message.status();
  const Beat& back = Get<Beat>(message);
  EXPECT_EQ(back.step, beat.step);
  EXPECT_EQ(back.epoch, beat.epoch);
  EXPECT_TRUE(back.active);
  EXPECT_EQ(back.loop_lateness, beat.loop_lateness);
  EXPECT_EQ(back.stats.training_loss, 0.25);
  EXPECT_EQ(back.stats.allreduce_seconds, 1.5);
  EXPECT_EQ(back.stats.goodput_bps, 2e8);
  EXPECT_EQ(back.stats.packets_lost, 9u);
  EXPECT_EQ(back.stats.packets_repaired, 8u);
  ASSERT_EQ(back.ops.size(), 1u);
  EXPECT_EQ(back.ops[0].op, beat.ops[0].op);
  EXPECT_EQ(back.ops[0].epoch, Epoch(3));
  EXPECT_EQ(back.ops[0].progress, 0.5);
  EXPECT_EQ(back.ops[0].age, absl::Milliseconds(40));
  EXPECT_EQ(back.ops[0].waiting_for, beat.ops[0].waiting_for);

  const auto leave = FromProto(ToProto(MemberMessage(Leave{.reason = "done"})));
  EXPECT_EQ(Get<Leave>(leave).reason, "done");
  const Suspect suspect{.node = NodeId(4),
                        .incarnation = {.high = 1, .low = 2},
                        .silent_for = absl::Milliseconds(900)};
  const auto suspected = FromProto(ToProto(MemberMessage(suspect)));
  EXPECT_EQ(Get<Suspect>(suspected).node, suspect.node);
  EXPECT_EQ(Get<Suspect>(suspected).incarnation, suspect.incarnation);
  EXPECT_EQ(Get<Suspect>(suspected).silent_for, suspect.silent_for);
}

TEST(Convert, CoordinatorMessagesArriveAsTheyWereSent) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(seed);
    Rng rng(seed);
    const Accept accept{.ballot = RandomBallot(rng), .proposal = RandomProposal(rng)};
    const auto accepting = FromProto(ToProto(CoordinatorMessage(accept)));
    ASSERT_TRUE(accepting.ok()) << accepting.status();
    EXPECT_EQ(std::get<Accept>(*accepting).ballot, accept.ballot);
    EXPECT_EQ(std::get<Accept>(*accepting).proposal, accept.proposal);

    const Install install{.proposal = RandomProposal(rng)};
    const auto installing = FromProto(ToProto(CoordinatorMessage(install)));
    EXPECT_EQ(std::get<Install>(*installing).proposal, install.proposal);

    const Prepare prepare{
        .epoch = Epoch(rng.Next()), .ballot = RandomBallot(rng), .planned = rng.Bernoulli(0.5)};
    const auto preparing = FromProto(ToProto(CoordinatorMessage(prepare)));
    EXPECT_EQ(std::get<Prepare>(*preparing).epoch, prepare.epoch);
    EXPECT_EQ(std::get<Prepare>(*preparing).ballot, prepare.ballot);
    EXPECT_EQ(std::get<Prepare>(*preparing).planned, prepare.planned);
  }
  const Welcome welcome{.coordinator = {.high = 3, .low = 4},
                        .policy = {.suspect_after = absl::Milliseconds(700),
                                   .lease = absl::Seconds(2),
                                   .dark_lead = absl::Seconds(4),
                                   .steps_ahead = 5,
                                   .min_members = 6},
                        .plan_text = "dark { node: 1 }"};
  const auto welcomed = FromProto(ToProto(CoordinatorMessage(welcome)));
  EXPECT_EQ(std::get<Welcome>(*welcomed).coordinator, welcome.coordinator);
  const ViewPolicy& policy = std::get<Welcome>(*welcomed).policy;
  EXPECT_EQ(policy.beat_interval, absl::Milliseconds(100));
  EXPECT_EQ(policy.suspect_after, absl::Milliseconds(700));
  EXPECT_EQ(policy.lease, absl::Seconds(2));
  EXPECT_EQ(policy.dark_lead, absl::Seconds(4));
  EXPECT_EQ(policy.steps_ahead, 5u);
  EXPECT_EQ(policy.min_members, 6u);
  EXPECT_EQ(std::get<Welcome>(*welcomed).plan_text, welcome.plan_text);
  const auto removed =
      FromProto(ToProto(CoordinatorMessage(Removed{.may_rejoin = false, .reason = "old"})));
  EXPECT_FALSE(std::get<Removed>(*removed).may_rejoin);
  EXPECT_EQ(std::get<Removed>(*removed).reason, "old");
  const auto waiting = FromProto(ToProto(CoordinatorMessage(Waiting{.reason = "votes"})));
  EXPECT_EQ(std::get<Waiting>(*waiting).reason, "votes");
}

void ExpectRefused(const proto::MemberMessage& message, const std::string& field) {
  const auto result = FromProto(message);
  ASSERT_FALSE(result.ok()) << field;
  EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(result.status().message().find(field), std::string::npos) << result.status();
}

TEST(Convert, WhatIsMalformedIsRefusedByName) {
  Rng rng(1);
  ExpectRefused(proto::MemberMessage(), "no known kind");
  EXPECT_FALSE(FromProto(proto::CoordinatorMessage()).ok());

  const proto::MemberMessage good = ToProto(MemberMessage(RandomRegister(rng)));
  proto::MemberMessage bad = good;
  bad.mutable_registration()->set_node(0xffffffff);
  ExpectRefused(bad, "register.node");
  bad = good;
  bad.mutable_registration()->clear_incarnation();
  ExpectRefused(bad, "register.incarnation");
  bad = good;
  bad.mutable_registration()->set_address(std::string(kAddressBytesMax + 1, 'a'));
  ExpectRefused(bad, "register.address");
  bad = good;
  bad.mutable_registration()->set_version(std::string(kVersionBytesMax + 1, 'a'));
  ExpectRefused(bad, "register.version");
  bad = good;
  bad.mutable_registration()->mutable_installed()->clear_view();
  ExpectRefused(bad, "proposal.view");

  Register holder = RandomRegister(rng);
  holder.installed = RandomProposal(rng);
  holder.installed->view.members = {{.node = NodeId(2)}, {.node = NodeId(2)}};
  ExpectRefused(ToProto(MemberMessage(holder)), "view.members");
  holder.installed->view.members.clear();
  ExpectRefused(ToProto(MemberMessage(holder)), "view.members");
  for (uint32_t node = 0; node <= kMembersMax; ++node) {
    holder.installed->view.members.push_back({.node = NodeId(node)});
  }
  ExpectRefused(ToProto(MemberMessage(holder)), "view.members");

  Promise promise = RandomPromise(rng);
  promise.accepted = RandomProposal(rng);
  promise.accepted_ballot.reset();
  ExpectRefused(ToProto(MemberMessage(promise)), "promise.accepted");
  promise.accepted.reset();
  promise.status.resize(kOpsMax + 1);
  ExpectRefused(ToProto(MemberMessage(promise)), "promise.status");

  proto::MemberMessage undecided = ToProto(MemberMessage(RandomRegister(rng)));
  *undecided.mutable_registration()->mutable_installed() =
      ToProto(CoordinatorMessage(Install{RandomProposal(rng)})).install().proposal();
  undecided.mutable_registration()->mutable_installed()->add_decisions();
  ExpectRefused(undecided, "decision.kind");
}

TEST(Convert, LongReasonsAreCutAtACharacterAndOddNumbersAreNotShown) {
  // Each character has two bytes, so that the limit falls into the middle of one.
  std::string reason = "x";
  while (reason.size() <= kReasonBytesMax) reason += "\u00e4";
  const auto leave = FromProto(ToProto(MemberMessage(Leave{.reason = reason})));
  ASSERT_TRUE(leave.ok()) << leave.status();
  EXPECT_EQ(Get<Leave>(leave).reason, reason.substr(0, kReasonBytesMax - 1));

  Beat beat;
  beat.stats.training_loss = std::numeric_limits<double>::quiet_NaN();
  beat.stats.goodput_bps = std::numeric_limits<double>::infinity();
  const auto back = FromProto(ToProto(MemberMessage(beat)));
  EXPECT_EQ(Get<Beat>(back).stats.training_loss, 0);
  EXPECT_EQ(Get<Beat>(back).stats.goodput_bps, 0);
}

}  // namespace
}  // namespace perigee
