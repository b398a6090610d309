// What the simulated members compute, and the judge of what they get: a stream of collectives that
// is a pure function of (seed, step, index), as in training, where every member makes the same
// calls.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "collectives/buffer.h"
#include "collectives/contribution_set.h"
#include "collectives/fixed_point.h"
#include "runtime/control_message.h"
#include "runtime/node.h"
#include "transport/base/ids.h"
#include "transport/view.h"

namespace perigee {

struct WorkloadSettings {
  uint64_t seed = 1;
  uint32_t calls_per_step_max = 3;
  size_t count_max = 20'000;  // elements; most calls are much smaller
  double large = 0.02;        // share of the calls that are near count_max
  uint32_t roots = 1;         // broadcasts come from nodes below this
};

struct Call {
  CollectiveKind kind = CollectiveKind::kAllReduce;
  FailurePolicy policy = FailurePolicy::kAllOrNothing;
  DType dtype = DType::kF32;
  ReduceOp reduce_op = ReduceOp::kSum;
  size_t count = 0;
  NodeId root;
  uint32_t microbatches = 0;  // kFullSet
};

// The calls of one step, at least one.
std::vector<Call> CallsOf(const WorkloadSettings& settings, StepId step);
// What a contributor (a node, or a microbatch of kFullSet) puts in; small integers, so that
// floating-point sums are exact in every order.
std::vector<uint8_t> InputOf(const WorkloadSettings& settings, const Call& call, OpId op,
                             uint32_t contributor);
std::vector<float> MicrobatchOf(const WorkloadSettings& settings, const Call& call, OpId op,
                                MicrobatchId microbatch);
FixedPointSettings FixedPointOf(const Call& call);

// "view 3 {0,1} from step 4 (planned: node 2 joins): finish 3.1 by 0 for 1, abort 3.2".
std::string ToString(const Proposal& proposal);

// Judges what the members of one job report. Collects errors as text.
class Judge {
 public:
  explicit Judge(const WorkloadSettings& settings) : settings_(settings) {}

  void OnView(NodeId node, const Proposal& proposal);
  // A view that somebody knows to be decided, whether or not a member ever holds it.
  void OnRecord(const std::string& who, const Proposal& proposal);
  // The incarnation went out without the others' consent: whatever it had, they go on without it.
  void OnLeft(const Incarnation& incarnation) { left_.insert(incarnation); }
  // What one incarnation was given for an op.
  void OnDelivered(NodeId node, const Incarnation& incarnation, const Call& call,
                   const OpFinished& finished, absl::Span<const uint8_t> result);
  // Compares what the members delivered, over all ops.
  void CheckAgreement();
  void AddError(std::string text);
  // Gets a line per view at a member and per delivery.
  void SetLog(std::function<void(const std::string&)> log) { log_ = std::move(log); }

  const std::vector<std::string>& errors() const { return errors_; }
  const std::map<Epoch, Proposal>& views() const { return views_; }
  size_t op_count() const { return deliveries_.size(); }
  uint64_t delivery_count() const { return delivery_count_; }
  // Of all results that somebody was given.
  Epoch last_epoch() const { return last_epoch_; }
  StepId furthest_delivered() const {
    return deliveries_.empty() ? StepId() : deliveries_.rbegin()->first.step();
  }

 private:
  struct Delivery {
    NodeId node;
    Incarnation incarnation;
    Epoch epoch;
    absl::Status status;
    uint64_t digest = 0;
  };
  std::string CheckResult(const Call& call, const OpFinished& finished,
                          absl::Span<const uint8_t> result);
  std::vector<uint8_t> Expected(const Call& call, OpId op, const std::vector<NodeId>& nodes);
  std::vector<uint8_t> ExpectedFullSet(const Call& call, OpId op);
  void CompareDeliveries(OpId op, const Delivery& a, const Delivery& b);
  // Adds the view, or finds that its epoch has another one.
  void CompareView(const std::string& who, const Proposal& proposal,
                   std::map<Epoch, Proposal>* views);

  WorkloadSettings settings_;
  std::map<Epoch, Proposal> views_;     // that members hold
  std::map<Epoch, Proposal> recorded_;  // and that others know of
  std::map<OpId, std::vector<Delivery>> deliveries_;
  // Results that were right, so that equal ones need no second look.
  std::set<std::pair<OpId, uint64_t>> right_;
  std::set<Incarnation> left_;
  uint64_t delivery_count_ = 0;
  Epoch last_epoch_;
  std::vector<std::string> errors_;
  std::function<void(const std::string&)> log_ = [](const std::string&) {};
};

}  // namespace perigee
