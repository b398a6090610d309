// A job in virtual time whose members add up one number per step: node i contributes i + 1, so that
// a sum tells who took part.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "runtime/sim/cluster.h"

namespace perigee {

inline constexpr size_t kAdderCount = 5000;

struct Sum {
  absl::Status status;
  Epoch epoch;
  float value = 0;
};

// What happened at one member, over all its lives.
struct Diary {
  std::map<OpId, Sum> sums;
  std::vector<Proposal> views;
  std::vector<LeftView> left;
};

// Adds up, one op after the other, until told to stop.
class Adder : public Application {
 public:
  Adder(NodeId self, Node& node, Diary& diary, const StepId& stop_at)
      : node_(node),
        diary_(diary),
        stop_at_(stop_at),
        input_(kAdderCount, static_cast<float>(self.value() + 1)),
        output_(kAdderCount) {}

  void OnEvent(absl::Time now, const NodeEvent& event) override {
    if (const auto* changed = std::get_if<ViewChanged>(&event)) {
      if (diary_.views.empty() || !running_)
        next_ = std::max(next_, changed->proposal.view.first_step);
      diary_.views.push_back(changed->proposal);
    } else if (const auto* finished = std::get_if<OpFinished>(&event)) {
      diary_.sums[finished->op] = {finished->status, finished->epoch, output_.back()};
      running_ = false;
    } else if (const auto* left = std::get_if<LeftView>(&event)) {
      diary_.left.push_back(*left);
    }
    Go(now);
  }

  // Starts the next op where none runs.
  void Go(absl::Time now) {
    if (running_ || next_ >= stop_at_ || diary_.views.empty() || node_.out()) return;
    CollectiveRequest request;
    request.input = {input_.data(), kAdderCount, DType::kF32};
    request.output = {output_.data(), kAdderCount, DType::kF32};
    request.step = next_;
    running_ = node_.Start(now, request).ok();
    if (running_) next_ = next_.Next();
  }

 private:
  Node& node_;
  Diary& diary_;
  const StepId& stop_at_;
  std::vector<float> input_;
  std::vector<float> output_;
  StepId next_;
  bool running_ = false;
};

class AdderClusterTest : public testing::Test {
 protected:
  // Starts `count` members on links of 10 ms with 1 % loss.
  void Begin(uint32_t count, ClusterOptions options = {}) {
    options.node_count = count;
    options.channel = {.link = {125e6, absl::Milliseconds(10)}, .loss = 0.01};
    auto cluster = Cluster::Create(options, [this](NodeId self, Node& node) {
      return std::make_unique<Adder>(self, node, diaries_[self], stop_at_);
    });
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    cluster_ = *std::move(cluster);
    for (uint32_t i = 0; i < count; ++i) cluster_->StartNode(NodeId(i));
  }

  // True when all running members have finished every step below `step` within `limit`.
  bool RunToStep(uint64_t step, absl::Duration limit = absl::Seconds(60)) {
    GoTo(std::max(stop_at_, StepId(step)));
    const absl::StatusOr<bool> reached = cluster_->RunUntil(cluster_->now() + limit, [&] {
      for (uint32_t i = 0; i < cluster_->node_count(); ++i) {
        Node* node = cluster_->node(NodeId(i));
        if (node == nullptr || node->out() || cluster_->stopped(NodeId(i))) continue;
        if (!diaries_[NodeId(i)].sums.contains(OpId::Of(StepId(step - 1), 1))) return false;
      }
      return true;
    });
    return reached.ok() && *reached;
  }
  bool RunUntil(const std::function<bool()>& done, absl::Duration limit = absl::Seconds(60)) {
    GoTo(StepId(1'000'000));
    const absl::StatusOr<bool> reached = cluster_->RunUntil(cluster_->now() + limit, done);
    return reached.ok() && *reached;
  }

  void GoTo(StepId stop_at) {
    stop_at_ = stop_at;
    for (uint32_t i = 0; i < cluster_->node_count(); ++i) {
      auto* adder = static_cast<Adder*>(cluster_->application(NodeId(i)));
      if (adder != nullptr && !cluster_->stopped(NodeId(i))) adder->Go(cluster_->Now(NodeId(i)));
    }
  }

  Diary& diary(uint32_t node) { return diaries_[NodeId(node)]; }
  const View& view(uint32_t node) { return *cluster_->node(NodeId(node))->view(); }
  const Sum& sum(uint32_t node, uint64_t step) {
    return diaries_[NodeId(node)].sums[OpId::Of(StepId(step), 1)];
  }
  // The last step that the member has started, or nothing running.
  uint64_t LastStep(uint32_t node) { return diary(node).sums.rbegin()->first.step().value(); }
  // How many running ops were repeated by a change of view, over all views.
  size_t Repeated(uint32_t node) {
    size_t count = 0;
    for (const Proposal& proposal : diary(node).views) count += proposal.decisions.size();
    return count;
  }

  StepId stop_at_{10};
  std::map<NodeId, Diary> diaries_;
  std::unique_ptr<Cluster> cluster_;
};

}  // namespace perigee
