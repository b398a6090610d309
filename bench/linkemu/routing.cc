// Next hops: the shortest paths to every node, found backwards from it.
#include <queue>
#include <tuple>
#include <utility>

#include "bench/linkemu/network.h"

namespace perigee::linkemu {
namespace {

// What a hop costs beyond its delay, so that among equal delays fewer hops win.
constexpr absl::Duration kHopCost = absl::Microseconds(1);

absl::Duration Cost(const LinkSettings& link) {
  const absl::Duration delay =
      link.windows.empty() ? link.channel.link.delay : link.windows.front().link.delay;
  return delay + kHopCost;
}

}  // namespace

RoutingTable::RoutingTable(const Network& network)
    : node_count_(static_cast<size_t>(network.node_count)),
      next_(node_count_ * node_count_, kNoLink) {
  std::vector<std::vector<int>> links_to(node_count_);
  for (size_t i = 0; i < network.links.size(); ++i) {
    links_to[static_cast<size_t>(network.links[i].to)].push_back(static_cast<int>(i));
  }
  using Entry = std::pair<absl::Duration, int>;  // distance to the destination, node
  for (size_t to = 0; to < node_count_; ++to) {
    std::vector<absl::Duration> distance(node_count_, absl::InfiniteDuration());
    std::priority_queue<Entry, std::vector<Entry>, std::greater<>> open;
    distance[to] = absl::ZeroDuration();
    open.push({absl::ZeroDuration(), static_cast<int>(to)});
    while (!open.empty()) {
      const auto [so_far, node] = open.top();
      open.pop();
      if (so_far > distance[static_cast<size_t>(node)]) continue;
      if (node == network.hub && so_far > absl::ZeroDuration()) continue;
      for (const int link : links_to[static_cast<size_t>(node)]) {
        const LinkSettings& settings = network.links[static_cast<size_t>(link)];
        const auto from = static_cast<size_t>(settings.from);
        const absl::Duration through = so_far + Cost(settings);
        if (through >= distance[from]) continue;
        distance[from] = through;
        next_[from * node_count_ + to] = link;
        open.push({through, settings.from});
      }
    }
    // Neighbours talk directly, however long that takes. No loops: every other hop comes closer.
    for (const int link : links_to[to]) {
      const auto from = static_cast<size_t>(network.links[static_cast<size_t>(link)].from);
      next_[from * node_count_ + to] = link;
    }
  }
}

}  // namespace perigee::linkemu
