// What must hold at the end of a random run.
#include <algorithm>

#include "runtime/membership.h"
#include "tests/runtime/sim/chaos_run.h"

namespace perigee {
namespace {

constexpr absl::Duration kLookEvery = absl::Milliseconds(20);  // for progress

}  // namespace

// ---- Progress. ----

// The latest view's majority lives, and nothing stands between its members.
bool Chaos::MajorityConnected() { return Spare(cut_off_); }

// The latest view is one of members that live and are connected, all of them hold it, and an op is
// over that began after the last fault.
bool Chaos::Progressed() {
  const auto missing = MissingVoters();
  if (!missing.has_value() || !missing->empty()) return false;
  const View& view = *LatestView();
  for (const Member& member : view.members) {
    const View* held = cluster_->node(member.node)->view();
    if (cut_off_.contains(member.node) || held == nullptr || *held != view) return false;
  }
  return judge_->furthest_delivered() > furthest_at_heal_;
}

void Chaos::CheckProgress() {
  const absl::Time began = cluster_->now();
  absl::Time look_at = began;
  const auto over = [&] {
    if (cluster_->now() < look_at) return false;
    look_at = cluster_->now() + kLookEvery;
    return Progressed() || !MajorityConnected();
  };
  const absl::StatusOr<bool> progressed = cluster_->RunUntil(began + kProgressLimit, over);
  if (!progressed.ok()) return judge_->AddError(progressed.status().ToString());
  if (!*progressed) {
    judge_->AddError(absl::StrCat(
        "no progress within ", absl::FormatDuration(kProgressLimit), " after the last fault: ",
        judge_->views().empty() ? "no view" : ToString(judge_->views().rbegin()->second),
        ", the last op that is over is of step ", judge_->furthest_delivered().value(),
        ", then it was step ", furthest_at_heal_.value()));
  } else if (MajorityConnected()) {
    report_.progress_max = std::max(report_.progress_max, cluster_->now() - began);
  }
  if (cut_off_.empty()) return;
  Note("end of the last cut");
  cluster_->At(cluster_->now(), [this] {
    SetCut(cut_off_, /*coordinator_with_them=*/true, false);
    cut_off_.clear();
  });
}

bool Chaos::Quiet() {
  if (!healed_ || !cut_off_.empty()) return false;
  for (uint32_t i = 0; i < world_.nodes; ++i) {
    if (cluster_->asleep(NodeId(i))) return false;
    if (cluster_->node(NodeId(i)) != nullptr && !ApplicationOf(NodeId(i))->Idle()) return false;
  }
  return true;
}

// ---- Nothing went on. ----

// That is right only where a majority is lost, and then every op says who is missing.
void Chaos::CheckStuck() {
  const auto missing = MissingVoters();
  const bool quorum = !missing.has_value() || Spare({});
  if (!quorum) ++report_.majority_lost;
  for (uint32_t i = 0; i < world_.nodes; ++i) {
    if (cluster_->node(NodeId(i)) != nullptr) CheckStuckNode(NodeId(i), quorum, missing);
  }
}

void Chaos::CheckStuckNode(NodeId id, bool quorum, const std::optional<std::set<NodeId>>& missing) {
  Node* node = cluster_->node(id);
  if (const Coordinator* acting = node->deputy().acting()) {
    Note(absl::StrCat("node ", id.value(), " acts for the coordinator:", EventLines(*acting)));
  }
  for (OpId op : ApplicationOf(id)->RunningOps()) {
    const std::string text = node->Describe(cluster_->Now(id), op);
    const bool named =
        missing.has_value() && std::any_of(missing->begin(), missing->end(), [&](NodeId lost) {
          return text.find(absl::StrCat("node ", lost.value())) != text.npos;
        });
    if (quorum || !named) {
      judge_->AddError(absl::StrCat("node ", id.value(), " hangs: ", text));
    }
  }
  if (quorum && !ApplicationOf(id)->Idle()) {
    judge_->AddError(absl::StrCat("node ", id.value(), " hangs at step ",
                                  ApplicationOf(id)->next_step().value(),
                                  node->view() ? " in " + ToString(*node->view()) : ""));
  }
  ApplicationOf(id)->CancelAll(cluster_->Now(id));
}

// ---- Records and promises. ----

// All who know of decided views: the coordinator, what it wrote, and members that act for it.
void Chaos::CheckRecords() {
  if (const Coordinator* coordinator = cluster_->coordinator()) {
    for (const ViewRecord& view : coordinator->views()) {
      judge_->OnRecord("the coordinator", view.proposal);
    }
  }
  for (const ViewRecord& view : cluster_->written().views) {
    judge_->OnRecord("the store", view.proposal);
  }
  for (uint32_t i = 0; i < world_.nodes; ++i) {
    Node* node = cluster_->node(NodeId(i));
    const Coordinator* acting = node == nullptr ? nullptr : node->deputy().acting();
    if (acting == nullptr) continue;
    for (const ViewRecord& view : acting->views()) {
      judge_->OnRecord(absl::StrCat("node ", i, ", which acts for the coordinator"), view.proposal);
    }
  }
}

bool Chaos::Settled() {
  const Coordinator* coordinator = cluster_->coordinator();
  if (coordinator == nullptr || !coordinator->state().view || !MajorityConnected()) return true;
  const View& view = *LatestView();
  return view.epoch >= coordinator->views().back().proposal.view.epoch &&
         std::none_of(evicted_.begin(), evicted_.end(), [&](const auto& evicted) {
           return view.Contains(evicted.first, evicted.second);
         });
}

// What was acknowledged to operators holds, and what was decided is where the members are.
void Chaos::CheckAcknowledged() {
  cluster_->RunUntil(cluster_->now() + kProgressLimit, [this] { return Settled(); }).IgnoreError();
  const Coordinator* coordinator = cluster_->coordinator();
  if (coordinator == nullptr || !coordinator->state().view || !MajorityConnected()) return;
  for (const auto& [node, drained] : drained_) {
    auto it = coordinator->state().members.find(node);
    const bool known = it != coordinator->state().members.end() && it->second.drain_requested;
    if (known != drained) {
      judge_->AddError(absl::StrCat("node ", node.value(), drained ? " was" : " was not",
                                    " drained, but the coordinator says otherwise"));
    }
  }
  const View& view = *LatestView();
  for (const auto& [node, incarnation] : evicted_) {
    if (!view.Contains(node, incarnation)) continue;
    judge_->AddError(
        absl::StrCat("node ", node.value(), " was evicted and is in ", ToString(view)));
  }
  if (view.epoch < coordinator->views().back().proposal.view.epoch) {
    judge_->AddError(
        absl::StrCat("nobody was told of ", ToString(coordinator->views().back().proposal.view)));
  }
}

}  // namespace perigee
