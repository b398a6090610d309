// What befalls a run besides its dark intervals: who is killed or stopped when, and how long the
// others stood still because of it. Neither part touches a process: JobRun does what the script
// says and tells the log what it saw.
//
//   FaultScript script(scene, options);
//   if (std::optional<Fault> fault = script.Next(now, state)) { ...; log.OnFault(now, ...); }
//   const FaultRecord* over = log.OnStep(now, epoch);   // of a member's fault
//   over = log.OnCoordinatorBack(now);
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "examples/train/options.h"
#include "transport/base/rng.h"

namespace perigee {

struct Fault {
  enum class Kind : uint8_t { kKill, kStop, kKillCoordinator };
  Kind kind = Kind::kKill;
  uint32_t node = 0;  // not of kKillCoordinator
  // After a kill: until it is started again.
  absl::Duration away = absl::Seconds(1);
  // kKillCoordinator: how long after that start it is killed once more, before it is ready.
  std::optional<absl::Duration> start_killed_after;
};
// "SIGKILL of node 2".
std::string ToString(const Fault& fault);

// The faults of a run. Times count from its start.
struct Scene {
  struct Dark {
    uint32_t node = 0;
    absl::Duration begins;
    absl::Duration ends;
  };
  struct Kill {
    uint32_t node = 0;
    uint64_t at_step = 0;  // SIGKILL when the first member reports this step
  };
  std::vector<Dark> dark;
  // Members have no power while they are dark: SIGKILL when it begins, started again when it ends.
  bool power_follows_plan = false;
  std::vector<Kill> kills;
  // SIGKILL and SIGSTOP of random members, and of the coordinator, at random moments by the seed.
  bool churn = false;
  // SIGKILL of a durable coordinator again and again, while members are drained and taken back.
  bool coordinator = false;

  // A node that goes dark twice, and another that is killed, spread over a run of about `length`.
  static Scene Demo(const TrainOptions& options, absl::Duration length);
  // All nodes lose their power within 0.27 s, as the 81 of a cluster in one shadow do.
  static Scene Blackout(const TrainOptions& options, absl::Duration length);
};

// What the script decides by.
struct JobState {
  std::optional<uint64_t> step;  // the furthest that was reported
  // All members are in the view that the last step was summed in, and the coordinator is there.
  bool whole = false;
  bool coordinator_up = false;  // it runs and has said that it is ready
  uint32_t members = 0;         // of the view that the last step was summed in
};

class FaultScript {
 public:
  FaultScript(const Scene& scene, const TrainOptions& options);

  // The next fault, if it is due. Churn waits until the job is whole, then up to kCalmMax, so that
  // every instant of a step can be hit, and leaves the last quarter of the steps in peace. The
  // coordinator alone is killed as soon as kLifeMax lets it, mostly before everybody is back.
  std::optional<Fault> Next(absl::Time now, const JobState& state);
  // When to ask again at the latest.
  absl::Time due() const { return due_; }

 private:
  static constexpr absl::Duration kCalmMax = absl::Seconds(2);
  static constexpr absl::Duration kLifeMax = absl::Milliseconds(1500);
  static constexpr absl::Duration kShortLifeMax = absl::Milliseconds(100);
  static constexpr absl::Duration kAwayMax = absl::Milliseconds(300);
  static constexpr absl::Duration kLongAwayMax = absl::Seconds(4);
  static constexpr absl::Duration kStartMax = absl::Milliseconds(60);

  absl::Duration DrawCalm();
  Fault Draw();
  Fault DrawOfCoordinator();

  std::vector<Scene::Kill> kills_;
  bool churn_ = false;
  bool coordinator_ = false;
  uint32_t nodes_ = 0;
  uint64_t churn_steps_ = 0;
  Rng rng_;
  absl::Time due_ = absl::InfiniteFuture();
};

struct FaultRecord {
  Fault fault;
  uint64_t step = 0;  // the furthest that was reported before it
  absl::Time at;
  uint64_t epoch = 0;  // of the view that it hit
  // How long no step was finished. Of a member's fault: from the fault to the first step of a view
  // without it. Of the coordinator's: the longest time between two steps until it is back.
  std::optional<absl::Duration> pause;
};

class FaultLog {
 public:
  void OnFault(absl::Time now, const Fault& fault, const JobState& state);
  // A step was reported for the first time, summed in view `epoch`. The record that this completes,
  // if any.
  const FaultRecord* OnStep(absl::Time now, uint64_t epoch);
  // The coordinator is back.
  const FaultRecord* OnCoordinatorBack(absl::Time now);
  const std::vector<FaultRecord>& records() const { return records_; }

 private:
  FaultRecord* Open();

  std::vector<FaultRecord> records_;
  uint64_t epoch_ = 0;
  absl::Time last_step_ = absl::InfinitePast();
  absl::Duration longest_;  // between two steps since the coordinator's fault
};

}  // namespace perigee
