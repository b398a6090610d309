#include "bench/linkemu/control_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "bench/linkemu/emulator.h"

namespace perigee::linkemu {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

constexpr int kAny = Emulator::kAny;

TEST(ControlCommand, ChangesOneDirection) {
  const auto command = ParseControlCommand("link 0 1 down", 3);
  ASSERT_TRUE(command.ok());
  EXPECT_EQ(command->kind, ControlCommand::Kind::kChange);
  EXPECT_THAT(command->links, ElementsAre(Pair(0, 1)));
  EXPECT_EQ(command->change.down, true);
  EXPECT_FALSE(command->change.loss);
}

TEST(ControlCommand, ChangesManyThingsOfManyLinks) {
  const auto command = ParseControlCommand(
      " link * 2  up loss 5% delay 20ms rate 8Mbit burst 10ms burst-loss 0.9 reorder 1% "
      "duplicate 2% bit-flip 0.5 queue 64KiB\n",
      3);
  ASSERT_TRUE(command.ok()) << command.status();
  EXPECT_THAT(command->links, ElementsAre(Pair(kAny, 2)));
  const LinkChange& change = command->change;
  EXPECT_EQ(change.down, false);
  EXPECT_EQ(change.loss, 0.05);
  EXPECT_EQ(change.delay, absl::Milliseconds(20));
  EXPECT_EQ(change.bytes_per_second, 1e6);
  EXPECT_EQ(change.burst_mean, absl::Milliseconds(10));
  EXPECT_EQ(change.burst_loss, 0.9);
  EXPECT_EQ(change.reorder, 0.01);
  EXPECT_EQ(change.duplicate, 0.02);
  EXPECT_EQ(change.bit_flip, 0.5);
  EXPECT_EQ(change.queue_bytes_max, 65536u);
}

TEST(ControlCommand, BlackholesANode) {
  const auto command = ParseControlCommand("node 2 down", 3);
  ASSERT_TRUE(command.ok());
  EXPECT_THAT(command->links, ElementsAre(Pair(2, kAny), Pair(kAny, 2)));
}

TEST(ControlCommand, SignalsANode) {
  const auto command = ParseControlCommand("node 1 signal SIGSTOP", 3);
  ASSERT_TRUE(command.ok());
  EXPECT_EQ(command->kind, ControlCommand::Kind::kSignal);
  EXPECT_EQ(command->node, 1);
  EXPECT_EQ(command->signal, SIGSTOP);
}

TEST(ControlCommand, SaysWhatIsWrong) {
  const auto Message = [](const char* text) {
    const auto command = ParseControlCommand(text, 3);
    EXPECT_FALSE(command.ok()) << text;
    EXPECT_EQ(command.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(command.status().message());
  };
  EXPECT_THAT(Message(""), HasSubstr("a command is"));
  EXPECT_THAT(Message("links 0 1 down"), HasSubstr("a command is"));
  EXPECT_THAT(Message("link 0 3 down"), HasSubstr("nodes are 0 to 2, or *"));
  EXPECT_THAT(Message("link -1 2 down"), HasSubstr("nodes are 0 to 2"));
  EXPECT_THAT(Message("node * down"), HasSubstr("nodes are 0 to 2"));
  EXPECT_THAT(Message("node 0 signal HURRY"), HasSubstr("signals are"));
  EXPECT_THAT(Message("link 0 1"), HasSubstr("ends before"));
  EXPECT_THAT(Message("link 0 1 sideways"), HasSubstr("a change is"));
  EXPECT_THAT(Message("link 0 1 loss"), HasSubstr("probability"));
  EXPECT_THAT(Message("link 0 1 loss 200%"), HasSubstr("probability"));
}

TEST(TimedCommand, ComesWithATime) {
  const auto timed = ParseTimedCommand("1500ms link 0 1 up", 2);
  ASSERT_TRUE(timed.ok());
  EXPECT_EQ(timed->at, absl::Milliseconds(1500));
  EXPECT_EQ(timed->command.change.down, false);
  EXPECT_FALSE(ParseTimedCommand("link 0 1 up", 2).ok());
  EXPECT_FALSE(ParseTimedCommand("1s", 2).ok());
}

}  // namespace
}  // namespace perigee::linkemu
