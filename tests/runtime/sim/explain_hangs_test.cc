// Real hangs in virtual time, from the members' beats over the coordinator's records to the one
// sentence that an operator reads.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "runtime/explain.h"
#include "runtime/sim/cluster.h"
#include "runtime/situation.h"

namespace perigee {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

// Adds up one vector per step, up to `stop_at`.
class Caller : public Application {
 public:
  Caller(Node& node, StepId stop_at, size_t count)
      : node_(node), stop_at_(stop_at), data_(count, 1.0f) {}
  void OnEvent(absl::Time now, const NodeEvent& event) override {
    const auto* finished = std::get_if<OpFinished>(&event);
    if (finished != nullptr) next_ = finished->status.ok() ? next_.Next() : stop_at_;
    const bool may_call =
        std::holds_alternative<OpFinished>(event) || std::holds_alternative<ViewChanged>(event);
    if (!may_call || next_ >= stop_at_) return;
    const Buffer buffer{data_.data(), data_.size(), DType::kF32};
    CollectiveRequest request;
    request.input = {data_.data(), data_.size(), DType::kF32};
    request.output = buffer;
    request.step = next_;
    (void)node_.Start(now, request);
  }

 private:
  Node& node_;
  StepId stop_at_;
  std::vector<float> data_;
  StepId next_;
};

class ExplainHangsTest : public testing::Test {
 protected:
  // Four members; node 2 calls nothing from step `lazy_from` on, and adds up `count_of_2` numbers
  // where the others add up 5000. Nobody is ever proposed for removal, as where too few would be
  // left.
  void Begin(uint64_t lazy_from = 1'000'000, size_t count_of_2 = 5000) {
    ClusterOptions options{.node_count = 4};
    options.channel = {.link = {125e6, absl::Milliseconds(10)}, .loss = 0.01};
    options.coordinator.suspect_after = absl::Hours(1);
    auto cluster = Cluster::Create(options, [=](NodeId self, Node& node) {
      const bool two = self == NodeId(2);
      return std::make_unique<Caller>(node, StepId(two ? lazy_from : 1'000'000),
                                      two ? count_of_2 : 5000);
    });
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    cluster_ = *std::move(cluster);
    for (uint32_t i = 0; i < 4; ++i) cluster_->StartNode(NodeId(i));
    Run(absl::Seconds(2));
  }
  void Run(absl::Duration duration) {
    ASSERT_TRUE(cluster_->RunUntil(cluster_->now() + duration).ok());
  }
  std::vector<std::string> Texts() {
    std::vector<std::string> texts;
    const Situation situation = SituationOf(cluster_->now(), *cluster_->coordinator());
    for (const Sentence& sentence : Explain(situation, {})) texts.push_back(sentence.text);
    return texts;
  }

  std::unique_ptr<Cluster> cluster_;
};

TEST_F(ExplainHangsTest, AllIsWell) {
  Begin();
  EXPECT_THAT(Texts(), ElementsAre(StartsWith("nothing hangs: ")));
}

TEST_F(ExplainHangsTest, AStoppedMember) {
  Begin();
  cluster_->Stop(NodeId(2));
  Run(absl::Seconds(4));
  EXPECT_THAT(Texts()[0], AllOf(HasSubstr("(allreduce sum of 5000 f32) waits on node"),
                                HasSubstr(" for node 2, from which nothing was heard for "),
                                HasSubstr("(by the coordinator: "), HasSubstr("; by nodes ")));
}

TEST_F(ExplainHangsTest, AOneWayLink) {
  Begin();
  cluster_->SetDown(NodeId(1), NodeId(2), true);
  Run(absl::Seconds(4));
  EXPECT_THAT(Texts()[0],
              AllOf(HasSubstr("(allreduce sum of 5000 f32) waits on node"),
                    HasSubstr(": node 2 waits for node 1; node 1 has had no answer from node 2"),
                    HasSubstr("although both beat: the link 1 -> 2 is down (one way)")));
  cluster_->SetDown(NodeId(1), NodeId(2), false);
  Run(absl::Seconds(4));
  EXPECT_THAT(Texts(), ElementsAre(StartsWith("nothing hangs: ")));
}

TEST_F(ExplainHangsTest, AMemberThatDoesNotCall) {
  Begin(/*lazy_from=*/5);
  Run(absl::Seconds(4));
  EXPECT_THAT(Texts(),
              ElementsAre(AllOf(StartsWith("op 5.1 (allreduce sum of 5000 f32) waits on nodes 0, "
                                           "1, 3 for node 2: node 2 has not called it yet; its "
                                           "last call was 4.1, "),
                                HasSubstr(" ago; its training loop is elsewhere"))));
}

TEST_F(ExplainHangsTest, AMemberThatCallsSomethingElse) {
  Begin(/*lazy_from=*/1'000'000, /*count_of_2=*/4000);
  EXPECT_THAT(Texts(), ElementsAre(AllOf(StartsWith("op 0.1 failed on nodes "),
                                         HasSubstr("allreduce sum of 4000 f32"),
                                         HasSubstr("allreduce sum of 5000 f32"))));
}

}  // namespace
}  // namespace perigee
