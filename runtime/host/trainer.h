// Data-parallel training that loses no step and no sample: the members of a view compute the
// microbatches of a step, the sum goes through one fixed-point allreduce, and everyone applies it.
// The digests of the states come with the sum (runtime/step_commit.h).
//
//   Trainer trainer(options, task, on_step);
//   PERIGEE_ASSIGN_OR_RETURN(TrainingResult result, trainer.Run());
//
// Run survives everything that may befall a member: it goes dark by the contact plan and comes
// back, is drained and taken back, is removed by mistake and rejoins; others die, and it takes over
// their microbatches. The final parameters are the same bits as those of a run in which nothing
// happened (training.md).
//
// The same bits also where a memory or an arithmetic unit fails once. No sum is applied before all
// that went into it is known to come from equal states. Where they differ, everybody goes back to
// the version before, which is kept until then, applies the same gradient again, and repeats the
// step. Covered: bits that flip in the live state, before or while gradients are computed from it,
// and whatever Apply gets wrong. A member that differs again is given up where the majority agrees:
// it comes back with a fetched state, or not at all when that happens again soon. Not covered: what
// is the same on all members, and a gradient that is wrong although the state that it was computed
// from is right.
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
#include "runtime/host/versioned_state.h"
#include "runtime/microbatch_dealer.h"
#include "runtime/step_commit.h"

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
  uint64_t view_digest = 0;  // of the view of that epoch
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

// What an operator would like to read in a log, one line each. Of the states: "differs" (who has
// what, at every member) and "corrupt" (of the member that gives itself up).
using NoticeFunction = std::function<void(const std::string& kind, const std::string& text)>;
using StepFunction = std::function<void(const StepReport&)>;

struct TrainingResult {
  uint64_t digest = 0;  // of the final state, the same as that of all members
  uint64_t steps = 0;   // applied here (a member that was away applied fewer than the job)
  SessionCounters counters;
};

class Trainer {
 public:
  // `task` is borrowed and outlives the trainer.
  Trainer(const TrainerOptions& options, TrainingTask& task, StepFunction on_step,
          NoticeFunction on_notice);

  // How often a member may give itself up because of its state, and how many steps later that is
  // forgotten.
  static constexpr int kGivenUpMax = 2;
  static constexpr uint64_t kTrustedAfter = 1000;

  // Runs to the last step. Errors: those of the task; Internal when the members' states differ and
  // nobody can tell who is right, or it is this member again and again; DeadlineExceeded past
  // step_deadline; FailedPrecondition when the coordinator does not want this member back.
  absl::StatusOr<TrainingResult> Run();

 private:
  // A newcomer and the step at whose beginning it needs the state.
  struct Joining {
    StepId first_step;
    Epoch taken_in;  // of the view that begins there
    NodeId node;
  };
  enum class Outcome : uint8_t { kFinished, kLeft };
  // For peers that wait for something of this member, which is about to end.
  static constexpr absl::Duration kCloseDeadline = absl::Seconds(2);

  // One incarnation, from joining to the end of the job or of the membership (trainer_life.cc).
  absl::StatusOr<Outcome> RunAsMember();
  void WaitWhileDark();
  // Keeps what the next life begins with. The errors of WriteSleep.
  absl::Status FallAsleep();
  void WaitWhileAsleep();
  absl::Status BeginNextLife(const Sleep& sleep);
  absl::Duration StepDeadline() const;
  NodeId node() const { return options_.communicator.node; }
  absl::Time Now() const { return options_.communicator.clock.Now(); }
  absl::Status Join();
  absl::Status FetchState(const View& joined);
  absl::StatusOr<Outcome> LeftOr(const absl::Status& status);
  void ReadChanges();
  void OnChange(const MemberChange& change);
  absl::Status ServeNewcomers();
  void EndIncarnation();
  std::vector<uint8_t> PackState() const;
  void UnpackState(absl::Span<const uint8_t> bytes);

  // A step, and its commit (trainer_step.cc).
  absl::StatusOr<Outcome> RunStep();
  absl::StatusOr<Outcome> CommitLast();
  StepId OpStep() const;
  std::unique_ptr<FixedPointSum> MakeSum() const;
  absl::Status ComputeMine();
  absl::Status AddMine();
  absl::Status Add(MicrobatchId microbatch);
  absl::StatusOr<Outcome> Reduce();
  absl::StatusOr<Outcome> WaitForSum(OpId op);
  CollectiveRequest SumRequest();
  absl::StatusOr<bool> Overflowed();
  absl::Status ApplyMean();
  absl::StatusOr<bool> ApplyAgain();
  StepVerdict Verdict();
  absl::StatusOr<Outcome> OnDiffering(const StepVerdict& verdict, int results);
  absl::StatusOr<Outcome> FollowOthers(const StepVerdict& verdict);
  absl::StatusOr<Outcome> GiveUp(const std::string& why);
  std::string AfterStep() const;

  TrainerOptions options_;
  TrainingTask& task_;
  StepFunction on_step_;
  NoticeFunction on_notice_;

  StepId step_;
  FixedPointSettings fixed_point_;
  std::unique_ptr<FixedPointSum> sum_;
  std::vector<int64_t> reduced_;
  std::vector<float> gradient_;  // of one microbatch, and its loss behind it
  std::vector<float> mean_;      // as it was applied last; kept to apply it again
  VersionedState state_;
  uint64_t digest_ = 0;  // of the state that this member's part of the sum was computed from
  StepReport report_;
  uint64_t steps_applied_ = 0;
  SessionCounters counters_;  // of earlier incarnations of this run
  ContactPlan plan_;
  std::optional<Sleep> sleep_;  // that the next life begins with
  SteadyClock calendar_;        // which the plan is about
  uint32_t flags_ = 0;          // of the last reduction
  int given_up_ = 0;            // since steps were applied in peace
  uint64_t given_up_at_ = 0;    // steps_applied_ then

  // Of the present incarnation.
  std::unique_ptr<Communicator> comm_;
  MicrobatchDealer dealer_;
  std::vector<Joining> joining_;
  std::map<NodeId, std::vector<uint8_t>> states_out_;  // being sent
  std::optional<absl::Status> state_received_;
  std::optional<LeftView> left_;
  bool woken_ = false;  // and no step was finished since
};

}  // namespace perigee
