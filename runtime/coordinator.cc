// What members tell the coordinator. What it does about it: coordinator_watch.cc; what operators
// tell it: coordinator_operators.cc.
#include "runtime/coordinator.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/hibernation.h"
#include "transport/base/status.h"

namespace perigee {

Coordinator::Coordinator(const CoordinatorOptions& options, ContactPlan plan, std::string plan_text,
                         Rng rng)
    : options_(options),
      plan_text_(std::move(plan_text)),
      rng_(rng),
      incarnation_(rng_.NextIncarnation()),
      proposer_(options.self, incarnation_, options.steps_ahead) {
  state_.plan = std::move(plan);
  state_.calendar_ahead = options.calendar_ahead.value_or(absl::ZeroDuration());
  state_.calendar_unknown = !options.calendar_ahead;
}

void Coordinator::OnMessage(absl::Time now, StreamId stream, const MemberMessage& message) {
  Begin(now);
  if (const auto* registration = std::get_if<Register>(&message)) {
    OnRegister(now, stream, *registration);
    return Finish(now);
  }
  auto it = streams_.find(stream);
  // Of a stream that never registered, or that was closed by us while this was on its way.
  if (it == streams_.end()) return;
  MemberRecord& record = state_.members.at(it->second);
  OnHeard(now, record);
  std::visit(
      [&](const auto& m) {
        using T = std::decay_t<decltype(m)>;
        if constexpr (std::is_same_v<T, Beat>) OnBeat(now, record, m);
        if constexpr (std::is_same_v<T, Leave>) OnLeave(now, record, m);
        if constexpr (std::is_same_v<T, Suspect>) OnSuspect(now, record, m);
        if constexpr (std::is_same_v<T, Promise>) {
          proposer_.OnPromise(record.node, LifeInView(record), m);
        }
        if constexpr (std::is_same_v<T, Accepted>) {
          proposer_.OnAccepted(record.node, LifeInView(record), m);
        }
      },
      message);
  Finish(now);
}

void Coordinator::OnStreamClosed(absl::Time now, StreamId stream) {
  Begin(now);
  changed_ = strangers_.erase(stream) > 0 || changed_;
  auto it = streams_.find(stream);
  if (it == streams_.end()) return Finish(now);
  MemberRecord& record = state_.members.at(it->second);
  Detach(record);
  record.lost_at = std::min(record.lost_at, now + options_.reconnect_grace);
  changed_ = true;
  Finish(now);
}

void Coordinator::OnTimeout(absl::Time now) {
  Begin(now);
  Finish(now);
}

absl::Time Coordinator::NextTimeout() const { return std::min(watch_at_, proposal_deadline_); }

std::optional<Coordinator::Outgoing> Coordinator::NextMessage() {
  PERIGEE_CHECK(records_.empty());
  if (outgoing_.empty()) return std::nullopt;
  Outgoing out = std::move(outgoing_.front());
  outgoing_.pop_front();
  return out;
}

std::string Coordinator::Refusal(absl::Time now, StreamId stream, const Register& message) const {
  if (message.version != options_.version) {
    return absl::StrCat("version ", message.version, " cannot join: the coordinator runs version ",
                        options_.version, "; install the same version on all nodes");
  }
  const View* view = CurrentView();
  if (view != nullptr && message.installed && message.installed->view.job != view->job) {
    return absl::StrCat("node ", message.node.value(), " runs job ",
                        ToString(message.installed->view.job), ", but this is job ",
                        ToString(view->job));
  }
  if (state_.view && message.installed && !Follows(message.installed->view, views_)) {
    return absl::StrCat("node ", message.node.value(),
                        " contradicts the views known here: ", ToString(message.installed->view));
  }
  auto it = state_.members.find(message.node);
  if (it == state_.members.end()) return "";
  const MemberRecord& record = it->second;
  if (record.incarnation == message.incarnation || !record.stream || *record.stream == stream)
    return "";
  // A leaver that has nothing left to do may come back before its old stream is seen to close.
  const bool woke = view != nullptr && HasNextLife(*view, record.node, record.incarnation) &&
                    view->Contains(message.node, message.incarnation);
  const bool done = woke || (!InView(record) && record.installed.value() > 0);
  if (done || now - record.last_heard >= options_.suspect_after) return "";
  return absl::StrCat("node ", message.node.value(), " is here already as incarnation ",
                      ToString(record.incarnation), " at ", record.address,
                      "; give every process its own node id");
}

bool Coordinator::MakeRoom() {
  if (state_.members.size() < options_.members_max) return true;
  for (auto it = state_.members.begin(); it != state_.members.end(); ++it) {
    if (it->second.stream || InView(it->second) || it->second.drain_requested) continue;
    state_.members.erase(it);
    return true;
  }
  return false;
}

// What is wanted of a node outlives its incarnation.
MemberRecord Coordinator::AnotherLife(absl::Time now, const MemberRecord& record,
                                      const Incarnation& incarnation) {
  return {.node = record.node,
          .incarnation = incarnation,
          .address = record.address,
          .since = now,
          .drain_requested = record.drain_requested,
          .drain_at = record.drain_at,
          .drain_due = record.drain_due};
}

MemberRecord& Coordinator::MakeRecord(absl::Time now, StreamId stream, const Register& message) {
  auto mapped = streams_.find(stream);
  if (mapped != streams_.end()) Detach(state_.members.at(mapped->second));
  MemberRecord& record = state_.members[message.node];
  if (record.stream) Detach(record);
  if (record.incarnation != message.incarnation) {
    record.node = message.node;
    record = AnotherLife(now, record, message.incarnation);
  }
  record.address = message.address;
  record.start_members = message.start_members;
  record.stream = stream;
  record.installed = message.installed ? message.installed->view.epoch : Epoch();
  record.install_sent = absl::InfinitePast();
  streams_[stream] = message.node;
  return record;
}

void Coordinator::OnRegister(absl::Time now, StreamId stream, const Register& message) {
  changed_ = true;
  if (IsStranger(message)) return SetAside(now, stream, message);
  const std::string refusal = Refusal(now, stream, message);
  if (!refusal.empty()) return Refuse(now, stream, message.node, refusal);
  if (!state_.members.contains(message.node) && !MakeRoom()) {
    return Refuse(now, stream, message.node,
                  absl::StrCat("the coordinator keeps at most ", options_.members_max, " members"));
  }
  MemberRecord& record = MakeRecord(now, stream, message);
  AddEvent(now, "registered", message.node,
           absl::StrCat(
               "incarnation ", ToString(message.incarnation), " at ", message.address,
               message.installed ? absl::StrCat(" with ", ToString(message.installed->view)) : ""));
  if (!record.removed.empty()) return Remove(now, record, record.removed);
  Send(stream, Welcome{incarnation_, options_, plan_text_, now});
  told_at_ = absl::InfinitePast();
  if (message.installed) Learn(now, *message.installed);
  Place(now, record);
  if (!record.stream) return;
  OnHeard(now, record);
  AdoptIfMajority(now);
  if (!SendInstalls(now, record)) {
    return Remove(now, record, "it missed a view that is not known here any more");
  }
  proposer_.Resend(record.node);
}

void Coordinator::Learn(absl::Time now, const Proposal& installed) {
  if (!Follows(installed.view, views_)) return;
  if (state_.view && installed.view.epoch > state_.view->epoch) {
    proposer_.Forget();
    took_over_ = true;  // whoever decided this view may have begun the next one
    return SetView(now, absl::ZeroDuration(), installed);
  }
  AddView(now, absl::ZeroDuration(), installed);
  if (state_.view) return;
  if (!adopting_ || installed.view.epoch > adopting_->view.epoch) adopting_ = installed;
}

// Whether this incarnation is in no view any more because the plan, not a loss, took it out.
bool Coordinator::LeavesByPlan(const MemberRecord& record) const {
  Epoch expected = CurrentView()->epoch;
  for (auto it = views_.rbegin(); it != views_.rend(); ++it) {
    const Proposal& proposal = it->proposal;
    if (proposal.view.epoch != expected) return false;
    if (proposal.view.Contains(record.node, record.incarnation)) return true;
    if (!proposal.planned || expected.value() == 0) return false;
    expected = Epoch(expected.value() - 1);
  }
  return false;
}

void Coordinator::Place(absl::Time now, MemberRecord& record) {
  if (InView(record)) {
    if (record.state == MemberState::kDraining) return;
    const Eviction* eviction = FindEviction(state_, record.node, record.incarnation);
    if (eviction != nullptr) return SetState(now, record, MemberState::kLost, eviction->reason);
    const Member* member = CurrentView()->Find(record.node);
    const bool votes = member->votes > 0;
    SetState(now, record, votes ? MemberState::kActive : MemberState::kSyncing, "registered");
  } else if (record.installed.value() == 0 || CurrentView() == nullptr) {
    SetState(now, record, MemberState::kJoining, "waits to be taken in");
  } else if (LeavesByPlan(record)) {
    SetState(now, record, MemberState::kDraining, "finishes what runs in earlier views");
  } else {
    Remove(now, record,
           absl::StrCat(ToString(*CurrentView()), " went on without this incarnation"));
  }
}

void Coordinator::OnHeard(absl::Time now, MemberRecord& record) {
  record.last_heard = now;
  record.lost_at = now + SilenceLimit();
  const bool away = record.state == MemberState::kLost || record.state == MemberState::kDark;
  if (!away || !InView(record) || SuspectedByQuorum(now, record)) return;
  if (FindEviction(state_, record.node, record.incarnation) != nullptr) return;
  const bool votes = CurrentView()->Find(record.node)->votes > 0;
  SetState(now, record, votes ? MemberState::kActive : MemberState::kSyncing, "heard again");
}

void Coordinator::OnBeat(absl::Time now, MemberRecord& record, const Beat& beat) {
  const bool moved = beat.epoch != record.beat.epoch;
  if (beat.active != record.beat.active) changed_ = true;
  record.beat = beat;
  record.beat_at = now;
  KeepLinks(now, record);
  if (beat.clock) record.clock.OnReport(now, *beat.clock);
  if (!state_.view) return;
  // Whoever began what this member waits for is not us: it may be gone.
  if (beat.undecided && beat.epoch == state_.view->epoch && !took_over_ &&
      proposer_.phase() == Proposer::Phase::kIdle) {
    took_over_ = changed_ = true;
  }
  const bool behind = beat.epoch < state_.view->epoch && (InView(record) || beat.epoch.value() > 0);
  // Streams keep order, so an older epoch is mostly an Install that is still on its way.
  if (behind && now - record.install_sent > 3 * options_.beat_interval) {
    record.installed = beat.epoch;
    if (!SendInstalls(now, record)) {
      return Remove(now, record, "it missed a view that is not known here any more");
    }
    proposer_.Resend(record.node);
  } else if (moved) {
    proposer_.Resend(record.node);
  }
}

void Coordinator::OnLeave(absl::Time now, MemberRecord& record, const Leave& leave) {
  if (PutToSleep(now, record)) return;
  record.leaving = true;
  SetState(now, record, MemberState::kDraining, absl::StrCat("leaves: ", leave.reason));
  if (!InView(record)) Detach(record);
}

void Coordinator::OnSuspect(absl::Time now, const MemberRecord& reporter, const Suspect& suspect) {
  auto it = state_.members.find(suspect.node);
  if (it == state_.members.end() || it->second.incarnation != suspect.incarnation) return;
  if (suspect.silent_for < SilenceLimit() || !InView(reporter)) return;
  auto [said, first] = it->second.suspected_by.try_emplace(reporter.node, now);
  if (first || now - said->second > 2 * SilenceLimit()) {
    AddEvent(now, "suspect", suspect.node,
             absl::StrCat("node ", reporter.node.value(), " has not heard it for ",
                          absl::FormatDuration(suspect.silent_for)));
  }
  said->second = now;
  changed_ = true;
}

const View* Coordinator::CurrentView() const {
  if (state_.view) return &*state_.view;
  return adopting_ ? &adopting_->view : nullptr;
}

bool Coordinator::InView(const MemberRecord& record) const {
  const View* view = CurrentView();
  return view != nullptr && HasLife(*view, record.node, record.incarnation);
}

Incarnation Coordinator::LifeInView(const MemberRecord& record) const {
  return InView(record) ? CurrentView()->Find(record.node)->incarnation : record.incarnation;
}

void Coordinator::SetState(absl::Time now, MemberRecord& record, MemberState state,
                           const std::string& reason) {
  if (record.state == state && record.reason == reason) return;
  if (record.state != state) record.since = now;
  record.state = state;
  record.reason = reason;
  changed_ = true;
  AddEvent(now, Name(state), record.node, reason);
}

void Coordinator::Detach(MemberRecord& record) {
  if (record.stream) streams_.erase(*record.stream);
  record.stream.reset();
}

void Coordinator::Remove(absl::Time now, MemberRecord& record, const std::string& reason) {
  record.removed = reason;
  if (record.stream) Send(*record.stream, Removed{.may_rejoin = true, .reason = reason}, true);
  Detach(record);
  if (record.state != MemberState::kDark) SetState(now, record, MemberState::kLost, reason);
}

void Coordinator::Refuse(absl::Time now, StreamId stream, NodeId node, const std::string& reason) {
  ++counters_.registrations_refused;
  AddEvent(now, "refused", node, reason);
  Send(stream, Removed{.may_rejoin = false, .reason = reason}, true);
}

void Coordinator::Send(StreamId stream, CoordinatorMessage message, bool close_after) {
  PERIGEE_CHECK(outgoing_.size() < kOutgoingMax);
  outgoing_.push_back({stream, std::move(message), close_after});
}

void Coordinator::AddEvent(absl::Time now, const std::string& kind, std::optional<NodeId> node,
                           const std::string& text) {
  if (events_.size() >= options_.events_max && !events_.empty()) events_.pop_front();
  events_.push_back({++events_count_, now, kind, node, text});
  Record(events_.back());
}

}  // namespace perigee
