// What the coordinator does when time passes or something changed: finds the silent, follows the
// plan, proposes the next view, and brings decided views to the members.
#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "runtime/coordinator.h"
#include "runtime/hibernation.h"

namespace perigee {
namespace {

constexpr absl::Duration kSilenceMin = absl::Milliseconds(150);  // membership.md, "Detection"
constexpr int kSilenceMinBeats = 3;
constexpr int kTellsPerLease = 3;
// Peers that hear a member keep it in the view for so many silence limits after its last word.
constexpr int kVouchedLimits = 4;

}  // namespace

absl::Duration Coordinator::SilenceLimit() const {
  return std::max({options_.suspect_after, kSilenceMin, kSilenceMinBeats * options_.beat_interval});
}

void Coordinator::Begin(absl::Time now) {
  // Whatever kept this loop also kept the beats that wait to be read.
  if (now > watch_at_ + options_.beat_interval) {
    no_suspicion_before_ = now + 2 * options_.beat_interval;
  }
}

void Coordinator::Finish(absl::Time now) {
  if (now >= proposal_deadline_) proposer_.OnPatienceOver();
  PumpProposer(now);
  // At most twice: only a new view changes something again.
  while (changed_ || now >= watch_at_) {
    Watch(now);
    const bool look = changed_ || !waiting_reason_.empty();
    changed_ = false;
    if (look) Reconsider(now);
    TellWaiting(now);
    PumpProposer(now);
  }
}

void Coordinator::Watch(absl::Time now) {
  FollowClocks(now);
  std::vector<NodeId> gone;
  watch_at_ = absl::InfiniteFuture();
  for (auto& [node, record] : state_.members) {
    if (InView(record)) {
      WatchMember(now, record);
      if (record.state != MemberState::kLost && record.state != MemberState::kDark) {
        watch_at_ = std::min(watch_at_, std::max(record.lost_at, no_suspicion_before_));
      }
    } else {
      WatchOutsider(now, record, &gone);
    }
  }
  for (NodeId node : gone) {
    AddEvent(now, "left", node, state_.members.at(node).reason);
    state_.members.erase(node);
  }
  // Every beat interval, so that the lateness of this loop shows (Begin).
  if (!state_.members.empty()) watch_at_ = std::min(watch_at_, now + options_.beat_interval);
  if (watch_at_ <= now) watch_at_ = now + options_.beat_interval;
}

void Coordinator::KeepLinks(absl::Time now, MemberRecord& record) const {
  for (auto it = record.links.begin(); it != record.links.end();) {
    it = now - it->second.at > kLinkKept ? record.links.erase(it) : std::next(it);
  }
  for (const LinkReport& link : record.beat.links) {
    if (record.links.size() < kLinksMax || record.links.contains(link.peer)) {
      record.links[link.peer] = {link, now};
    }
  }
}

// Its control stream may only be slow: TCP over a lossy link brings nothing for a second now and
// then. Peers that have heard it since vouch for it, for a while: it answers no ballot meanwhile.
absl::Time Coordinator::LostAt(const MemberRecord& record) const {
  absl::Time heard = absl::InfinitePast();
  for (const auto& [node, other] : state_.members) {
    const auto link = other.links.find(record.node);
    if (node == record.node || !InView(other) || link == other.links.end()) continue;
    heard = std::max(heard, link->second.at - link->second.report.heard_ago);
  }
  const bool since = heard > record.last_heard + kSilenceMinBeats * options_.beat_interval;
  if (!record.stream || !since) return record.lost_at;
  return std::max(record.lost_at, std::min(heard + SilenceLimit(),
                                           record.last_heard + kVouchedLimits * SilenceLimit()));
}

void Coordinator::WatchMember(absl::Time now, MemberRecord& record) {
  const bool away = record.state == MemberState::kLost || record.state == MemberState::kDark;
  if (away) return;
  // In this order: few are silent, and asking the peers takes a look at all of them.
  if (now >= record.lost_at && now >= no_suspicion_before_ && now >= LostAt(record)) {
    std::string silence = "its control stream closed and did not come back";
    if (record.stream) {
      silence = absl::StrCat("no beat for ", absl::FormatDuration(absl::Trunc(
                                                 now - record.last_heard, absl::Milliseconds(1))));
    } else if (record.last_heard == absl::InfinitePast()) {
      silence = "did not register again";
    }
    const bool dark = state_.plan.IsDark(record.node, state_.Calendar(now));
    return SetState(now, record, dark ? MemberState::kDark : MemberState::kLost,
                    dark ? absl::StrCat("dark by plan but still in the view: ", silence) : silence);
  }
  if (SuspectedByQuorum(now, record)) {
    return SetState(now, record, MemberState::kLost, "the majority of the members cannot reach it");
  }
  // Somebody may have left before an op of an earlier view was finished (ComputeView).
  for (const OpReport& op : record.beat.ops) {
    changed_ = changed_ || (state_.view && op.epoch < state_.view->epoch);
  }
  if (record.leaving) return;
  const auto absence = PlannedAbsence(now, record, state_, options_);
  if (absence) {
    SetState(now, record, MemberState::kDraining, absence->reason);
  } else if (record.state == MemberState::kDraining && !state_.calendar_unknown) {
    const bool votes = CurrentView()->Find(record.node)->votes > 0;
    SetState(now, record, votes ? MemberState::kActive : MemberState::kSyncing, "stays after all");
  }
}

void Coordinator::WatchOutsider(absl::Time now, MemberRecord& record, std::vector<NodeId>* gone) {
  const auto absence = PlannedAbsence(now, record, state_, options_);
  const bool out = record.state == MemberState::kDark || record.state == MemberState::kDrained;
  if (!record.stream) {
    if (record.state == MemberState::kLost) return;
    // A leaver that still takes part in an op may come back to its stream.
    const bool finishes = record.state == MemberState::kDraining && !record.leaving;
    if (finishes && now < record.lost_at) return;
    if (absence) {
      SetState(now, record, absence->state, absence->reason);
    } else if (out || record.drain_requested) {
      SetState(now, record, MemberState::kLost, "not back yet");
    } else {
      gone->push_back(record.node);
    }
    return;
  }
  const bool newcomer = record.installed.value() == 0;
  if (newcomer && absence) return SetState(now, record, absence->state, absence->reason);
  // A newcomer that waits for the end of its own dark time may be as silent as it likes.
  if (now >= record.lost_at && now >= no_suspicion_before_) {
    return Remove(now, record, absl::StrCat("no beat for ", absl::FormatDuration(SilenceLimit())));
  }
  if (newcomer && out && !state_.calendar_unknown) {
    SetState(now, record, MemberState::kJoining, "waits to be taken in");
  }
}

// A member that leaves before a hibernating view sleeps: from now on the record is that of its next
// life.
bool Coordinator::PutToSleep(absl::Time now, MemberRecord& record) {
  if (!state_.view || !HasNextLife(*state_.view, record.node, record.incarnation)) return false;
  Detach(record);
  record = AnotherLife(now, record, LifeInView(record));
  SetState(now, record, MemberState::kDark, "asleep");
  return true;
}

bool Coordinator::SuspectedByQuorum(absl::Time now, const MemberRecord& record) const {
  if (record.suspected_by.empty() || !state_.view) return false;
  std::set<NodeId> reporters;
  for (const auto& [node, when] : record.suspected_by) {
    if (now - when <= 2 * SilenceLimit()) reporters.insert(node);
  }
  return IsQuorum(*state_.view, reporters);
}

std::optional<ProposalGoal> Coordinator::NextGoal(const ViewDecision& decision) {
  const bool busy = proposer_.phase() != Proposer::Phase::kIdle;
  if (decision.change) {
    return ProposalGoal{.planned = decision.change->planned,
                        .members = decision.change->members,
                        .reason = decision.change->reason,
                        .counted_out = decision.change->counted_out,
                        .wakes = decision.change->wakes};
  }
  if (busy && (proposer_.goal().only_if_begun || !decision.reason.empty())) return std::nullopt;
  if (busy && !proposer_.binding()) {
    proposer_.Abandon();
    return std::nullopt;
  }
  if (!busy && !took_over_) return std::nullopt;
  // What was begun must be ended, or frozen members would wait for ever.
  return ProposalGoal{.planned = true,
                      .members = state_.view->members,
                      .reason = busy ? "everybody is here again" : "the coordinator started again",
                      .only_if_begun = !busy};
}

void Coordinator::Reconsider(absl::Time now) {
  if (!state_.view && adopting_) {
    to_tell_ = waiting_reason_ = AdoptionReason();
    return;
  }
  const ViewDecision decision = ComputeView(now, state_, options_);
  waiting_reason_ = decision.reason;
  to_tell_ = decision.change ? "" : decision.reason;
  if (decision.change && decision.change->found) return FoundJob(now, *decision.change);
  if (!state_.view) return;
  std::optional<ProposalGoal> goal = NextGoal(decision);
  if (!goal) return;
  if (proposer_.phase() != Proposer::Phase::kIdle) {
    const ProposalGoal& current = proposer_.goal();
    const bool same_votes = current.counted_out == goal->counted_out;
    if (current.planned == goal->planned && current.members == goal->members && same_votes) return;
    // A planned view that is about to be decided is not worth a new ballot for another planned one.
    if (proposer_.phase() == Proposer::Phase::kAccepting && current.planned && goal->planned)
      return;
  }
  StartProposal(now, *std::move(goal));
}

void Coordinator::TellWaiting(absl::Time now) {
  // "lost 14s ago" changes all the time; but that it is solved is said at once.
  const bool solved = to_tell_.empty() && !told_.empty();
  if (!solved && now < told_at_ + options_.lease / kTellsPerLease) return;
  told_ = to_tell_;
  told_at_ = now;
  for (const auto& [stream, node] : streams_) {
    Waiting waiting{.reason = told_, .clock = now};
    const auto ahead = ClockOf(now, state_.members.at(node));
    if (ahead) waiting.calendar_ahead = -ahead->ahead;
    Send(stream, std::move(waiting));
  }
}

void Coordinator::StartProposal(absl::Time now, ProposalGoal goal) {
  std::set<NodeId> live;
  for (const auto& [node, record] : state_.members) {
    if (InView(record) && record.stream && record.state != MemberState::kLost) live.insert(node);
  }
  if (proposer_.phase() == Proposer::Phase::kIdle) proposal_began_ = now;
  AddEvent(now, "proposing", std::nullopt,
           absl::StrCat("view ", state_.view->epoch.value() + 1, ": ", goal.reason));
  proposer_.Start(*state_.view, std::move(goal), std::move(live));
}

void Coordinator::PumpProposer(absl::Time now) {
  while (auto message = proposer_.NextMessage()) {
    auto it = state_.members.find(message->to);
    if (it == state_.members.end() || !it->second.stream || !InView(it->second)) continue;
    Send(*it->second.stream, std::move(message->message));
  }
  if (auto proposal = proposer_.NextDecision()) {
    took_over_ = false;
    SetView(now, now - proposal_began_, *proposal);
  } else if (proposer_.phase() == Proposer::Phase::kIdle && proposer_.goal().only_if_begun) {
    took_over_ = false;
  }
  const std::pair<Ballot, Proposer::Phase> at(proposer_.ballot(), proposer_.phase());
  if (proposer_.phase() == Proposer::Phase::kIdle) {
    proposal_deadline_ = absl::InfiniteFuture();
  } else if (at != proposal_at_ || now >= proposal_deadline_) {
    proposal_deadline_ = now + options_.proposal_timeout;
  }
  proposal_at_ = at;
}

void Coordinator::FoundJob(absl::Time now, const ViewChange& change) {
  Proposal proposal{.planned = true, .reason = change.reason};
  View& view = proposal.view;
  view.job = rng_.NextIncarnation();
  view.epoch = Epoch(1);
  view.ballot = {.round = 1, .proposer = options_.self, .incarnation = incarnation_};
  view.members = change.members;
  view.tie_breaker = change.members.front().node;
  SetView(now, absl::ZeroDuration(), proposal);
}

void Coordinator::SetView(absl::Time now, absl::Duration took, const Proposal& proposal) {
  const View before = state_.view.value_or(View());
  AddView(now, took, proposal);
  ++(proposal.planned ? counters_.views_planned : counters_.views_unplanned);
  state_.view = proposal.view;
  state_.hibernates = proposal.wakes.has_value();
  state_.view_since = now;
  RecordViews();
  ForgetEvictions(proposal.view);
  if (!proposal.planned) {
    state_.left_by_plan.clear();
    state_.left_by_plan_unknown = false;
  } else {
    // Views in between were decided by another coordinator.
    const bool gap = proposal.view.epoch != before.epoch.Next();
    state_.left_by_plan_unknown = state_.left_by_plan_unknown || gap;
    for (const Member& member : before.members) {
      if (!proposal.view.Contains(member.node, member.incarnation)) {
        state_.left_by_plan.insert(member.node);
      }
    }
  }
  AddEvent(now, "view", std::nullopt, absl::StrCat(ToString(proposal.view), ": ", proposal.reason));
  PlaceMembers(now, proposal, before);
  for (auto& [node, record] : state_.members) {
    if (record.stream && !SendInstalls(now, record)) {
      Remove(now, record, "it missed a view that is not known here any more");
    }
  }
  changed_ = true;
}

void Coordinator::PlaceMembers(absl::Time now, const Proposal& proposal, const View& before) {
  const std::string name = absl::StrCat("view ", proposal.view.epoch.value());
  for (auto& [node, record] : state_.members) {
    if (InView(record)) {
      const bool votes = proposal.view.Find(node)->votes > 0;
      if (record.state == MemberState::kJoining ||
          (record.state == MemberState::kSyncing && votes)) {
        SetState(now, record, votes ? MemberState::kActive : MemberState::kSyncing,
                 absl::StrCat("in ", name));
      }
    } else if (before.Contains(node, record.incarnation)) {
      if (!proposal.planned) {
        Remove(now, record, absl::StrCat(name, " goes on without it: ", proposal.reason));
      } else {
        SetState(now, record, MemberState::kDraining, absl::StrCat("out with ", name));
      }
    }
  }
}

std::optional<size_t> Coordinator::FirstMissingView(const MemberRecord& record) const {
  // The run of known views that ends with the present one.
  size_t begin = views_.size() - 1;
  while (begin > 0 &&
         views_[begin - 1].proposal.view.epoch.Next() == views_[begin].proposal.view.epoch) {
    --begin;
  }
  if (record.installed.value() > 0) {
    const Epoch first = views_[begin].proposal.view.epoch;
    if (record.installed.Next() < first) return std::nullopt;
    return begin + (record.installed.Next().value() - first.value());
  }
  size_t contained = begin;
  while (contained < views_.size() &&
         !views_[contained].proposal.view.Contains(record.node, record.incarnation)) {
    ++contained;
  }
  // It may have been taken in by an earlier view, and the others may wait for it in an op of that
  // one.
  const bool unsure = contained == begin && views_[begin].proposal.view.epoch != Epoch(1);
  if (unsure) return std::nullopt;
  return contained;
}

bool Coordinator::SendInstalls(absl::Time now, MemberRecord& record) {
  if (!state_.view || record.installed >= state_.view->epoch) return true;
  const std::optional<size_t> first = FirstMissingView(record);
  if (!first) return false;
  for (size_t i = *first; i < views_.size(); ++i) {
    Send(*record.stream, Install{views_[i].proposal});
    record.installed = views_[i].proposal.view.epoch;
    record.install_sent = now;
  }
  return true;
}

}  // namespace perigee
