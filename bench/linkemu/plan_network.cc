// A contact plan as a network whose links open and close.
#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "bench/linkemu/network.h"
#include "transport/base/status.h"

namespace perigee::linkemu {
namespace {

// Cuts the dark times of `node` out of `windows`.
std::vector<LinkWindow> WithoutDark(std::vector<LinkWindow> windows, const ContactPlan& plan,
                                    NodeId node) {
  for (const DarkInterval& dark : plan.dark_intervals()) {
    if (dark.node != node) continue;
    std::vector<LinkWindow> left;
    for (const LinkWindow& window : windows) {
      if (window.opens < dark.begins) {
        left.push_back({window.opens, std::min(window.closes, dark.begins), window.link});
      }
      if (window.closes > dark.ends) {
        left.push_back({std::max(window.opens, dark.ends), window.closes, window.link});
      }
    }
    windows = std::move(left);
  }
  return windows;
}

}  // namespace

absl::Time PlanClock::ToLocal(absl::Time plan_time) const {
  if (plan_time == absl::InfinitePast() || plan_time == absl::InfiniteFuture()) return plan_time;
  return start + (plan_time - plan_start) / scale;
}

absl::StatusOr<Network> NetworkFromPlan(const ContactPlan& plan, const std::vector<NodeId>& ids,
                                        const PlanClock& clock, const ChannelSettings& channel) {
  std::map<NodeId, int> nodes;
  for (const NodeId id : ids) nodes[id] = 0;
  for (const Contact& contact : plan.contacts()) nodes[contact.from] = nodes[contact.to] = 0;
  if (nodes.size() < 2 || nodes.size() > kNodesMax) {
    return absl::InvalidArgumentError(absl::StrCat("--contacts: the plan has ", nodes.size(),
                                                   " nodes, must have from 2 to ", kNodesMax));
  }
  int next = 0;
  for (auto& [id, node] : nodes) node = next++;
  std::map<std::pair<NodeId, NodeId>, std::vector<LinkWindow>> windows;
  for (const Contact& contact : plan.contacts()) {
    windows[{contact.from, contact.to}].push_back({contact.opens, contact.closes, contact.link});
  }
  Network network{.node_count = next, .links = {}};
  for (auto& [pair, plan_windows] : windows) {
    LinkSettings link{nodes[pair.first], nodes[pair.second], channel, std::move(plan_windows)};
    link.windows = WithoutDark(std::move(link.windows), plan, pair.first);
    link.windows = WithoutDark(std::move(link.windows), plan, pair.second);
    for (LinkWindow& window : link.windows) {
      window.opens = clock.ToLocal(window.opens);
      window.closes = clock.ToLocal(window.closes);
    }
    // A link that never opens: no windows would mean "always".
    if (link.windows.empty()) continue;
    PERIGEE_RETURN_IF_ERROR(Validate(link.channel));
    network.links.push_back(std::move(link));
  }
  return network;
}

}  // namespace perigee::linkemu
