// ComputeView (coordinator.h): what the next view should be, from what is known now, and why.
#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "runtime/coordinator.h"
#include "runtime/hibernation.h"

namespace perigee {
namespace {

// So long after the last one woke up the others of a hibernating view go on without the rest.
constexpr absl::Duration kWakeGrace = absl::Seconds(5);

std::string Clock(absl::Time time) {
  return absl::FormatTime("%H:%M:%SZ", time, absl::UTCTimeZone());
}

std::string Ago(absl::Time now, absl::Time then) {
  return absl::StrCat(absl::FormatDuration(absl::Trunc(now - then, absl::Seconds(1))), " ago");
}

// The record of this very incarnation, or of the life before it that still answers for it; or null.
const MemberRecord* Find(const ClusterState& state, const Member& member) {
  auto it = state.members.find(member.node);
  if (it == state.members.end()) return nullptr;
  return HasLife(*state.view, member.node, it->second.incarnation) ? &it->second : nullptr;
}

// Whether it has to fall asleep first.
bool FallsAsleep(const ClusterState& state, const MemberRecord& record) {
  return HasNextLife(*state.view, record.node, record.incarnation);
}

bool Present(const MemberRecord* record) {
  return record != nullptr && record->state != MemberState::kLost &&
         record->state != MemberState::kDark && record->state != MemberState::kDrained;
}

// Whether it is evicted and heard all the same: then it votes for the view without it.
bool VotesForItsEviction(absl::Time now, const ClusterState& state, const MemberRecord* record) {
  return record != nullptr && record->stream && now < record->lost_at &&
         FindEviction(state, record->node, record->incarnation) != nullptr;
}

// "node 2 (lost 14s ago)".
std::string Missing(absl::Time now, const ClusterState& state, const Member& member) {
  const std::string name = absl::StrCat("node ", member.node.value());
  auto it = state.members.find(member.node);
  if (it == state.members.end()) return absl::StrCat(name, " (not heard of)");
  const MemberRecord& record = it->second;
  if (Find(state, member) == nullptr) return absl::StrCat(name, " (started again)");
  if (record.state == MemberState::kLost) {
    return absl::StrCat(name, " (lost ", Ago(now, record.since), ")");
  }
  const absl::Time calendar = state.Calendar(now);
  const absl::Time lit = state.plan.LitFrom(member.node, calendar);
  if (lit > calendar) return absl::StrCat(name, " (dark until ", Clock(lit), ")");
  return absl::StrCat(name, " (", record.reason, ")");
}

std::string WhyGone(const ClusterState& state, const Member& member) {
  const MemberRecord* record = Find(state, member);
  if (record != nullptr) return absl::StrCat("node ", member.node.value(), ": ", record->reason);
  const bool known = state.members.contains(member.node);
  return absl::StrCat("node ", member.node.value(), known ? ": started again" : ": not heard of");
}

size_t VoterCount(const std::vector<Member>& members) {
  return static_cast<size_t>(
      std::count_if(members.begin(), members.end(), [](const Member& m) { return m.votes > 0; }));
}

absl::Duration LeadOf(const ClusterState& state, const CoordinatorOptions& options) {
  return std::max(options.dark_lead, state.departure_time);
}

size_t VotersNeeded(const CoordinatorOptions& options) {
  return std::max<size_t>(1, options.min_members);
}

ViewDecision Found(const ClusterState& state, const CoordinatorOptions& options) {
  ViewChange change{.found = true, .planned = true};
  size_t needed = VotersNeeded(options);
  for (const auto& [node, record] : state.members) {
    if (record.state != MemberState::kJoining || !record.stream || record.start_members == 0)
      continue;
    needed = std::max<size_t>(needed, record.start_members);
    change.members.push_back(
        {.node = node, .incarnation = record.incarnation, .votes = 1, .address = record.address});
  }
  if (change.members.empty()) return {std::nullopt, "no job: no member has asked to start one"};
  if (change.members.size() < needed) {
    return {std::nullopt, absl::StrCat("the job starts with ", needed,
                                       " members; here: ", change.members.size())};
  }
  change.reason = absl::StrCat("the job starts with ", change.members.size(), " members");
  std::string reason = change.reason;
  return {std::move(change), std::move(reason)};
}

// A planned leaver still takes part in the ops that began before it was out. Whether it left before
// they were finished shows in what a member said after it was gone: "node 4: left before op 7.0 of
// view 3 was finished". Nothing if no op waits for such a node.
std::string LeftTooEarly(const ClusterState& state, const CoordinatorOptions& options) {
  const auto gone_since = [&](NodeId node) {
    auto it = state.members.find(node);
    // Not registered again with a coordinator that has started again.
    if (it == state.members.end()) return state.view_since + options.suspect_after;
    const MemberRecord& record = it->second;
    const bool finishing = record.stream && record.installed.value() > 0;
    if (finishing) return absl::InfiniteFuture();
    // Not back on its stream yet, perhaps because the coordinator has just started again.
    const bool comes_back = record.state == MemberState::kDraining && !record.leaving;
    return comes_back ? std::max(record.since, record.lost_at) : record.since;
  };
  for (const Member& member : state.view->members) {
    const MemberRecord* record = Find(state, member);
    // Only what it said since it holds this view counts: an unplanned one ends such ops.
    if (!Present(record) || record->beat.epoch != state.view->epoch) continue;
    for (const OpReport& op : record->beat.ops) {
      if (op.epoch >= state.view->epoch) continue;
      for (NodeId node : op.waiting_for) {
        if (state.view->Find(node) != nullptr) continue;
        if (record->last_heard < gone_since(node) + 2 * options.beat_interval) continue;
        return absl::StrCat("node ", node.value(), ": left before op ", ToString(op.op),
                            " of view ", op.epoch.value(), " was finished");
      }
    }
  }
  return "";
}

bool StaysDark(absl::Time now, const ClusterState& state, NodeId node) {
  const absl::Time calendar = state.Calendar(now);
  return !state.calendar_unknown && state.plan.LitFrom(node, calendar) > calendar + kWakeGrace;
}

// Whether the others of a hibernating view wait for those that should be awake by now, or soon: as
// long as one after the other comes.
bool MoreWakeUp(absl::Time now, const ClusterState& state) {
  absl::Time last = absl::InfinitePast();
  bool awaited = false;
  for (const Member& member : state.view->members) {
    const MemberRecord* record = Find(state, member);
    if (record == nullptr) continue;
    if (!Sleeps(*record)) last = std::max(last, record->since);
    awaited = awaited || (Sleeps(*record) && !StaysDark(now, state, member.node));
  }
  return awaited && now < last + kWakeGrace;
}

ViewDecision RemoveLost(absl::Time now, const ClusterState& state,
                        const CoordinatorOptions& options, const std::string& left_too_early) {
  ViewChange change{.found = false, .planned = false};
  change.counted_out = CountedOut(state, *state.view);
  std::vector<std::string> reasons;
  if (!left_too_early.empty()) reasons.push_back(left_too_early);
  std::vector<std::string> missing;
  std::set<NodeId> voting;
  bool some_sleep = false;
  bool some_fall_asleep = false;
  for (const Member& member : state.view->members) {
    const MemberRecord* record = Find(state, member);
    some_sleep = some_sleep || (record != nullptr && Sleeps(*record));
    if (!Present(record)) {
      if (VotesForItsEviction(now, state, record)) voting.insert(member.node);
      reasons.push_back(WhyGone(state, member));
      missing.push_back(Missing(now, state, member));
      continue;
    }
    voting.insert(member.node);
    some_fall_asleep = some_fall_asleep || FallsAsleep(state, *record);
    // A joiner that is not active yet has nothing that is worth the wait for its promise.
    if (member.votes == 0 && !record->beat.active) continue;
    change.members.push_back(member);
    change.members.back().incarnation = record->incarnation;
  }
  const View view = WithoutVotesOf(*state.view, change.counted_out);
  if (!IsQuorum(view, voting)) {
    const uint64_t total = view.VotesTotal();
    return {
        std::nullopt,
        absl::StrCat("view ", view.epoch.value(), " needs ", total / 2 + 1, " of ", total, " votes",
                     total % 2 == 0
                         ? absl::StrCat(", or ", total / 2, " with node ", view.tie_breaker.value())
                         : "",
                     "; missing: ", absl::StrJoin(missing, ", "))};
  }
  if (VoterCount(change.members) < VotersNeeded(options)) {
    return {std::nullopt,
            absl::StrCat("at least ", VotersNeeded(options),
                         " members are needed; missing: ", absl::StrJoin(missing, ", "))};
  }
  // Where one sleeps, all results of the steps before are everywhere.
  if (some_sleep && some_fall_asleep) {
    return {std::nullopt, absl::StrCat("view ", view.epoch.value(), " falls asleep")};
  }
  if (state.hibernates && MoreWakeUp(now, state)) {
    return {std::nullopt, absl::StrCat("view ", view.epoch.value(),
                                       " wakes up; missing: ", absl::StrJoin(missing, ", "))};
  }
  change.reason = absl::StrJoin(reasons, "; ");
  std::string reason = change.reason;
  return {std::move(change), std::move(reason)};
}

// The members that stay, with votes for those who became active.
std::vector<Member> Staying(absl::Time now, const ClusterState& state,
                            const CoordinatorOptions& options, std::vector<std::string>* leaving) {
  std::vector<Member> members;
  for (Member member : state.view->members) {
    const MemberRecord* record = Find(state, member);
    if (member.votes == 0 && record->beat.active) member.votes = 1;
    const auto absence = PlannedAbsence(now, *record, state, options);
    if (leaving == nullptr || (!absence && !record->leaving)) {
      members.push_back(std::move(member));
      continue;
    }
    leaving->push_back(absl::StrCat("node ", member.node.value(), ": ",
                                    absence ? absence->reason : record->reason));
  }
  return members;
}

// Whether ops of views before the present one may still run somewhere. A node that left by plan
// does not come back meanwhile: if it left too early, what waits for its earlier incarnation would
// look as if it waited for the new one (LeftTooEarly).
bool EarlierViewsInUse(const ClusterState& state) {
  const View& view = *state.view;
  for (const Member& member : view.members) {
    const Beat& beat = Find(state, member)->beat;
    const bool begun = beat.epoch == view.epoch && beat.step >= view.first_step;
    const auto earlier = [&](const OpReport& op) { return op.epoch < view.epoch; };
    if (!begun || std::any_of(beat.ops.begin(), beat.ops.end(), earlier)) return true;
  }
  return false;
}

// All voters go to sleep together where the dark takes so many that the rest cannot go on; one of
// them must be about to go. Nothing where the plan does not say when that ends.
std::optional<ViewChange> Hibernation(absl::Time now, const ClusterState& state,
                                      const CoordinatorOptions& options) {
  ViewChange change{.found = false, .planned = true};
  bool somebody_goes = false;
  for (Member& member : Staying(now, state, options, nullptr)) {
    const MemberRecord* record = Find(state, member);
    const auto absence = PlannedAbsence(now, *record, state, options);
    const bool goes_dark = absence && absence->state == MemberState::kDark;
    if (member.votes == 0 || record->leaving || (absence && !goes_dark)) continue;
    somebody_goes = somebody_goes || goes_dark;
    change.members.push_back(std::move(member));
  }
  if (!somebody_goes) return std::nullopt;
  const size_t needed = VotersNeeded(options);
  const absl::Time calendar = state.Calendar(now);
  const auto darkness = NextDarkness(change.members, state.plan, calendar,
                                     calendar + 2 * LeadOf(state, options), needed);
  if (!darkness || darkness->ends == absl::InfiniteFuture()) return std::nullopt;
  // Whole milliseconds, so that it is the same time wherever it is written down.
  change.wakes =
      absl::UnixEpoch() + absl::Ceil(darkness->ends - absl::UnixEpoch(), absl::Milliseconds(1));
  change.members = NextLives(std::move(change.members), state.view->epoch.Next());
  change.reason = absl::StrCat("all sleep until ", Clock(darkness->ends), ", as fewer than ",
                               needed, " are lit from ", Clock(darkness->begins));
  return change;
}

ViewDecision PlannedChange(absl::Time now, const ClusterState& state,
                           const CoordinatorOptions& options) {
  if (std::optional<ViewChange> sleep = Hibernation(now, state, options)) {
    std::string reason = sleep->reason;
    return {std::move(sleep), std::move(reason)};
  }
  ViewChange change{.found = false, .planned = true};
  std::vector<std::string> reasons;
  change.members = Staying(now, state, options, &reasons);
  std::string waiting;
  if (!reasons.empty() && VoterCount(change.members) < VotersNeeded(options)) {
    waiting =
        absl::StrCat("at least ", VotersNeeded(options),
                     " members are needed, so none is taken out: ", absl::StrJoin(reasons, "; "));
    reasons.clear();
    change.members = Staying(now, state, options, nullptr);
  }
  for (const Member& member : change.members) {
    if (member.votes > state.view->Find(member.node)->votes) {
      reasons.push_back(absl::StrCat("node ", member.node.value(), " is active"));
    }
  }
  for (const auto& [node, record] : state.members) {
    if (record.state != MemberState::kJoining || !record.stream ||
        state.view->Find(node) != nullptr) {
      continue;
    }
    if (PlannedAbsence(now, record, state, options)) continue;
    if (state.calendar_unknown) {
      waiting = absl::StrCat("node ", node.value(), " joins when the members' clocks are known");
      continue;
    }
    const bool comes_back = state.left_by_plan_unknown || state.left_by_plan.contains(node);
    if (comes_back && EarlierViewsInUse(state)) {
      waiting =
          absl::StrCat("node ", node.value(), " joins when ", ToString(*state.view), " has begun");
      continue;
    }
    change.members.push_back(
        {.node = node, .incarnation = record.incarnation, .votes = 0, .address = record.address});
    reasons.push_back(absl::StrCat("node ", node.value(), " joins"));
  }
  if (reasons.empty()) return {std::nullopt, waiting};
  std::sort(change.members.begin(), change.members.end(),
            [](const Member& a, const Member& b) { return a.node < b.node; });
  change.reason = absl::StrJoin(reasons, "; ");
  std::string reason = change.reason;
  return {std::move(change), std::move(reason)};
}

Absence Drained() { return {MemberState::kDrained, "drained by an operator"}; }

}  // namespace

bool Sleeps(const MemberRecord& record) {
  return record.state == MemberState::kDark && !record.stream &&
         record.last_heard == absl::InfinitePast();
}

absl::Duration DepartureTime(absl::Duration step, absl::Duration op, uint64_t steps_ahead) {
  const double steps = static_cast<double>(steps_ahead) + 1;
  return std::min(steps * step + op + kDepartureMargin, kDepartureMax);
}

std::optional<Absence> PlannedAbsence(absl::Time now, const MemberRecord& record,
                                      const ClusterState& state,
                                      const CoordinatorOptions& options) {
  const bool at_once = record.drain_due || record.drain_at == absl::InfinitePast();
  if (record.drain_requested && at_once) return Drained();
  if (state.calendar_unknown) return std::nullopt;
  const absl::Time calendar = state.Calendar(now);
  if (record.drain_requested && calendar >= record.drain_at) return Drained();
  const auto dark = state.plan.CurrentOrNextDark(record.node, calendar);
  const bool leaves = record.state == MemberState::kDraining || record.state == MemberState::kDark;
  const absl::Duration lead = (leaves ? 2 : 1) * LeadOf(state, options);
  if (!dark || calendar < dark->begins - lead) return std::nullopt;
  return Absence{MemberState::kDark,
                 absl::StrCat("dark from ", Clock(dark->begins), " until ", Clock(dark->ends))};
}

ViewDecision ComputeView(absl::Time now, const ClusterState& state,
                         const CoordinatorOptions& options) {
  if (!state.view) return Found(state, options);
  const std::string left_too_early = LeftTooEarly(state, options);
  bool missing = false;
  for (const Member& member : state.view->members)
    missing = missing || !Present(Find(state, member));
  if (missing || !left_too_early.empty()) return RemoveLost(now, state, options, left_too_early);
  for (const Member& member : state.view->members) {
    if (FallsAsleep(state, *Find(state, member))) return {};
  }
  return PlannedChange(now, state, options);
}

const char* Name(MemberState state) {
  switch (state) {
    case MemberState::kJoining:
      return "joining";
    case MemberState::kSyncing:
      return "syncing";
    case MemberState::kActive:
      return "active";
    case MemberState::kDraining:
      return "draining";
    case MemberState::kDark:
      return "dark";
    case MemberState::kDrained:
      return "drained";
    case MemberState::kLost:
      return "lost";
  }
  return "unknown";
}

}  // namespace perigee
