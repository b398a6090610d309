#include "runtime/situation.h"

#include <utility>

#include "runtime/hibernation.h"

namespace perigee {

Situation SituationOf(absl::Time now, const Coordinator& coordinator) {
  const ClusterState& state = coordinator.state();
  Situation situation{.now = state.Calendar(now), .waiting_reason = coordinator.waiting_reason()};
  for (const auto& [node, record] : state.members) {
    MemberAccount account{.node = node,
                          .in_view = state.view && HasLife(*state.view, node, record.incarnation),
                          .connected = record.stream.has_value()};
    if (record.last_heard != absl::InfinitePast()) account.heard_ago = now - record.last_heard;
    if (record.beat_at != absl::InfinitePast()) {
      account.report = record.beat;
      account.report->links.clear();
      for (const auto& [peer, link] : record.links) account.report->links.push_back(link.report);
      account.report_age = now - record.beat_at;
    }
    situation.members.push_back(std::move(account));
  }
  return situation;
}

}  // namespace perigee
