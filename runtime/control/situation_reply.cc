#include "runtime/control/situation_reply.h"

#include <utility>

#include "runtime/control/convert.h"
#include "transport/base/status.h"

namespace perigee {

proto::SituationReply ToProto(const Situation& situation) {
  proto::SituationReply reply;
  reply.set_now_ns(absl::ToUnixNanos(situation.now));
  reply.set_waiting_reason(situation.waiting_reason);
  size_t links = 0;
  for (const MemberAccount& member : situation.members) {
    proto::MemberAccount* account = reply.add_members();
    *account = ToProto(member);
    links += static_cast<size_t>(account->report().links_size());
    if (links > kLinkRowsMax && member.report) account->mutable_report()->clear_links();
  }
  return reply;
}

proto::MemberAccount ToProto(const MemberAccount& in) {
  const auto& [node, in_view, connected, heard_ago, report, report_age] = in;
  proto::MemberAccount out;
  out.set_node(node.value());
  out.set_in_view(in_view);
  out.set_connected(connected);
  if (heard_ago != absl::InfiniteDuration()) {
    out.set_heard_ago_ns(absl::ToInt64Nanoseconds(heard_ago));
  }
  if (report) *out.mutable_report() = ToProto(*report);
  out.set_report_age_ns(absl::ToInt64Nanoseconds(report_age));
  return out;
}

absl::StatusOr<MemberAccount> FromProto(const proto::MemberAccount& in) {
  MemberAccount out{
      .node = NodeId(in.node()), .in_view = in.in_view(), .connected = in.connected()};
  if (in.has_heard_ago_ns()) out.heard_ago = absl::Nanoseconds(in.heard_ago_ns());
  if (in.has_report()) {
    PERIGEE_ASSIGN_OR_RETURN(out.report, FromProto(in.report()));
  }
  out.report_age = absl::Nanoseconds(in.report_age_ns());
  return out;
}

absl::StatusOr<Situation> FromProto(const proto::SituationReply& reply) {
  Situation situation{.now = absl::FromUnixNanos(reply.now_ns()),
                      .waiting_reason = reply.waiting_reason()};
  for (const proto::MemberAccount& member : reply.members()) {
    PERIGEE_ASSIGN_OR_RETURN(MemberAccount account, FromProto(member));
    situation.members.push_back(std::move(account));
  }
  return situation;
}

}  // namespace perigee
