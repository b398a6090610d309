// Planted situations, and the one sentence that each must give.
#include "runtime/explain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace perigee {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);  // 2027-01-15T08:00:00Z
const OpId kBefore = OpId::Of(StepId(12), 0);
const OpId kOp = OpId::Of(StepId(12), 1);
constexpr char kCall[] = "allreduce sum of 1000 f32";

// Four members, each beating, each with answering links to the others. Nothing runs.
class ExplainTest : public testing::Test {
 protected:
  ExplainTest() {
    situation_.now = kNow;
    for (uint32_t node = 0; node < 4; ++node) {
      MemberAccount account{.node = NodeId(node), .in_view = true, .connected = true};
      account.heard_ago = account.report_age = absl::Milliseconds(50);
      account.report = Beat{.step = StepId(12), .epoch = Epoch(1), .active = true};
      account.report->calls = {.last = kBefore, .ago = absl::Seconds(40)};
      for (uint32_t peer = 0; peer < 4; ++peer) {
        if (peer == node) continue;
        account.report->links.push_back(
            {.peer = NodeId(peer), .heard_ago = absl::Milliseconds(20)});
      }
      situation_.members.push_back(std::move(account));
    }
  }

  MemberAccount& At(uint32_t node) { return situation_.members[node]; }
  LinkReport& Link(uint32_t from, uint32_t to) {
    std::vector<LinkReport>& links = At(from).report->links;
    return *std::find_if(links.begin(), links.end(),
                         [&](const LinkReport& link) { return link.peer == NodeId(to); });
  }
  // `node` has called kOp and waits for `waits_for`, for `stalled` so far.
  OpReport& Wait(uint32_t node, uint32_t waits_for, absl::Duration stalled = absl::Seconds(4)) {
    At(node).report->calls = {.last = kOp, .ago = stalled};
    return At(node).report->ops.emplace_back(OpReport{.op = kOp,
                                                      .epoch = Epoch(1),
                                                      .progress = 0.25,
                                                      .age = stalled,
                                                      .waiting_for = {NodeId(waits_for)},
                                                      .stalled = stalled,
                                                      .call = kCall});
  }
  void WaitInARing() {
    for (uint32_t node = 0; node < 4; ++node) Wait(node, (node + 3) % 4);
  }
  // Nobody has heard it for so long; it said nothing of what happened since.
  void Silence(uint32_t node, absl::Duration silence) {
    At(node).heard_ago = At(node).report_age = silence;
    for (uint32_t peer = 0; peer < 4; ++peer) {
      if (peer != node) Link(peer, node).heard_ago = silence - absl::Milliseconds(100);
    }
  }
  std::vector<std::string> Texts(const ExplainOptions& options = {}) {
    std::vector<std::string> texts;
    for (const Sentence& sentence : Explain(situation_, options)) texts.push_back(sentence.text);
    return texts;
  }

  Situation situation_;
};

// ---- The three hangs. ----

TEST_F(ExplainTest, AStoppedMember) {
  for (uint32_t node : {0, 1, 3}) Wait(node, (node + 3) % 4, absl::Milliseconds(2250));
  Silence(2, absl::Milliseconds(2300));
  EXPECT_THAT(Texts(), ElementsAre("op 12.1 (allreduce sum of 1000 f32) waits on nodes 0, 1, 3 for "
                                   "node 2, from which nothing was heard for 2.2s (by the "
                                   "coordinator: 2.3s; by nodes 0, 1, 3: 2.2s)"));
}

TEST_F(ExplainTest, AOneWayLink) {
  WaitInARing();
  Link(1, 2).unanswered = absl::Seconds(4);  // what node 1 sends does not arrive,
  Link(2, 1).heard_ago = absl::Seconds(5);
  Link(1, 2).heard_ago = absl::Milliseconds(10);  // but the probes of node 2 do
  Link(2, 1).unanswered = absl::Seconds(4);
  const std::string sentence =
      "op 12.1 (allreduce sum of 1000 f32) waits on nodes 0, 1, 2, 3: node 2 waits for node 1; "
      "node 1 has had no answer from node 2 on its link for 4s although both beat: the link 1 -> 2 "
      "is down (one way)";
  EXPECT_THAT(Texts(), ElementsAre(sentence));
  // The receiver that was owed nothing by the sender knows less, the sentence says the same.
  Link(2, 1).unanswered = absl::ZeroDuration();
  EXPECT_THAT(Texts(), ElementsAre(sentence));
}

TEST_F(ExplainTest, AMemberThatHasNotCalled) {
  for (uint32_t node : {0, 1, 3}) Wait(node, (node + 3) % 4);
  EXPECT_THAT(Texts(), ElementsAre("op 12.1 (allreduce sum of 1000 f32) waits on nodes 0, 1, 3 for "
                                   "node 2: node 2 has not called it yet; its last call was 12.0, "
                                   "40s ago; its training loop is elsewhere"));
  At(2).report->calls = {};
  EXPECT_THAT(Texts(), ElementsAre(HasSubstr("it has called nothing so far")));
}

TEST_F(ExplainTest, AMismatchedCall) {
  WaitInARing();
  At(2).report->ops[0].call = "broadcast from node 0 of 1000 f32";
  EXPECT_THAT(Texts(),
              ElementsAre("op 12.1 cannot end: nodes 0, 1, 3 called \"allreduce sum of "
                          "1000 f32\" where node 2 called \"broadcast from node 0 of 1000 "
                          "f32\"; all members must make the same calls in the same order"));
}

// Mostly the members notice it themselves: the op fails, and the programs call nothing more.
TEST_F(ExplainTest, AMismatchThatTheMembersNoticed) {
  for (uint32_t node : {1, 3}) {
    At(node).report->calls = {.last = kOp,
                              .ago = absl::Seconds(9),
                              .failed = kOp,
                              .failed_ago = absl::Seconds(3),
                              .failure = "op 12.1: node 2 called \"a\" where node 3 called \"b\""};
  }
  EXPECT_THAT(Texts(), ElementsAre("op 12.1 failed on nodes 1 and 3 3s ago: op 12.1: node 2 called "
                                   "\"a\" where node 3 called \"b\""));
  for (uint32_t node : {1, 3}) At(node).report->calls.last = OpId::Of(StepId(13), 1);
  EXPECT_THAT(Texts(), ElementsAre(Not(HasSubstr("failed")))) << "the program went on";
}

// ---- The coordinator and the agreement. ----

TEST_F(ExplainTest, NoViewBecauseOfMissingVotes) {
  for (uint32_t node : {0, 1}) Wait(node, (node + 3) % 4);
  for (uint32_t node : {2, 3}) Silence(node, absl::Seconds(14));
  situation_.waiting_reason = "view 2 needs 3 of 4 votes; missing: node 2 (lost 13s ago)";
  const std::vector<std::string> texts = Texts();
  ASSERT_EQ(texts.size(), 1u);
  EXPECT_THAT(texts[0], HasSubstr("waits on nodes 0 and 1 for nodes 2 and 3: node 2, from which "
                                  "nothing was heard for 13s"));
  EXPECT_THAT(texts[0], HasSubstr("; there is no other view: view 2 needs 3 of 4 votes"));
  for (uint32_t node : {0, 1}) At(node).report->ops.clear();
  EXPECT_THAT(Texts(), ElementsAre("no op hangs, but there is no other view: view 2 needs 3 of 4 "
                                   "votes; missing: node 2 (lost 13s ago)"));
}

TEST_F(ExplainTest, MembersFrozenDuringTheAgreement) {
  WaitInARing();
  for (uint32_t node = 0; node < 4; ++node) At(node).report->frozen = true;
  EXPECT_THAT(Texts(), ElementsAre("op 12.1 (allreduce sum of 1000 f32) waits on nodes 0, 1, 2, 3 "
                                   "for the next view, which is being agreed"));
  Silence(3, absl::Seconds(6));
  EXPECT_THAT(Texts(), ElementsAre(testing::AllOf(HasSubstr("for node 3, from which nothing"),
                                                  HasSubstr("; the next view is being agreed"))));
}

TEST_F(ExplainTest, AnOpThatAwaitsAViewOrItsOwnProgram) {
  for (uint32_t node = 0; node < 4; ++node) {
    Wait(node, 0).waiting_for.clear();
    At(node).report->ops[0].phase = OpReport::Phase::kAwaitsView;
  }
  EXPECT_THAT(Texts(), ElementsAre(HasSubstr("for the next view, which is being agreed")));
  WaitInARing();
  for (uint32_t node = 0; node < 4; ++node) {
    At(node).report->ops.erase(At(node).report->ops.begin());
  }
  At(1).report->ops[0].phase = OpReport::Phase::kAwaitsInput;
  EXPECT_THAT(Texts(), ElementsAre(HasSubstr("waits on nodes 0, 2, 3 for node 1, whose program has "
                                             "to bring its input again in view 1 and has not for "
                                             "4s")));
}

TEST_F(ExplainTest, AMemberThatIsDarkByPlan) {
  for (uint32_t node : {0, 1, 3}) Wait(node, (node + 3) % 4);
  Silence(2, absl::Seconds(4));
  situation_.plan =
      *ContactPlan::Create({}, {{NodeId(2), kNow - absl::Seconds(5), kNow + absl::Minutes(4)}});
  EXPECT_THAT(Texts(), ElementsAre("op 12.1 (allreduce sum of 1000 f32) waits on nodes 0, 1, 3 for "
                                   "node 2, which is dark by plan until 2027-01-15T08:04:00Z (in "
                                   "4m)"));
}

// ---- Links, loops, and what is no reason. ----

TEST_F(ExplainTest, WhichDirectionIsDownFollowsFromWhoHearsWhom) {
  WaitInARing();
  Link(2, 1).unanswered = absl::Seconds(4);
  Link(2, 1).heard_ago = absl::Seconds(4);
  EXPECT_THAT(Texts(), ElementsAre(HasSubstr("the link 1 -> 2 is down")))
      << "node 1 hears the probes of node 2 and answers them";
  Link(1, 2).heard_ago = absl::Seconds(4);
  EXPECT_THAT(Texts(), ElementsAre(HasSubstr("the link 2 -> 1 is down")))
      << "node 1 hears no probe";
  Link(1, 2).unanswered = absl::Seconds(4);
  EXPECT_THAT(Texts(), ElementsAre(HasSubstr("nothing passes between them, in either direction")));
  Link(2, 1).heard_ago = absl::Milliseconds(10);
  EXPECT_THAT(Texts(), ElementsAre(HasSubstr("the link 2 -> 1 is down")))
      << "what node 1 sends arrives, the answers do not";
}

TEST_F(ExplainTest, ALinkThatThePlanHasClosed) {
  WaitInARing();
  Link(1, 2).unanswered = Link(2, 1).heard_ago = absl::Seconds(4);
  situation_.plan = *ContactPlan::Create(
      {{.from = NodeId(1), .to = NodeId(2), .opens = kNow + absl::Minutes(1), .link = {1e6}}}, {});
  EXPECT_THAT(Texts(), ElementsAre(HasSubstr("the link 1 -> 2 is down (one way) because the plan "
                                             "has no contact there until 2027-01-15T08:01:00Z")));
}

TEST_F(ExplainTest, ALoopThatIsLate) {
  WaitInARing();
  At(2).report->loop_lateness = absl::Milliseconds(700);
  EXPECT_THAT(Texts(), ElementsAre(HasSubstr("waits on nodes 0, 1, 3 for node 2, whose loop was "
                                             "late by 700ms")));
}

TEST_F(ExplainTest, OpsThatWaitForOneBeforeThem) {
  for (uint32_t node : {0, 2, 3}) Wait(node, (node + 3) % 4);
  Wait(1, 0).op = OpId::Of(StepId(12), 2);
  At(1).report->calls.last = OpId::Of(StepId(12), 2);
  EXPECT_THAT(Texts(), ElementsAre(HasSubstr("no reason is visible"),
                                   HasSubstr("op 12.2 (allreduce sum of 1000 f32) waits on node 1 "
                                             "for nodes 0, 2, 3: node 0, which is still in op "
                                             "12.1")));
  Silence(2, absl::Seconds(4));
  EXPECT_THAT(Texts(), testing::Each(HasSubstr("for node 2, from which nothing was heard")));
}

// What the coordinator heard last of a member is old; its peers know better.
TEST_F(ExplainTest, AMemberThatOnlyTheCoordinatorDoesNotHear) {
  for (uint32_t node : {0, 1, 3}) Wait(node, (node + 3) % 4);
  Wait(2, 1).op = OpId::Of(StepId(11), 1);
  At(2).heard_ago = At(2).report_age = absl::Seconds(30);
  EXPECT_THAT(Texts(), ElementsAre("op 12.1 (allreduce sum of 1000 f32) waits on nodes 0, 1, 3 for "
                                   "node 2, of which little is known: the coordinator has not "
                                   "heard it for 30s, but nodes 0, 1, 3 do"));
}

TEST_F(ExplainTest, NobodyIsHeard) {
  WaitInARing();
  for (uint32_t node = 0; node < 4; ++node) At(node).connected = false;
  EXPECT_THAT(Texts(), ElementsAre("nothing is known of any op: the coordinator has heard nothing "
                                   "from nodes 0, 1, 2, 3 for 50ms"));
  At(1).report->calls.failed = kOp;
  EXPECT_THAT(Texts(), ElementsAre(HasSubstr("op 12.1 failed on node 1"))) << "its last words";
}

TEST_F(ExplainTest, AMemberThatHasLeftIsStillWaitedFor) {
  for (uint32_t node : {0, 1, 3}) Wait(node, (node + 3) % 4);
  situation_.members.erase(situation_.members.begin() + 2);
  EXPECT_THAT(Texts(), ElementsAre(HasSubstr("for node 2, which the coordinator does not know any "
                                             "more: it has left")));
}

TEST_F(ExplainTest, NoReasonIsVisible) {
  WaitInARing();
  EXPECT_THAT(Texts(), ElementsAre(HasSubstr("node 0 waits for node 3, and no reason is visible")));
}

TEST_F(ExplainTest, NothingHangs) {
  EXPECT_THAT(Texts(),
              ElementsAre("nothing hangs: no op runs; the last call was 12.0, 40s ago: the "
                          "training loops compute, or are elsewhere"));
  for (uint32_t node = 0; node < 4; ++node) Wait(node, (node + 3) % 4, absl::Milliseconds(300));
  EXPECT_THAT(Texts(), ElementsAre("nothing hangs: op 12.1 (allreduce sum of 1000 f32) runs, 25% "
                                   "after 300ms, and gets on"));
  EXPECT_FALSE(Explain(situation_, {})[0].hangs);
  EXPECT_THAT(Texts({.op = kOp}), ElementsAre(HasSubstr("op 12.1"))) << "asked for, told";
  EXPECT_THAT(Texts({.op = OpId::Of(StepId(13), 1)}),
              ElementsAre("nothing hangs: op 13.1 was called by nobody yet"));
  EXPECT_THAT(Texts({.op = kBefore}),
              ElementsAre("nothing hangs: op 12.0 is over on nodes 0, 1, 2, 3"));
  situation_.members.clear();
  EXPECT_THAT(Texts(), ElementsAre("nothing hangs: no member is known"));
}

// ---- Flight records: no coordinator. ----

TEST_F(ExplainTest, RecordsOfTheOthersNameTheOneWithoutARecord) {
  for (uint32_t node : {0, 1, 3}) Wait(node, (node + 3) % 4);
  Silence(2, absl::Seconds(4));
  situation_.coordinator = false;
  At(2).report.reset();
  EXPECT_THAT(Texts(), ElementsAre("op 12.1 (allreduce sum of 1000 f32) waits on nodes 0, 1, 3 for "
                                   "node 2, which left no record and from which nothing was heard "
                                   "for 3.9s (by nodes 0, 1, 3: 3.9s)"));
  situation_.members.erase(situation_.members.begin() + 2);
  EXPECT_THAT(Texts(), ElementsAre(HasSubstr("for node 2, which left no record")));
}

// Whatever is reported, there is at least one sentence, and none is empty.
TEST_F(ExplainTest, AnythingGivesSentences) {
  for (uint64_t seed = 1; seed <= 2000; ++seed) {
    SCOPED_TRACE(seed);
    uint64_t state = seed;
    const auto below = [&state](uint64_t limit) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      return static_cast<uint32_t>((state >> 33) % limit);
    };
    for (uint32_t node = 0; node < 4; ++node) {
      Beat& report = At(node).report.emplace();
      for (uint32_t i = below(3); i > 0; --i) {
        OpReport& op = Wait(node, below(5), absl::Milliseconds(below(5000)));
        op.op = OpId(below(4));
        op.phase = static_cast<OpReport::Phase>(below(3));
        if (below(4) == 0) op.waiting_for.clear();
      }
      report.calls.last = OpId(below(4));
      report.frozen = below(5) == 0;
      for (uint32_t i = below(5); i > 0; --i) {
        report.links.push_back({.peer = NodeId(below(5)),
                                .unanswered = absl::Milliseconds(below(2000)),
                                .heard_ago = absl::Milliseconds(below(2000))});
      }
      At(node).heard_ago = absl::Milliseconds(below(2000));
      At(node).connected = below(4) > 0;
      if (below(6) == 0) At(node).report.reset();
    }
    situation_.coordinator = below(2) == 0;
    const std::vector<std::string> texts = Texts();
    ASSERT_FALSE(texts.empty());
    for (const std::string& text : texts) {
      EXPECT_FALSE(text.empty());
      EXPECT_EQ(text.find('\n'), std::string::npos) << text;
    }
  }
}

}  // namespace
}  // namespace perigee
