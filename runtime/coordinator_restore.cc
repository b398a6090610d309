// How a coordinator that was started again finds the job: from what its predecessor wrote down, and
// from the members, who may have gone on without it. Until a majority of the votes of the latest
// view that either of them told of has registered, nothing is proposed and no job is founded.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "runtime/coordinator.h"
#include "transport/base/status.h"

namespace perigee {

void Coordinator::Restore(absl::Time now, const CoordinatorSnapshot& snapshot) {
  PERIGEE_CHECK(events_.empty() && views_.empty() && state_.members.empty());
  if (snapshot == CoordinatorSnapshot()) return;
  events_ = snapshot.events;
  while (events_.size() > std::max<size_t>(1, options_.events_max)) events_.pop_front();
  if (!events_.empty()) events_count_ = events_.back().number;
  restored_event_ = events_count_;
  views_ = snapshot.views;
  std::string text = "no job yet";
  if (!views_.empty()) {
    restored_ = true;
    adopting_ = views_.back().proposal;
    text = absl::StrCat(ToString(adopting_->view), " of job ", ToString(adopting_->view.job));
  }
  // Known to operators, and without an incarnation of their own until they register.
  const auto expect = [&](NodeId node) -> MemberRecord& {
    return state_.members[node] = {.node = node,
                                   .state = MemberState::kLost,
                                   .reason = "has not registered again yet",
                                   .since = now};
  };
  if (adopting_) {
    for (const Member& member : adopting_->view.members)
      expect(member.node).address = member.address;
  }
  state_.evictions = snapshot.evictions;
  for (const auto& [node, eviction] : snapshot.evictions) {
    // An incarnation that joined by a view that is not stored is known when that view is.
    if (!adopting_ || !adopting_->view.Contains(node, eviction.incarnation)) continue;
    state_.members.at(node).reason = eviction.reason;
  }
  for (const auto& [node, at] : snapshot.drains) {
    MemberRecord& record = state_.members.contains(node) ? state_.members.at(node) : expect(node);
    record.drain_requested = true;
    record.drain_at = at;
    if (at > now || (adopting_ && adopting_->view.Find(node) != nullptr)) continue;
    record.state = MemberState::kDrained;
    record.reason = "drained by an operator";
  }
  if (!snapshot.drains.empty()) {
    absl::StrAppend(&text, ", ", snapshot.drains.size(), " nodes to be drained");
  }
  if (!snapshot.evictions.empty()) {
    absl::StrAppend(&text, ", ", snapshot.evictions.size(), " nodes to be evicted");
  }
  AddEvent(now, "restored", std::nullopt, text);
  if (adopting_) waiting_reason_ = AdoptionReason();
}

std::optional<CoordinatorRecord> Coordinator::NextRecord() {
  if (records_.empty()) return std::nullopt;
  CoordinatorRecord record = std::move(records_.front());
  records_.pop_front();
  return record;
}

void Coordinator::Record(CoordinatorRecord record) {
  if (!options_.durable) return;
  PERIGEE_CHECK(records_.size() < kOutgoingMax);
  records_.push_back(std::move(record));
}

// Before a view is adopted one member's word is all there is for it: a stray member of another job
// must not bind the next start to that job.
void Coordinator::AddView(absl::Time decided, absl::Duration took, const Proposal& proposal) {
  if (!Insert({proposal, decided, took}, &views_)) return;
  unrecorded_views_.insert(proposal.view.epoch);
  if (unrecorded_views_.size() > kViewRecordsMax)
    unrecorded_views_.erase(unrecorded_views_.begin());
  if (state_.view) RecordViews();
}

void Coordinator::RecordViews() {
  for (const ViewRecord& view : views_) {
    if (unrecorded_views_.empty()) return;
    if (unrecorded_views_.erase(view.proposal.view.epoch) > 0) Record(view);
  }
  unrecorded_views_.clear();  // what is left was the oldest of too many
}

void Coordinator::AdoptIfMajority(absl::Time now) {
  if (state_.view || !adopting_) return;
  std::set<NodeId> here;
  for (const auto& [node, record] : state_.members) {
    if (record.stream && InView(record)) here.insert(node);
  }
  if (!IsQuorum(WithoutVotesOf(adopting_->view, CountedOut(state_, adopting_->view)), here)) return;
  const Proposal proposal = *std::move(adopting_);
  adopting_.reset();
  took_over_ = true;
  for (const Member& member : proposal.view.members) {
    MemberRecord& record = state_.members[member.node];
    if (!record.incarnation.IsNone()) continue;
    record.node = member.node;
    record.incarnation = member.incarnation;
    record.address = member.address;
    record.since = now;
    if (proposal.wakes) {
      record.state = MemberState::kDark;
      record.reason = "asleep";
      continue;
    }
    record.state = member.votes > 0 ? MemberState::kActive : MemberState::kSyncing;
    record.reason = "has not registered again yet";
    record.lost_at = now + SilenceLimit();
  }
  SetView(now, absl::ZeroDuration(), proposal);
  LoseEvicted(now);
  RefuseStrangers(now);
}

std::string Coordinator::AdoptionReason() const {
  const std::set<NodeId> counted_out = CountedOut(state_, adopting_->view);
  const View view = WithoutVotesOf(adopting_->view, counted_out);
  std::vector<std::string> missing;
  bool started_again = false;
  for (const Member& member : view.members) {
    if (counted_out.contains(member.node)) continue;
    auto it = state_.members.find(member.node);
    const bool here = it != state_.members.end() && it->second.stream;
    if (here && InView(it->second)) continue;
    missing.push_back(absl::StrCat("node ", member.node.value(), here ? " (started again)" : ""));
    started_again = started_again || here;
  }
  const uint64_t total = view.VotesTotal();
  const bool member = view.Find(options_.self) != nullptr;
  std::string reason =
      absl::StrCat(member ? absl::StrCat("node ", options_.self.value(), " acts for it")
                          : "the coordinator started again",
                   ": view ", view.epoch.value(), " needs ", total / 2 + 1, " of ", total,
                   " votes; not registered again yet: ", absl::StrJoin(missing, ", "));
  if (started_again && restored_) {
    absl::StrAppend(&reason, "; who started again has no vote: if job ", ToString(view.job),
                    " is over, start perigeed with a new --store");
  }
  if (!strangers_.empty()) absl::StrAppend(&reason, "; ", strangers_reason_);
  return reason;
}

// Which of the two jobs is meant to run here is not known: to send the members away for good would
// end a job that only met the wrong coordinator.
bool Coordinator::IsStranger(const Register& message) const {
  return restored_ && !state_.view && message.installed &&
         message.installed->view.job != adopting_->view.job;
}

void Coordinator::SetAside(absl::Time now, StreamId stream, const Register& message) {
  auto mapped = streams_.find(stream);
  if (mapped != streams_.end()) Detach(state_.members.at(mapped->second));
  const std::string reason = absl::StrCat(
      "members run job ", ToString(message.installed->view.job),
      ", but this coordinator's store is of job ", ToString(adopting_->view.job),
      ": start perigeed with the --store of their job, or with a new one to learn it from them");
  if (reason != strangers_reason_) AddEvent(now, "refused", message.node, reason);
  strangers_reason_ = reason;
  strangers_[stream] = message.node;
  Send(stream, Waiting{reason});
}

void Coordinator::RefuseStrangers(absl::Time now) {
  for (const auto& [stream, node] : std::exchange(strangers_, {})) {
    Refuse(now, stream, node,
           absl::StrCat("node ", node.value(), " runs another job; this is job ",
                        ToString(state_.view->job)));
  }
}

}  // namespace perigee
