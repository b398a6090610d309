#include "runtime/control/admin_reply.h"

#include <algorithm>
#include <optional>

#include "runtime/control/convert.h"
#include "runtime/hibernation.h"
#include "runtime/version.h"

namespace perigee {
namespace {

void SetDark(const std::optional<DarkInterval>& dark, proto::Dark* out) {
  out->set_node(dark->node.value());
  out->set_begins_ns(absl::ToUnixNanos(dark->begins));
  out->set_ends_ns(absl::ToUnixNanos(dark->ends));
}

// The earliest interval of any node that has not ended.
std::optional<DarkInterval> NextDark(absl::Time now, const ContactPlan& plan) {
  std::optional<DarkInterval> next;
  for (const DarkInterval& dark : plan.dark_intervals()) {
    if (dark.ends > now && (!next || dark.begins < next->begins)) next = dark;
  }
  return next;
}

void Fill(absl::Time now, const MemberRecord& record, const Coordinator& coordinator,
          proto::NodeRow* row) {
  const ClusterState& state = coordinator.state();
  row->set_node(record.node.value());
  row->set_state(Name(record.state));
  row->set_connected(record.stream.has_value());
  if (state.view && HasLife(*state.view, record.node, record.incarnation)) {
    row->set_votes(state.view->Find(record.node)->votes);
  }
  row->set_epoch(record.beat.epoch.value());
  row->set_step(record.beat.step.value());
  if (record.last_heard > absl::InfinitePast()) {
    row->set_last_heard_ns(absl::ToUnixNanos(record.last_heard));
  }
  *row->mutable_stats() = ToProto(record.beat.stats);
  row->set_loop_lateness_ns(absl::ToInt64Nanoseconds(record.beat.loop_lateness));
  row->set_address(record.address);
  *row->mutable_incarnation() = ToProto(record.incarnation);
  if (const auto dark = state.plan.CurrentOrNextDark(record.node, state.Calendar(now))) {
    SetDark(dark, row->mutable_dark());
  }
  if (record.drain_requested) {
    row->set_drain_at_ns(absl::ToUnixNanos(std::max(record.drain_at, absl::UnixEpoch())));
  }
  row->set_since_ns(absl::ToUnixNanos(record.since));
  row->set_reason(record.reason);
  if (const auto clock = coordinator.ClockOf(now, record)) {
    row->set_clock_offset_ns(absl::ToInt64Nanoseconds(clock->ahead));
    row->set_clock_bound_ns(absl::ToInt64Nanoseconds(clock->bound));
  }
}

}  // namespace

proto::StatusReply StatusOf(absl::Time now, const Coordinator& coordinator,
                            const CoordinatorInfo& info) {
  const ClusterState& state = coordinator.state();
  proto::StatusReply reply;
  reply.set_version(kVersion);
  reply.set_listen(info.listen);
  reply.set_started_ns(absl::ToUnixNanos(info.started));
  reply.set_now_ns(absl::ToUnixNanos(now));
  if (state.view) *reply.mutable_view() = ToProto(*state.view);
  if (!coordinator.views().empty()) {
    reply.set_view_since_ns(absl::ToUnixNanos(coordinator.views().back().decided));
  }
  const bool silent = state.members.empty() && coordinator.waiting_reason().empty();
  reply.set_waiting_reason(silent ? "no member has registered yet" : coordinator.waiting_reason());
  uint64_t step = 0;
  uint32_t active = 0, connected = 0;
  for (const auto& [node, record] : state.members) {
    step = std::max(step, record.beat.step.value());
    active += record.state == MemberState::kActive;
    connected += record.stream.has_value();
  }
  reply.set_nodes_known(static_cast<uint32_t>(state.members.size()));
  reply.set_nodes_active(active);
  reply.set_nodes_connected(connected);
  reply.set_step(step);
  reply.set_dark_intervals(static_cast<uint32_t>(state.plan.dark_intervals().size()));
  if (const auto dark = NextDark(state.Calendar(now), state.plan)) {
    SetDark(dark, reply.mutable_next_dark());
  }
  return reply;
}

void SetRefusals(const Refusals::Counts& counts, proto::StatusReply* reply) {
  for (size_t cause = 0; cause < counts.size(); ++cause) {
    if (counts[cause] == 0) continue;
    proto::RefusalCount* refusal = reply->add_refusals();
    refusal->set_cause(Name(static_cast<Refusal>(cause)));
    refusal->set_count(counts[cause]);
  }
}

proto::NodesReply NodesOf(absl::Time now, const Coordinator& coordinator) {
  proto::NodesReply reply;
  reply.set_now_ns(absl::ToUnixNanos(now));
  for (const auto& [node, record] : coordinator.state().members) {
    Fill(now, record, coordinator, reply.add_nodes());
  }
  return reply;
}

proto::ViewsReply ViewsOf(absl::Time now, const Coordinator& coordinator) {
  proto::ViewsReply reply;
  reply.set_now_ns(absl::ToUnixNanos(now));
  const std::deque<ViewRecord>& views = coordinator.views();
  const size_t shown = std::min(views.size(), kViewRowsMax);
  for (auto record = views.end() - static_cast<ptrdiff_t>(shown); record != views.end(); ++record) {
    const Proposal& proposal = record->proposal;
    proto::ViewRow* row = reply.add_views();
    row->set_epoch(proposal.view.epoch.value());
    row->set_planned(proposal.planned);
    row->set_decided_ns(absl::ToUnixNanos(record->decided));
    row->set_took_ns(absl::ToInt64Nanoseconds(record->took));
    row->set_first_step(proposal.view.first_step.value());
    for (const Member& member : proposal.view.members) row->add_members(member.node.value());
    uint32_t finished = 0;
    for (const OpDecision& op : proposal.decisions) {
      finished += op.kind == OpDecision::Kind::kFinish;
    }
    row->set_ops_finished(finished);
    row->set_ops_aborted(static_cast<uint32_t>(proposal.decisions.size()) - finished);
    row->set_reason(proposal.reason);
  }
  return reply;
}

proto::OpsReply OpsOf(absl::Time now, const Coordinator& coordinator) {
  proto::OpsReply reply;
  reply.set_now_ns(absl::ToUnixNanos(now));
  for (const auto& [node, record] : coordinator.state().members) {
    if (!record.stream) continue;  // what a node that is gone said last does not run any more
    for (const OpReport& op : record.beat.ops) {
      if (static_cast<size_t>(reply.ops_size()) >= kOpRowsMax) return reply;
      proto::OpRow* row = reply.add_ops();
      row->set_node(node.value());
      *row->mutable_op() = ToProto(op);
    }
  }
  return reply;
}

proto::Event ToProto(const CoordinatorEvent& event) {
  proto::Event out;
  out.set_number(event.number);
  out.set_time_ns(absl::ToUnixNanos(event.time));
  out.set_kind(event.kind);
  if (event.node) out.set_node(event.node->value());
  out.set_text(event.text);
  return out;
}

}  // namespace perigee
