// The run behind RunChaos: a cluster, its faults (chaos_faults.cc), and what must hold at the end
// (chaos_checks.cc).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/sim/cluster.h"
#include "tests/runtime/sim/chaos.h"
#include "tests/runtime/sim/chaos_world.h"
#include "tests/runtime/sim/member_application.h"
#include "tests/runtime/sim/workload.h"
#include "transport/base/rng.h"

namespace perigee {

class Chaos {
 public:
  // Once nothing more breaks, a connected majority has a view of its own and ends a new op within
  // this time.
  static constexpr absl::Duration kProgressLimit = absl::Seconds(60);
  // After the last fault everything must come to an end within this time.
  static constexpr absl::Duration kQuietLimit = absl::Seconds(180);

  Chaos(uint64_t seed, std::ostream* transcript);
  ChaosReport Run();

 private:
  void MakeCluster();
  void ScheduleFaults();
  void Heal();
  void OnLeft(NodeId node, const LeftView& left);
  void Count();

  // Faults.
  void Fault();
  void Lose(NodeId node);
  void LoseThird();
  void Pause(NodeId node);
  void CutLink(NodeId from);
  void CutOffForAWhile();
  void DisturbControl(NodeId node);
  void DrainFor(NodeId node);
  void Undrain(NodeId node);
  void LeaveByPlan(NodeId node);
  void Evict(NodeId node);
  void LoseCoordinator();
  void RestartCoordinator();
  void Doom();
  // A minority that the rest can do without, or nobody.
  std::set<NodeId> DrawMinority();
  // Between these and the others nothing passes; the coordinator is on one of the sides.
  void SetCut(const std::set<NodeId>& nodes, bool coordinator_with_them, bool down);
  // Whether the view keeps its majority without these; a run in which it is lost early shows
  // little.
  bool Spare(const std::set<NodeId>& nodes);
  // The latest view that somebody who lives holds, or the coordinator knows; null before the first.
  // One that was decided and told only to members that died is none.
  const View* LatestView();
  // Members of the latest view that are not there any more; nothing before the first view.
  std::optional<std::set<NodeId>> MissingVoters();

  // Checks.
  bool MajorityConnected();
  bool Progressed();
  void CheckProgress();
  bool Quiet();
  void CheckStuck();
  void CheckStuckNode(NodeId id, bool quorum, const std::optional<std::set<NodeId>>& missing);
  void CheckRecords();
  bool Settled();
  void CheckAcknowledged();

  MemberApplication* ApplicationOf(NodeId node) {
    return static_cast<MemberApplication*>(cluster_->application(node));
  }
  absl::Duration Between(int low_ms, int high_ms) {
    return absl::Milliseconds(rng_.Between(low_ms, high_ms));
  }
  void Note(const std::string& text) {
    if (transcript_ == nullptr) return;
    *transcript_ << absl::FormatDuration(cluster_->now() - Cluster::Start()) << " " << text << "\n";
  }
  void After(absl::Duration delay, std::function<void()> script) {
    cluster_->At(cluster_->now() + delay, std::move(script));
  }

  std::ostream* transcript_ = nullptr;
  Rng rng_;
  ChaosWorld world_;
  ChaosReport report_;
  Job job_;
  std::unique_ptr<Judge> judge_;
  std::unique_ptr<Cluster> cluster_;
  // What operators were told, and what a durable coordinator may therefore never forget.
  std::map<NodeId, bool> drained_;
  std::vector<std::pair<NodeId, Incarnation>> evicted_;
  bool healed_ = false;
  StepId furthest_at_heal_;
  std::set<NodeId> cut_off_;  // until there was progress without them
};

}  // namespace perigee
