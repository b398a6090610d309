// What operators tell the coordinator. Drains and evictions are written down before they are
// answered (coordinator_record.h), so that they outlive the coordinator.
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/coordinator.h"
#include "transport/base/status.h"

namespace perigee {

absl::Status Coordinator::Drain(absl::Time now, NodeId node, absl::Time at,
                                const std::string& who) {
  Begin(now);
  auto it = state_.members.find(node);
  if (it == state_.members.end()) {
    return absl::NotFoundError(absl::StrCat(
        "node ", node.value(), " was never seen; `perigeectl nodes` lists those that were"));
  }
  if (state_.view && state_.view->VotesTotal() == 1 && InView(it->second) &&
      state_.view->Find(node)->votes > 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        "node ", node.value(), " is the only voting member; let another one become active first"));
  }
  it->second.drain_requested = true;
  it->second.drain_at = at;
  it->second.drain_due = at <= state_.Calendar(now);
  Record(DrainRecord{.node = node, .at = at});
  AddEvent(now, "drain", node,
           absl::StrCat("by ", who, " at ", absl::FormatTime(at, absl::UTCTimeZone())));
  changed_ = true;
  Finish(now);
  return absl::OkStatus();
}

absl::Status Coordinator::Undrain(absl::Time now, NodeId node, const std::string& who) {
  Begin(now);
  auto it = state_.members.find(node);
  if (it == state_.members.end()) {
    return absl::NotFoundError(absl::StrCat(
        "node ", node.value(), " was never seen; `perigeectl nodes` lists those that were"));
  }
  if (!it->second.drain_requested) {
    return absl::FailedPreconditionError(
        absl::StrCat("node ", node.value(), " is not drained; `perigeectl drain` does that"));
  }
  it->second.drain_requested = false;
  it->second.drain_at = absl::InfinitePast();
  it->second.drain_due = false;
  Record(DrainRecord{.node = node});
  AddEvent(now, "undrain", node, absl::StrCat("by ", who));
  changed_ = true;
  Finish(now);
  return absl::OkStatus();
}

// ---- Evictions. ----

const Eviction* FindEviction(const ClusterState& state, NodeId node,
                             const Incarnation& incarnation) {
  auto it = state.evictions.find(node);
  if (it == state.evictions.end() || it->second.incarnation != incarnation) return nullptr;
  return &it->second;
}

std::set<NodeId> CountedOut(const ClusterState& state, const View& view) {
  std::set<NodeId> nodes;
  for (const auto& [node, eviction] : state.evictions) {
    if (eviction.counted_out && view.Contains(node, eviction.incarnation)) nodes.insert(node);
  }
  return nodes;
}

absl::Status Coordinator::Evict(absl::Time now, NodeId node, bool force, const std::string& who) {
  Begin(now);
  const View* view = CurrentView();
  const Member* member = view != nullptr ? view->Find(node) : nullptr;
  if (member == nullptr) {
    return absl::NotFoundError(absl::StrCat(
        "node ", node.value(), " is not in the view; `perigeectl nodes` lists who is"));
  }
  PERIGEE_RETURN_IF_ERROR(MayEvict(*view, *member, force));
  const Eviction* before = FindEviction(state_, node, member->incarnation);
  const Eviction eviction{.incarnation = member->incarnation,
                          .counted_out = force || (before != nullptr && before->counted_out),
                          .reason = absl::StrCat("evicted by ", who)};
  state_.evictions[node] = eviction;
  Record(EvictRecord{.node = node, .eviction = eviction});
  AddEvent(now, "evict", node, absl::StrCat("by ", who, force ? ", by force" : ""));
  LoseEvicted(now);
  changed_ = true;
  AdoptIfMajority(now);
  Finish(now);
  return absl::OkStatus();
}

absl::Status Coordinator::MayEvict(const View& view, const Member& member, bool force) const {
  std::set<NodeId> heard;
  for (const auto& [node, record] : state_.members) {
    if (record.stream && record.state != MemberState::kLost && InView(record)) heard.insert(node);
  }
  if (force && heard.contains(member.node)) {
    return absl::FailedPreconditionError(
        absl::StrCat("node ", member.node.value(), " is heard: evict it without --force"));
  }
  heard.erase(member.node);
  if (force || IsQuorum(WithoutVotesOf(view, CountedOut(state_, view)), heard)) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(absl::StrCat(
      "without node ", member.node.value(), " there is no majority of view ", view.epoch.value(),
      ": bring the missing back, or fence the dead and evict each of them with --force"));
}

void Coordinator::LoseEvicted(absl::Time now) {
  for (const auto& [node, eviction] : state_.evictions) {
    auto it = state_.members.find(node);
    if (it == state_.members.end() || it->second.incarnation != eviction.incarnation) continue;
    if (InView(it->second)) SetState(now, it->second, MemberState::kLost, eviction.reason);
  }
}

// Once a view without them is decided they are done.
void Coordinator::ForgetEvictions(const View& view) {
  for (auto it = state_.evictions.begin(); it != state_.evictions.end();) {
    if (view.Contains(it->first, it->second.incarnation)) {
      ++it;
      continue;
    }
    Record(EvictRecord{.node = it->first});
    it = state_.evictions.erase(it);
  }
}

}  // namespace perigee
