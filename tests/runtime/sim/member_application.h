// The application of a simulated member: starts the calls of the workload step by step, several in
// flight, takes over microbatches when a member is lost, hands its state to newcomers, and reports
// to the judge.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "runtime/sim/cluster.h"
#include "tests/runtime/sim/workload.h"
#include "transport/base/rng.h"

namespace perigee {

// Common to all members of a run.
struct Job {
  WorkloadSettings workload;
  absl::Duration think_max = absl::Milliseconds(100);  // between two steps
  absl::Duration deal_max = absl::Milliseconds(20);    // to take over microbatches
  uint32_t steps_in_flight_max = 2;
  double cancel = 0;       // share of calls that are given up after a while
  size_t state_bytes = 0;  // handed to newcomers; 0: they need nothing
  StepId stop_after = StepId(UINT64_MAX >> OpId::kIndexBits);  // the last step
  Judge* judge = nullptr;
  // Told to the run: this incarnation is out.
  std::function<void(NodeId, const LeftView&)> on_left;

  // Counted over all members.
  uint64_t started = 0;
  uint64_t finished = 0;
  uint64_t cancelled = 0;
  uint64_t root_lost = 0;
  uint64_t given_up = 0;
  uint64_t dealt_again = 0;
  uint64_t states_received = 0;
  StepId furthest;
};

class MemberApplication : public Application {
 public:
  MemberApplication(Job& job, NodeId self, Node& node, Rng rng);
  ~MemberApplication() override;

  void OnEvent(absl::Time now, const NodeEvent& event) override;
  void OnTimeout(absl::Time now) override;
  absl::Time NextTimeout() const override;

  // In a view, through with all steps, and nothing is running; or not in any view yet.
  bool Idle() const {
    return running_.empty() && (!in_view_ || out_ || next_step_ > job_.stop_after);
  }
  bool out() const { return out_; }
  StepId next_step() const { return next_step_; }
  std::vector<OpId> RunningOps() const;
  // Gives everything up, as a caller whose deadline has passed.
  void CancelAll(absl::Time now);

 private:
  struct Running {
    Call call;
    // Guard bytes around unaligned buffers.
    std::vector<uint8_t> input;
    std::vector<uint8_t> output;
    size_t input_offset = 0;
    size_t output_offset = 0;
    bool in_place = false;
    std::vector<uint8_t> input_copy;
    std::unique_ptr<FixedPointSum> sum;
    Epoch dealt_in;
    absl::Time cancel_at = absl::InfiniteFuture();
    absl::Time resume_at = absl::InfiniteFuture();
  };

  void StartSteps(absl::Time now);
  bool StartNext(absl::Time now);
  std::unique_ptr<Running> Prepare(const Call& call, OpId op);
  CollectiveRequest RequestOf(Running& running, StepId step) const;
  void Deal(Running& running, OpId op, Epoch epoch);
  void OnView(absl::Time now, const ViewChanged& changed);
  void ExchangeState(absl::Time now, const ViewChanged& changed);
  void OnFinished(absl::Time now, const OpFinished& finished);
  void CheckMemory(const Running& running, OpId op);
  void Cancel(absl::Time now, OpId op);
  Epoch EpochForStep(StepId step) const;
  bool Leaving() const;
  std::string Name(OpId op) const;

  Job& job_;
  NodeId self_;
  Node& node_;
  Rng rng_;
  bool in_view_ = false;
  bool out_ = false;
  std::map<Epoch, Proposal> views_;
  StepId next_step_;
  size_t next_call_ = 0;
  absl::Time next_start_at_ = absl::InfinitePast();
  std::map<OpId, std::unique_ptr<Running>> running_;
  std::map<OpId, bool> cancelled_;  // whether OpFinished came
  // States on their way must stay where they are.
  std::deque<std::vector<uint8_t>> states_;
  std::vector<uint8_t> state_in_;
  Epoch state_epoch_;
};

}  // namespace perigee
