// The presets' pattern: among 200 members one goes dark or comes back every 2 s, and no step waits
// for the agreement on it. PERIGEE_PLANNED_SECONDS=n runs that much virtual time (60 by default).
//
// Every member adds up one number per step, step after step, so the time of an allreduce is all
// there is to a step. It stalls if it takes longer than the longest one of a run without changes,
// by more than a round trip: a ring that grows by a member takes that much longer anyway.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "absl/strings/numbers.h"
#include "runtime/sim/cluster.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

constexpr absl::Duration kDelay = absl::Milliseconds(1);
const absl::Duration kRoundTrip = 2 * kDelay;
constexpr absl::Duration kChangeEvery = absl::Seconds(2);
constexpr absl::Duration kFirstDark = absl::Seconds(6);
constexpr absl::Duration kDarkFor = absl::Seconds(7);

// What all members saw, over all their lives.
struct Diary {
  std::map<Epoch, Proposal> views;
  std::set<StepId> steps;
  absl::Duration longest;  // of an op, but for the first one of a life: a newcomer calls it early
  uint64_t unplanned = 0;  // leaves
  uint64_t failed = 0;     // ops
};

class Stepper : public Application {
 public:
  Stepper(Node& node, Diary& diary) : node_(node), diary_(diary) {}

  void OnEvent(absl::Time now, const NodeEvent& event) override {
    if (const auto* changed = std::get_if<ViewChanged>(&event)) {
      if (!in_view_) next_ = changed->proposal.view.first_step;
      in_view_ = true;
      diary_.views.emplace(changed->proposal.view.epoch, changed->proposal);
    } else if (const auto* finished = std::get_if<OpFinished>(&event)) {
      running_ = false;
      if (!finished->status.ok()) ++diary_.failed;
      diary_.steps.insert(finished->op.step());
      if (!first_) diary_.longest = std::max(diary_.longest, now - started_);
      first_ = false;
    } else if (const auto* left = std::get_if<LeftView>(&event)) {
      if (!left->planned) ++diary_.unplanned;
    }
    if (in_view_ && !running_ && !node_.out()) Go(now);
  }

 private:
  void Go(absl::Time now) {
    CollectiveRequest request;
    request.input = {&input_, 1, DType::kF64};
    request.output = {&output_, 1, DType::kF64};
    request.step = next_;
    started_ = now;
    running_ = node_.Start(now, request).ok();
    if (running_) next_ = next_.Next();
  }

  Node& node_;
  Diary& diary_;
  double input_ = 1;
  double output_ = 0;
  StepId next_;
  absl::Time started_;
  bool in_view_ = false;
  bool first_ = true;
  bool running_ = false;
};

// Whoever goes dark comes back three and a half changes later, so that every `kChangeEvery` one of
// both happens.
ContactPlan PlanOf(uint32_t members, absl::Duration length, const ClusterOptions& options) {
  std::vector<DarkInterval> dark;
  for (absl::Duration at = kFirstDark; at - options.coordinator.dark_lead < length;
       at += 2 * kChangeEvery) {
    const NodeId node(static_cast<uint32_t>((7 * dark.size() + 3) % members));
    dark.push_back({node, Cluster::Start() + at, Cluster::Start() + at + kDarkFor});
  }
  absl::StatusOr<ContactPlan> plan = ContactPlan::Create({}, std::move(dark));
  PERIGEE_CHECK(plan.ok());
  return *std::move(plan);
}

Diary RunJob(uint32_t members, absl::Duration length, bool changes, ClusterOptions options = {}) {
  options.node_count = members;
  options.channel = {.link = {125e6, kDelay}};
  options.power_follows_plan = true;
  if (changes) options.plan = PlanOf(members, length, options);
  Diary diary;
  auto cluster = Cluster::Create(
      options, [&](NodeId, Node& node) { return std::make_unique<Stepper>(node, diary); });
  PERIGEE_CHECK(cluster.ok());
  for (uint32_t i = 0; i < members; ++i) (*cluster)->StartNode(NodeId(i));
  const absl::StatusOr<bool> ended = (*cluster)->RunUntil(Cluster::Start() + length);
  EXPECT_TRUE(ended.ok()) << ended.status();
  std::cout << members << " members, " << length << (changes ? ", changes" : ", quiet") << ": "
            << diary.steps.size() << " steps, the longest op took " << diary.longest << ", "
            << diary.views.size() << " views, " << (*cluster)->event_count() << " events"
            << std::endl;
  return diary;
}

absl::Duration LengthFromEnvironment() {
  const char* text = std::getenv("PERIGEE_PLANNED_SECONDS");
  uint64_t seconds = 0;
  return absl::Seconds(text != nullptr && absl::SimpleAtoi(text, &seconds) ? seconds : 60);
}

// How often a member went, and how often one came.
struct Changes {
  int gone = 0;
  int come = 0;
};
Changes CountChanges(const std::map<Epoch, Proposal>& views) {
  Changes changes;
  const View* before = nullptr;
  for (const auto& [epoch, proposal] : views) {
    if (before != nullptr && proposal.view.size() < before->size()) ++changes.gone;
    if (before != nullptr && proposal.view.size() > before->size()) ++changes.come;
    before = &proposal.view;
  }
  return changes;
}

TEST(PlannedChanges, TwoHundredMembersChangeEveryTwoSecondsAndNoStepWaits) {
  constexpr uint32_t kMembers = 200;
  const absl::Duration length = LengthFromEnvironment();
  const Diary quiet = RunJob(kMembers, kFirstDark, /*changes=*/false);
  const Diary diary = RunJob(kMembers, length, /*changes=*/true);
  EXPECT_GT(quiet.steps.size(), 5u);
  EXPECT_LE(diary.longest, quiet.longest + kRoundTrip);
  EXPECT_EQ(diary.failed, 0u);
  EXPECT_EQ(diary.unplanned, 0u);
  for (const auto& [epoch, proposal] : diary.views) {
    EXPECT_TRUE(proposal.planned) << ToString(proposal.view) << ": " << proposal.reason;
    EXPECT_TRUE(proposal.decisions.empty());
  }
  // The last ones may not be through.
  const Changes changes = CountChanges(diary.views);
  const int expected = static_cast<int>((length - kFirstDark) / (2 * kChangeEvery));
  EXPECT_GE(changes.gone, expected);
  EXPECT_GE(changes.come, expected - static_cast<int>(kDarkFor / (2 * kChangeEvery)) - 1);
}

// With views that begin at once the members have to wait for the decision.
TEST(PlannedChanges, AViewThatBeginsAtOnceIsSeenAsAStall) {
  ClusterOptions options;
  options.coordinator.steps_ahead = 0;
  options.control_delay = absl::Milliseconds(50);
  const Diary quiet = RunJob(8, kFirstDark, /*changes=*/false, options);
  const Diary diary = RunJob(8, absl::Seconds(24), /*changes=*/true, options);
  EXPECT_GT(diary.longest, quiet.longest + kRoundTrip);
}

}  // namespace
}  // namespace perigee
