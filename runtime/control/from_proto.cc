#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "runtime/control/convert.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

// In ballots this id stands for a coordinator, which is not a member.
constexpr NodeId kReservedNode(0xffffffff);

absl::Status AtMost(size_t size, size_t size_max, const char* field) {
  if (size <= size_max) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(field, ": ", size, " is more than the limit of ", size_max));
}

absl::Status MustHave(bool has, const char* field) {
  if (has) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(field, ": missing"));
}

double Finite(double value) { return std::isfinite(value) ? value : 0; }

Ballot FromProto(const proto::Ballot& in) {
  return {.round = in.round(),
          .proposer = NodeId(in.proposer()),
          .incarnation = perigee::FromProto(in.incarnation())};
}

template <typename Repeated>
std::vector<NodeId> Nodes(const Repeated& in) {
  std::vector<NodeId> nodes;
  nodes.reserve(in.size());
  for (uint32_t node : in) nodes.push_back(NodeId(node));
  return nodes;
}

absl::StatusOr<View> FromProto(const proto::View& in) {
  PERIGEE_RETURN_IF_ERROR(MustHave(in.members_size() > 0, "view.members"));
  PERIGEE_RETURN_IF_ERROR(AtMost(in.members_size(), kMembersMax, "view.members"));
  View view;
  view.job = perigee::FromProto(in.job());
  view.epoch = Epoch(in.epoch());
  view.ballot = FromProto(in.ballot());
  view.previous_digest = in.previous_digest();
  view.members.reserve(in.members_size());
  for (const proto::Member& member : in.members()) {
    PERIGEE_RETURN_IF_ERROR(AtMost(member.votes(), kVotesMax, "member.votes"));
    PERIGEE_RETURN_IF_ERROR(AtMost(member.address().size(), kAddressBytesMax, "member.address"));
    if (!view.members.empty() && view.members.back().node.value() >= member.node()) {
      return absl::InvalidArgumentError(absl::StrCat("view.members: node ", member.node(),
                                                     " after ", view.members.back().node.value()));
    }
    view.members.push_back({.node = NodeId(member.node()),
                            .incarnation = perigee::FromProto(member.incarnation()),
                            .votes = member.votes(),
                            .address = member.address()});
  }
  view.tie_breaker = NodeId(in.tie_breaker());
  view.first_step = StepId(in.first_step());
  return view;
}

absl::StatusOr<Proposal> FromProto(const proto::Proposal& in) {
  PERIGEE_RETURN_IF_ERROR(MustHave(in.has_view(), "proposal.view"));
  PERIGEE_RETURN_IF_ERROR(AtMost(in.decisions_size(), kOpsMax, "proposal.decisions"));
  PERIGEE_RETURN_IF_ERROR(AtMost(in.reason().size(), kReasonBytesMax, "proposal.reason"));
  Proposal proposal;
  PERIGEE_ASSIGN_OR_RETURN(proposal.view, FromProto(in.view()));
  proposal.planned = in.planned();
  if (in.has_wakes_unix_ns()) proposal.wakes = absl::FromUnixNanos(in.wakes_unix_ns());
  proposal.reason = in.reason();
  for (const proto::OpDecision& op : in.decisions()) {
    PERIGEE_RETURN_IF_ERROR(AtMost(op.missing_size(), kMembersMax, "decision.missing"));
    OpDecision& decision = proposal.decisions.emplace_back();
    decision.op = OpId(op.op());
    if (op.kind() == proto::OpDecision::FINISH) {
      decision.kind = OpDecision::Kind::kFinish;
    } else {
      PERIGEE_RETURN_IF_ERROR(MustHave(op.kind() == proto::OpDecision::ABORT, "decision.kind"));
      decision.kind = OpDecision::Kind::kAbort;
    }
    decision.holder = NodeId(op.holder());
    decision.missing = Nodes(op.missing());
  }
  return proposal;
}

absl::StatusOr<MemberMessage> FromProto(const proto::Register& in) {
  PERIGEE_RETURN_IF_ERROR(AtMost(in.address().size(), kAddressBytesMax, "register.address"));
  PERIGEE_RETURN_IF_ERROR(AtMost(in.version().size(), kVersionBytesMax, "register.version"));
  PERIGEE_RETURN_IF_ERROR(AtMost(in.start_members(), kMembersMax, "register.start_members"));
  Register out;
  out.node = NodeId(in.node());
  if (out.node == kReservedNode) {
    return absl::InvalidArgumentError("register.node: this id is reserved for coordinators");
  }
  out.incarnation = perigee::FromProto(in.incarnation());
  PERIGEE_RETURN_IF_ERROR(MustHave(!out.incarnation.IsNone(), "register.incarnation"));
  out.address = in.address();
  out.version = in.version();
  out.start_members = in.start_members();
  if (in.has_installed()) {
    PERIGEE_ASSIGN_OR_RETURN(out.installed, FromProto(in.installed()));
  }
  return out;
}

absl::StatusOr<OpReport> FromProto(const proto::OpReport& in) {
  PERIGEE_RETURN_IF_ERROR(AtMost(in.waiting_for_size(), kMembersMax, "beat.ops.waiting_for"));
  PERIGEE_RETURN_IF_ERROR(AtMost(in.call().size(), kReasonBytesMax, "beat.ops.call"));
  OpReport out{.op = OpId(in.op()),
               .epoch = Epoch(in.epoch()),
               .progress = Finite(in.progress()),
               .age = absl::Nanoseconds(in.age_ns()),
               .waiting_for = Nodes(in.waiting_for()),
               .stalled = absl::Nanoseconds(in.stalled_ns()),
               .call = in.call()};
  if (in.phase() == proto::OpReport::AWAITS_VIEW) out.phase = OpReport::Phase::kAwaitsView;
  if (in.phase() == proto::OpReport::AWAITS_INPUT) out.phase = OpReport::Phase::kAwaitsInput;
  return out;
}

LinkReport FromProto(const proto::LinkReport& in) {
  LinkReport out{.peer = NodeId(in.peer()),
                 .unanswered = absl::Nanoseconds(in.unanswered_ns()),
                 .round_trip = absl::Nanoseconds(in.round_trip_ns()),
                 .goodput_bps = Finite(in.goodput_bps()),
                 .packets_lost = in.packets_lost(),
                 .packets_repaired = in.packets_repaired()};
  if (in.has_heard_ago_ns()) out.heard_ago = absl::Nanoseconds(in.heard_ago_ns());
  return out;
}

absl::StatusOr<MemberMessage> FromProto(const proto::Promise& in) {
  PERIGEE_RETURN_IF_ERROR(AtMost(in.status_size(), kOpsMax, "promise.status"));
  Promise out;
  out.epoch = Epoch(in.epoch());
  out.ballot = FromProto(in.ballot());
  out.granted = in.granted();
  out.promised = FromProto(in.promised());
  out.started = StepId(in.started());
  out.any_started = in.any_started();
  out.frozen = in.frozen();
  out.status.reserve(in.status_size());
  for (const proto::OpStatus& op : in.status()) {
    out.status.push_back(
        {.op = OpId(op.op()), .epoch = Epoch(op.epoch()), .holds_result = op.holds_result()});
  }
  if (in.has_accepted_ballot()) out.accepted_ballot = FromProto(in.accepted_ballot());
  if (in.has_accepted()) {
    PERIGEE_ASSIGN_OR_RETURN(out.accepted, FromProto(in.accepted()));
  }
  // An accepted value is of use only with its ballot, and the other way round.
  PERIGEE_RETURN_IF_ERROR(MustHave(out.accepted.has_value() == out.accepted_ballot.has_value(),
                                   "promise.accepted or promise.accepted_ballot"));
  return out;
}

absl::StatusOr<MemberMessage> FromProto(const proto::Accepted& in) {
  return Accepted{.epoch = Epoch(in.epoch()),
                  .ballot = FromProto(in.ballot()),
                  .granted = in.granted(),
                  .promised = FromProto(in.promised()),
                  .started = StepId(in.started()),
                  .any_started = in.any_started()};
}

absl::StatusOr<MemberMessage> FromProto(const proto::Leave& in) {
  PERIGEE_RETURN_IF_ERROR(AtMost(in.reason().size(), kReasonBytesMax, "leave.reason"));
  return Leave{.reason = in.reason()};
}

absl::StatusOr<MemberMessage> FromProto(const proto::Suspect& in) {
  return Suspect{.node = NodeId(in.node()),
                 .incarnation = perigee::FromProto(in.incarnation()),
                 .silent_for = absl::Nanoseconds(in.silent_for_ns())};
}

absl::StatusOr<CoordinatorMessage> FromProto(const proto::Welcome& in) {
  PERIGEE_RETURN_IF_ERROR(MustHave(in.beat_interval_ns() > 0, "welcome.beat_interval"));
  PERIGEE_RETURN_IF_ERROR(MustHave(in.lease_ns() > 0, "welcome.lease"));
  Welcome out{.coordinator = perigee::FromProto(in.coordinator()),
              .policy = {.beat_interval = absl::Nanoseconds(in.beat_interval_ns()),
                         .suspect_after = absl::Nanoseconds(in.suspect_after_ns()),
                         .lease = absl::Nanoseconds(in.lease_ns()),
                         .dark_lead = absl::Nanoseconds(in.dark_lead_ns()),
                         .steps_ahead = in.steps_ahead(),
                         .min_members = in.min_members()},
              .plan_text = in.plan_text()};
  if (in.has_clock_ns()) out.clock = absl::FromUnixNanos(in.clock_ns());
  return out;
}

absl::StatusOr<CoordinatorMessage> FromProto(const proto::Waiting& in) {
  PERIGEE_RETURN_IF_ERROR(AtMost(in.reason().size(), kReasonBytesMax, "waiting.reason"));
  Waiting out{.reason = in.reason()};
  if (in.has_clock_ns()) out.clock = absl::FromUnixNanos(in.clock_ns());
  if (in.has_calendar_ahead_ns()) out.calendar_ahead = absl::Nanoseconds(in.calendar_ahead_ns());
  return out;
}

absl::StatusOr<CoordinatorMessage> FromProto(const proto::Removed& in) {
  PERIGEE_RETURN_IF_ERROR(AtMost(in.reason().size(), kReasonBytesMax, "removed.reason"));
  return Removed{.may_rejoin = in.may_rejoin(), .reason = in.reason()};
}

}  // namespace

Incarnation FromProto(const proto::Id128& id) { return {.high = id.high(), .low = id.low()}; }

absl::StatusOr<Beat> FromProto(const proto::Beat& in) {
  PERIGEE_RETURN_IF_ERROR(AtMost(in.ops_size(), kOpsMax, "beat.ops"));
  PERIGEE_RETURN_IF_ERROR(AtMost(in.links_size(), kLinksMax, "beat.links"));
  PERIGEE_RETURN_IF_ERROR(
      AtMost(in.calls().failure().size(), kReasonBytesMax, "beat.calls.failure"));
  Beat out;
  out.step = StepId(in.step());
  out.epoch = Epoch(in.epoch());
  out.active = in.active();
  out.undecided = in.undecided();
  out.hears_coordinator = in.hears_coordinator();
  out.loop_lateness = absl::Nanoseconds(in.loop_lateness_ns());
  out.stats = {.training_loss = Finite(in.stats().training_loss()),
               .allreduce_seconds = Finite(in.stats().allreduce_seconds()),
               .goodput_bps = Finite(in.stats().goodput_bps()),
               .packets_lost = in.stats().packets_lost(),
               .packets_repaired = in.stats().packets_repaired()};
  out.ops.reserve(in.ops_size());
  for (const proto::OpReport& op : in.ops()) {
    PERIGEE_ASSIGN_OR_RETURN(OpReport report, FromProto(op));
    out.ops.push_back(std::move(report));
  }
  out.frozen = in.frozen();
  out.calls = {.last = OpId(in.calls().last()),
               .ago = absl::Nanoseconds(in.calls().ago_ns()),
               .failed = OpId(in.calls().failed()),
               .failed_ago = absl::Nanoseconds(in.calls().failed_ago_ns()),
               .failure = in.calls().failure()};
  for (const proto::LinkReport& link : in.links()) out.links.push_back(FromProto(link));
  if (in.has_clock_ns()) {
    out.clock = {.clock = absl::FromUnixNanos(in.clock_ns()),
                 .heard = absl::FromUnixNanos(in.clock_heard_ns()),
                 .heard_for = absl::Nanoseconds(in.clock_heard_for_ns())};
  }
  out.step_interval = absl::Nanoseconds(in.step_interval_ns());
  out.op_length = absl::Nanoseconds(in.op_length_ns());
  return out;
}

absl::StatusOr<MemberMessage> FromProto(const proto::MemberMessage& message) {
  switch (message.kind_case()) {
    case proto::MemberMessage::kRegistration:
      return FromProto(message.registration());
    case proto::MemberMessage::kBeat:
      return FromProto(message.beat());
    case proto::MemberMessage::kPromise:
      return FromProto(message.promise());
    case proto::MemberMessage::kAccepted:
      return FromProto(message.accepted());
    case proto::MemberMessage::kLeave:
      return FromProto(message.leave());
    case proto::MemberMessage::kSuspect:
      return FromProto(message.suspect());
    case proto::MemberMessage::KIND_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("the message is of no known kind");
}

absl::StatusOr<CoordinatorMessage> FromProto(const proto::CoordinatorMessage& message) {
  switch (message.kind_case()) {
    case proto::CoordinatorMessage::kWelcome:
      return FromProto(message.welcome());
    case proto::CoordinatorMessage::kPrepare:
      return Prepare{.epoch = Epoch(message.prepare().epoch()),
                     .ballot = FromProto(message.prepare().ballot()),
                     .planned = message.prepare().planned()};
    case proto::CoordinatorMessage::kAccept: {
      Accept out;
      out.ballot = FromProto(message.accept().ballot());
      PERIGEE_ASSIGN_OR_RETURN(out.proposal, FromProto(message.accept().proposal()));
      return out;
    }
    case proto::CoordinatorMessage::kInstall: {
      Install out;
      PERIGEE_ASSIGN_OR_RETURN(out.proposal, FromProto(message.install().proposal()));
      return out;
    }
    case proto::CoordinatorMessage::kRemoved:
      return FromProto(message.removed());
    case proto::CoordinatorMessage::kWaiting:
      return FromProto(message.waiting());
    case proto::CoordinatorMessage::KIND_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("the message is of no known kind");
}

}  // namespace perigee
