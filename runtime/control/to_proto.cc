// Every struct is taken apart whole, so that a field that is added to one cannot be forgotten here.
#include <algorithm>
#include <string>
#include <utility>
#include <variant>

#include "absl/time/time.h"
#include "runtime/control/convert.h"

namespace perigee {
namespace {

// Texts are for people: a long one is cut, at the end of a character, rather than refused by the
// receiver.
std::string Cut(const std::string& text, size_t bytes_max = kReasonBytesMax) {
  size_t size = std::min(text.size(), bytes_max);
  const auto continues = [&](size_t i) { return (text[i] & 0xc0) == 0x80; };
  while (size > 0 && size < text.size() && continues(size)) --size;
  return text.substr(0, size);
}

proto::CallReport ToProto(const CallReport& in) {
  const auto& [last, ago, failed, failed_ago, failure] = in;
  proto::CallReport out;
  out.set_last(last.value());
  out.set_ago_ns(absl::ToInt64Nanoseconds(ago));
  out.set_failed(failed.value());
  out.set_failed_ago_ns(absl::ToInt64Nanoseconds(failed_ago));
  out.set_failure(Cut(failure, Beat::kTextBytesMax));
  return out;
}

proto::LinkReport ToProto(const LinkReport& in) {
  const auto& [peer, unanswered, heard_ago, round_trip, goodput_bps, lost, repaired] = in;
  proto::LinkReport out;
  out.set_peer(peer.value());
  out.set_unanswered_ns(absl::ToInt64Nanoseconds(unanswered));
  if (heard_ago != absl::InfiniteDuration()) {
    out.set_heard_ago_ns(absl::ToInt64Nanoseconds(heard_ago));
  }
  out.set_round_trip_ns(absl::ToInt64Nanoseconds(round_trip));
  out.set_goodput_bps(goodput_bps);
  out.set_packets_lost(lost);
  out.set_packets_repaired(repaired);
  return out;
}

void Fill(const ClockReport& in, proto::Beat* out) {
  const auto& [clock, heard, heard_for] = in;
  out->set_clock_ns(absl::ToUnixNanos(clock));
  out->set_clock_heard_ns(absl::ToUnixNanos(heard));
  out->set_clock_heard_for_ns(absl::ToInt64Nanoseconds(heard_for));
}

proto::Ballot ToProto(const Ballot& in) {
  const auto& [round, proposer, incarnation] = in;
  proto::Ballot out;
  out.set_round(round);
  out.set_proposer(proposer.value());
  *out.mutable_incarnation() = perigee::ToProto(incarnation);
  return out;
}

proto::Member ToProto(const Member& in) {
  const auto& [node, incarnation, votes, address] = in;
  proto::Member out;
  out.set_node(node.value());
  *out.mutable_incarnation() = perigee::ToProto(incarnation);
  out.set_votes(votes);
  out.set_address(address);
  return out;
}

proto::OpDecision ToProto(const OpDecision& in) {
  const auto& [op, kind, holder, missing] = in;
  proto::OpDecision out;
  out.set_op(op.value());
  out.set_kind(kind == OpDecision::Kind::kFinish ? proto::OpDecision::FINISH
                                                 : proto::OpDecision::ABORT);
  out.set_holder(holder.value());
  for (NodeId node : missing) out.add_missing(node.value());
  return out;
}

proto::Proposal ToProto(const Proposal& in) {
  const auto& [view, planned, wakes, decisions, reason] = in;
  proto::Proposal out;
  *out.mutable_view() = perigee::ToProto(view);
  out.set_planned(planned);
  for (const OpDecision& decision : decisions) *out.add_decisions() = ToProto(decision);
  if (wakes) out.set_wakes_unix_ns(absl::ToUnixNanos(*wakes));
  out.set_reason(Cut(reason));
  return out;
}

proto::OpStatus ToProto(const OpStatus& in) {
  const auto& [op, epoch, holds_result] = in;
  proto::OpStatus out;
  out.set_op(op.value());
  out.set_epoch(epoch.value());
  out.set_holds_result(holds_result);
  return out;
}

void Fill(const Register& in, proto::MemberMessage* message) {
  const auto& [node, incarnation, address, version, start_members, installed] = in;
  proto::Register& out = *message->mutable_registration();
  out.set_node(node.value());
  *out.mutable_incarnation() = ToProto(incarnation);
  out.set_address(address);
  out.set_version(version);
  out.set_start_members(start_members);
  if (installed) *out.mutable_installed() = ToProto(*installed);
}

void Fill(const Beat& in, proto::MemberMessage* message) {
  *message->mutable_beat() = perigee::ToProto(in);
}

void Fill(const Promise& in, proto::MemberMessage* message) {
  const auto& [epoch, ballot, granted, promised, started, any_started, frozen, status,
               accepted_ballot, accepted] = in;
  proto::Promise& out = *message->mutable_promise();
  out.set_epoch(epoch.value());
  *out.mutable_ballot() = ToProto(ballot);
  out.set_granted(granted);
  *out.mutable_promised() = ToProto(promised);
  out.set_started(started.value());
  out.set_any_started(any_started);
  out.set_frozen(frozen);
  for (const OpStatus& op : status) *out.add_status() = ToProto(op);
  if (accepted_ballot) *out.mutable_accepted_ballot() = ToProto(*accepted_ballot);
  if (accepted) *out.mutable_accepted() = ToProto(*accepted);
}

void Fill(const Accepted& in, proto::MemberMessage* message) {
  const auto& [epoch, ballot, granted, promised, started, any_started] = in;
  proto::Accepted& out = *message->mutable_accepted();
  out.set_epoch(epoch.value());
  *out.mutable_ballot() = ToProto(ballot);
  out.set_granted(granted);
  *out.mutable_promised() = ToProto(promised);
  out.set_started(started.value());
  out.set_any_started(any_started);
}

void Fill(const Leave& in, proto::MemberMessage* message) {
  const auto& [reason] = in;
  message->mutable_leave()->set_reason(Cut(reason));
}

void Fill(const Suspect& in, proto::MemberMessage* message) {
  const auto& [node, incarnation, silent_for] = in;
  proto::Suspect& out = *message->mutable_suspect();
  out.set_node(node.value());
  *out.mutable_incarnation() = ToProto(incarnation);
  out.set_silent_for_ns(absl::ToInt64Nanoseconds(silent_for));
}

void Fill(const Welcome& in, proto::CoordinatorMessage* message) {
  const auto& [coordinator, policy, plan_text, clock] = in;
  const auto& [beat_interval, suspect_after, lease, dark_lead, steps_ahead, min_members] = policy;
  proto::Welcome& out = *message->mutable_welcome();
  *out.mutable_coordinator() = ToProto(coordinator);
  out.set_beat_interval_ns(absl::ToInt64Nanoseconds(beat_interval));
  out.set_suspect_after_ns(absl::ToInt64Nanoseconds(suspect_after));
  out.set_lease_ns(absl::ToInt64Nanoseconds(lease));
  out.set_dark_lead_ns(absl::ToInt64Nanoseconds(dark_lead));
  out.set_steps_ahead(steps_ahead);
  out.set_min_members(min_members);
  out.set_plan_text(plan_text);
  if (clock) out.set_clock_ns(absl::ToUnixNanos(*clock));
}

void Fill(const Prepare& in, proto::CoordinatorMessage* message) {
  const auto& [epoch, ballot, planned] = in;
  proto::Prepare& out = *message->mutable_prepare();
  out.set_epoch(epoch.value());
  *out.mutable_ballot() = ToProto(ballot);
  out.set_planned(planned);
}

void Fill(const Accept& in, proto::CoordinatorMessage* message) {
  const auto& [ballot, proposal] = in;
  proto::Accept& out = *message->mutable_accept();
  *out.mutable_ballot() = ToProto(ballot);
  *out.mutable_proposal() = ToProto(proposal);
}

void Fill(const Install& in, proto::CoordinatorMessage* message) {
  const auto& [proposal] = in;
  *message->mutable_install()->mutable_proposal() = ToProto(proposal);
}

void Fill(const Removed& in, proto::CoordinatorMessage* message) {
  const auto& [may_rejoin, reason] = in;
  message->mutable_removed()->set_may_rejoin(may_rejoin);
  message->mutable_removed()->set_reason(Cut(reason));
}

void Fill(const Waiting& in, proto::CoordinatorMessage* message) {
  const auto& [reason, clock, calendar_ahead] = in;
  proto::Waiting& out = *message->mutable_waiting();
  out.set_reason(Cut(reason));
  if (clock) out.set_clock_ns(absl::ToUnixNanos(*clock));
  if (calendar_ahead) out.set_calendar_ahead_ns(absl::ToInt64Nanoseconds(*calendar_ahead));
}

}  // namespace

proto::Id128 ToProto(const Incarnation& in) {
  const auto& [high, low] = in;
  proto::Id128 out;
  out.set_high(high);
  out.set_low(low);
  return out;
}

proto::View ToProto(const View& in) {
  const auto& [job, epoch, ballot, previous_digest, members, tie_breaker, first_step] = in;
  proto::View out;
  *out.mutable_job() = ToProto(job);
  out.set_epoch(epoch.value());
  *out.mutable_ballot() = ToProto(ballot);
  out.set_previous_digest(previous_digest);
  for (const Member& member : members) *out.add_members() = ToProto(member);
  out.set_tie_breaker(tie_breaker.value());
  out.set_first_step(first_step.value());
  return out;
}

proto::Beat ToProto(const Beat& in) {
  const auto& [step, epoch, active, undecided, hears_coordinator, loop_lateness, stats, ops, frozen,
               calls, links, clock, step_interval, op_length] = in;
  proto::Beat out;
  out.set_step(step.value());
  out.set_epoch(epoch.value());
  out.set_active(active);
  out.set_undecided(undecided);
  out.set_hears_coordinator(hears_coordinator);
  out.set_loop_lateness_ns(absl::ToInt64Nanoseconds(loop_lateness));
  *out.mutable_stats() = ToProto(stats);
  for (const OpReport& op : ops) *out.add_ops() = ToProto(op);
  out.set_frozen(frozen);
  *out.mutable_calls() = ToProto(calls);
  for (const LinkReport& link : links) *out.add_links() = ToProto(link);
  if (clock) Fill(*clock, &out);
  out.set_step_interval_ns(absl::ToInt64Nanoseconds(step_interval));
  out.set_op_length_ns(absl::ToInt64Nanoseconds(op_length));
  return out;
}

proto::OpReport ToProto(const OpReport& in) {
  const auto& [op, epoch, progress, age, waiting_for, phase, stalled, call] = in;
  proto::OpReport out;
  out.set_op(op.value());
  out.set_epoch(epoch.value());
  out.set_progress(progress);
  out.set_age_ns(absl::ToInt64Nanoseconds(age));
  for (NodeId node : waiting_for) out.add_waiting_for(node.value());
  switch (phase) {
    case OpReport::Phase::kRunning:
      out.set_phase(proto::OpReport::RUNNING);
      break;
    case OpReport::Phase::kAwaitsView:
      out.set_phase(proto::OpReport::AWAITS_VIEW);
      break;
    case OpReport::Phase::kAwaitsInput:
      out.set_phase(proto::OpReport::AWAITS_INPUT);
      break;
  }
  out.set_stalled_ns(absl::ToInt64Nanoseconds(stalled));
  out.set_call(Cut(call, Beat::kTextBytesMax));
  return out;
}

proto::MemberStats ToProto(const MemberStats& in) {
  const auto& [training_loss, allreduce_seconds, goodput_bps, packets_lost, packets_repaired] = in;
  proto::MemberStats out;
  out.set_training_loss(training_loss);
  out.set_allreduce_seconds(allreduce_seconds);
  out.set_goodput_bps(goodput_bps);
  out.set_packets_lost(packets_lost);
  out.set_packets_repaired(packets_repaired);
  return out;
}

proto::MemberMessage ToProto(const MemberMessage& message) {
  proto::MemberMessage out;
  std::visit([&](const auto& kind) { Fill(kind, &out); }, message);
  return out;
}

proto::CoordinatorMessage ToProto(const CoordinatorMessage& message) {
  proto::CoordinatorMessage out;
  std::visit([&](const auto& kind) { Fill(kind, &out); }, message);
  return out;
}

}  // namespace perigee
