// Data-parallel training that loses no step and no sample: the members of a view compute the
// microbatches of a step, the sum goes through one fixed-point allreduce, everyone applies it, and
// a small commit op compares the states.
//
//   Trainer trainer(options, task, on_step);
//   PERIGEE_ASSIGN_OR_RETURN(TrainingResult result, trainer.Run());
//
// Run survives everything that may befall a member: it goes dark by the contact plan and comes
// back, is drained and taken back, is removed by mistake and rejoins; others die, and it takes over
// their microbatches. The final parameters are the same bits as those of a run in which nothing
// happened (training.md).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "collectives/fixed_point.h"
#include "runtime/host/communicator.h"
#include "runtime/host/sleep_file.h"
#include "runtime/host/training_task.h"
#include "runtime/microbatch_dealer.h"

namespace perigee {

struct TrainerOptions {
  CommunicatorOptions communicator;
  uint64_t steps = 1;
  uint32_t microbatches = 1;  // per step, over all members
  int scale_bits = 36;  // of the gradient's fixed point; a step that overflows is redone coarser
  // How long a step may stand still before the run fails with an error that says who is waited for.
  absl::Duration step_deadline = absl::Seconds(60);
  // How long a member that was in the job and fell out or was drained tries to come back, and how
  // long one that slept with the whole job waits for the others.
  absl::Duration rejoin_deadline = absl::Minutes(10);
  // Folder where a member leaves what it goes on with when the whole job was dark (sleep_file.h);
  // empty: only a process that lives on wakes up as itself.
  std::string state_dir;
};

struct StepReport {
  StepId step;
  double loss = 0;  // mean over all microbatches
  Epoch epoch;
  uint32_t members = 0;
  uint32_t contributions = 0;  // microbatches in the sum that was applied
  uint32_t computed = 0;       // microbatches computed here, repeats included
  uint64_t bytes = 0;          // of the vector that was summed
  uint64_t packets_lost = 0;   // of this member since it joined
  uint64_t packets_repaired = 0;
  absl::Duration compute;
  absl::Duration allreduce;
  absl::Duration total;
};

// What an operator would like to read in a log, one line each.
using NoticeFunction = std::function<void(const std::string& kind, const std::string& text)>;
using StepFunction = std::function<void(const StepReport&)>;

struct TrainingResult {
  uint64_t digest = 0;  // of the final state, compared with that of all members
  uint64_t steps = 0;   // applied here (a member that was away applied fewer than the job)
  SessionCounters counters;
};

class Trainer {
 public:
  // `task` is borrowed and outlives the trainer.
  Trainer(const TrainerOptions& options, TrainingTask& task, StepFunction on_step,
          NoticeFunction on_notice);

  // Runs to the last step. Errors: those of the task; Internal when the members' states differ;
  // DeadlineExceeded past step_deadline; FailedPrecondition when the coordinator does not want this
  // member back.
  absl::StatusOr<TrainingResult> Run();

 private:
  // A newcomer and the step at whose beginning it needs the state.
  struct Joining {
    StepId first_step;
    NodeId node;
  };
  enum class Outcome : uint8_t { kFinished, kLeft };

  // One incarnation, from joining to the end of the job or of the membership.
  absl::StatusOr<Outcome> RunAsMember();
  absl::Status Join();
  absl::Status FetchState(const View& joined);
  absl::StatusOr<Outcome> RunStep();
  absl::Status ComputeMine();
  absl::StatusOr<Outcome> ReduceGradient();
  absl::StatusOr<Outcome> WaitForGradient(OpId op);
  absl::StatusOr<Outcome> WaitForCommit();
  absl::Status ApplyAndCommit();
  absl::StatusOr<Outcome> LeftOr(const absl::Status& status);
  void ReadChanges();
  void OnChange(const MemberChange& change);
  absl::Status ServeNewcomers();
  CollectiveRequest GradientRequest();
  void WaitWhileDark();
  // Keeps what the next life begins with. Errors: those of WaitForCommit and WriteSleep.
  absl::Status FallAsleep();
  void WaitWhileAsleep();
  absl::Duration StepDeadline() const;
  NodeId node() const;
  void EndIncarnation();
  std::vector<uint8_t> PackState();
  absl::Status UnpackState(absl::Span<const uint8_t> bytes);
  uint64_t StateDigest();

  TrainerOptions options_;
  TrainingTask& task_;
  StepFunction on_step_;
  NoticeFunction on_notice_;

  FixedPointSettings fixed_point_;
  std::unique_ptr<FixedPointSum> sum_;
  std::vector<int64_t> reduced_;
  std::vector<float> gradient_;  // of one microbatch, and its loss behind it
  StepReport report_;
  StepId step_;
  uint64_t steps_applied_ = 0;
  SessionCounters counters_;  // of earlier incarnations of this run
  ContactPlan plan_;
  std::optional<Sleep> sleep_;  // that the next life begins with
  uint32_t flags_ = 0;          // of the last reduction

  // Of the present incarnation.
  std::unique_ptr<Communicator> comm_;
  MicrobatchDealer dealer_;
  std::vector<Joining> joining_;
  std::map<NodeId, std::vector<uint8_t>> states_out_;  // being sent
  std::optional<absl::Status> state_received_;
  std::optional<LeftView> left_;
  bool woken_ = false;  // and no step was finished since
  std::optional<OpId> commit_;
  uint64_t commit_in_[2] = {};  // {digest, ~digest}: their minima tell the smallest and the largest
  uint64_t commit_out_[2] = {};
};

}  // namespace perigee
