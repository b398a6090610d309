// One run of the example's job with real processes: a perigeed, the members, and the faults of a
// scene.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "examples/train/departures.h"
#include "examples/train/display.h"
#include "examples/train/faults.h"
#include "examples/train/known_views.h"
#include "examples/train/lossy_network.h"
#include "examples/train/options.h"
#include "runtime/cli/child_process.h"

namespace perigee {

struct JobResult {
  std::map<uint32_t, std::string> digests;  // of the final state, by node
  std::vector<double> losses;               // by step
  uint64_t steps_lost = 0;                  // steps that no member applied
  uint64_t samples_lost = 0;  // microbatches that were missing in the sums that were applied
  bool losses_agree = true;   // all members reported the same loss for every step
  uint32_t kills = 0;         // of members
  std::vector<FaultRecord> faults;
  uint32_t dark_count = 0;   // how often a member left for a dark interval
  std::set<uint32_t> slept;  // members that slept with the whole job
  uint32_t rejoins = 0;      // states that were fetched from a peer
  std::vector<double> step_seconds;
  uint64_t packets_lost = 0;
  uint64_t packets_repaired = 0;
  nlohmann::ordered_json views;  // of `perigeectl views`
  uint32_t coordinator_kills = 0;
  uint32_t departures = 0;  // drained members that left and came back
  size_t views_known = 0;   // to members or the store, and how many to both
  size_t views_stored = 0;
  std::vector<std::string> contradictions;  // between members, the store, and itself
  absl::Duration longest_step;              // between the first reports of two steps
  absl::Duration wall;
  absl::Duration training;  // from the first step that was finished to the last
};

class JobRun {
 public:
  JobRun(const TrainOptions& options, Scene scene, Display& display);

  // Everything that was started has ended when it returns. An error names the member and its last
  // words.
  absl::StatusOr<JobResult> Run();

 private:
  struct Worker {
    std::optional<ChildProcess> process;
    bool finished = false;
    absl::Time restart_at = absl::InfiniteFuture();
    absl::Time continue_at = absl::InfiniteFuture();  // it is stopped until then
  };

  // As it is run: in the namespace of `node` where there are namespaces.
  std::vector<std::string> Inside(uint32_t node, const std::vector<std::string>& argv) const;
  absl::Status StartWorker(uint32_t node);
  absl::Status WritePlan();
  absl::Status ChooseTrust();
  absl::Status Turn();
  absl::Status CheckWorkers();
  absl::Status Restart();
  void CutPower();
  void Strike(const Fault& fault);
  JobState State() const;
  void Show(const FaultRecord* record);
  bool AllFinished() const;

  // What the members say (job_lines.cc).
  void OnLine(uint32_t node, const std::string& line);
  void OnStep(uint32_t node, const nlohmann::json& step);
  void OnNotice(uint32_t node, const nlohmann::json& notice);
  void OnConnection(uint32_t node, const std::string& text);

  // The coordinator (job_coordinator.cc).
  std::string StorePath() const;
  std::vector<std::string> CoordinatorCommand() const;
  absl::Status StartCoordinator();
  void KillCoordinator(const Fault& fault);
  absl::Status RestartCoordinator();
  absl::Status EndCoordinator();
  absl::Status AskForDepartures();
  nlohmann::ordered_json AskCoordinator(const std::string& what);
  void ReadStates();

  // The last line of a log, for a run that failed.
  std::string LastWords(const std::string& name) const;

  TrainOptions options_;
  Scene scene_;
  Display& display_;
  std::string folder_;  // plan, certificates and logs; removed after a good run
  std::string address_;
  std::vector<std::string> trust_ = {"--insecure"};  // or --certs DIR: flags of every program
  absl::Time start_;
  std::optional<LossyNetwork> network_;
  std::optional<ChildProcess> coordinator_;
  absl::Time coordinator_restart_at_ = absl::InfiniteFuture();
  std::optional<absl::Duration> start_killed_after_;  // of the next start
  std::optional<Departures> departures_;
  std::optional<ChildProcess> operator_;  // perigeectl, as it asks for a departure
  KnownViews known_views_;
  FaultScript script_;
  FaultLog log_;
  std::vector<Worker> workers_;
  JobResult result_;
  std::map<uint64_t, uint32_t> contributions_;  // by step, of the first report
  uint32_t members_ = 0;                        // of the view that the last step was summed in
  std::set<uint32_t> connected_;                // to the coordinator
  bool coordinator_gone_ = false;               // and that was shown
  std::set<std::string> notices_shown_;
  absl::Time first_step_at_ = absl::InfiniteFuture();
  absl::Time last_progress_;
  absl::Time next_states_;
};

}  // namespace perigee
