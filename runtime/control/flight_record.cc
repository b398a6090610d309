#include "runtime/control/flight_record.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "proto/flight.pb.h"
#include "runtime/control/convert.h"
#include "runtime/control/situation_reply.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

proto::FlightEvent ToProto(const FlightEvent& in) {
  const auto& [time, kind, op, node, text] = in;
  proto::FlightEvent out;
  out.set_time_ns(absl::ToUnixNanos(time));
  out.set_kind(kind);
  if (op) out.set_op(op->value());
  if (node) out.set_node(node->value());
  out.set_text(text);
  return out;
}

FlightEvent FromProto(const proto::FlightEvent& in) {
  FlightEvent out{.time = absl::FromUnixNanos(in.time_ns()), .kind = in.kind()};
  if (in.has_op()) out.op = OpId(in.op());
  if (in.has_node()) out.node = NodeId(in.node());
  out.text = in.text();
  return out;
}

proto::FlightView ToProto(const FlightView& in) {
  const auto& [epoch, planned, first_step, members, reason] = in;
  proto::FlightView out;
  out.set_epoch(epoch.value());
  out.set_planned(planned);
  out.set_first_step(first_step.value());
  for (NodeId node : members) out.add_members(node.value());
  out.set_reason(reason);
  return out;
}

FlightView FromProto(const proto::FlightView& in) {
  FlightView out{
      .epoch = Epoch(in.epoch()), .planned = in.planned(), .first_step = StepId(in.first_step())};
  for (uint32_t node : in.members()) out.members.push_back(NodeId(node));
  out.reason = in.reason();
  return out;
}

}  // namespace

absl::StatusOr<std::string> FlightRecordToJson(const FlightRecord& record) {
  const auto& [version, written, reason, connected, waiting_reason, member, missing, views,
               events] = record;
  proto::FlightRecord out;
  out.set_version(version);
  out.set_written(absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", written, absl::UTCTimeZone()));
  out.set_written_ns(absl::ToUnixNanos(written));
  out.set_reason(reason);
  out.set_coordinator_connected(connected);
  out.set_waiting_reason(waiting_reason);
  *out.mutable_member() = ToProto(member);
  for (const auto& [peer, count] : missing) {
    proto::MissingTransfers* transfers = out.add_missing();
    transfers->set_peer(peer.value());
    transfers->set_count(count);
  }
  for (const FlightView& view : views) *out.add_views() = ToProto(view);
  for (const FlightEvent& event : events) *out.add_events() = ToProto(event);
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.preserve_proto_field_names = true;
  std::string json;
  const auto printed = google::protobuf::util::MessageToJsonString(out, &json, options);
  if (printed.ok()) return json;
  return absl::InternalError(absl::StrCat("flight record of node ", member.node.value(), ": ",
                                          std::string(printed.message())));
}

absl::StatusOr<FlightRecord> FlightRecordFromJson(absl::string_view json) {
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  proto::FlightRecord in;
  const auto parsed = google::protobuf::util::JsonStringToMessage(std::string(json), &in, options);
  if (!parsed.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("not a flight record: ", std::string(parsed.message())));
  }
  if (in.written_ns() == 0 || !in.has_member()) {
    return absl::InvalidArgumentError("not a flight record: it has no time or no member");
  }
  FlightRecord record{.version = in.version(),
                      .written = absl::FromUnixNanos(in.written_ns()),
                      .reason = in.reason(),
                      .coordinator_connected = in.coordinator_connected(),
                      .waiting_reason = in.waiting_reason()};
  PERIGEE_ASSIGN_OR_RETURN(record.member, FromProto(in.member()));
  for (const proto::MissingTransfers& transfers : in.missing()) {
    record.missing.emplace_back(NodeId(transfers.peer()), transfers.count());
  }
  for (const proto::FlightView& view : in.views()) record.views.push_back(FromProto(view));
  for (const proto::FlightEvent& event : in.events()) record.events.push_back(FromProto(event));
  return record;
}

Situation SituationOf(const std::vector<FlightRecord>& records) {
  std::map<NodeId, const FlightRecord*> newest;
  Situation situation{.now = absl::InfinitePast(), .coordinator = false};
  const FlightView* view = nullptr;
  for (const FlightRecord& record : records) {
    const FlightRecord*& known = newest[record.member.node];
    if (known == nullptr || known->written < record.written) known = &record;
    if (record.written > situation.now) {
      situation.now = record.written;
      situation.waiting_reason = record.waiting_reason;
    }
    const bool later =
        !record.views.empty() && (view == nullptr || view->epoch < record.views.back().epoch);
    if (later) view = &record.views.back();
  }
  std::map<NodeId, MemberAccount> members;
  for (const auto& [node, record] : newest) {
    MemberAccount& member = members[node] = record->member;
    member.report_age = situation.now - record->written;
  }
  if (view != nullptr) {
    for (NodeId node : view->members) {
      members[node].node = node;
      members[node].in_view = true;
    }
  }
  for (auto& [node, member] : members) situation.members.push_back(std::move(member));
  return situation;
}

}  // namespace perigee
