// Topologies, graph files, contact plans and routes.
#include "bench/linkemu/network.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "runtime/orbit/plan_file.h"
#include "transport/base/rng.h"

namespace perigee::linkemu {
namespace {

using testing::HasSubstr;

ChannelSettings Channel() { return {.link = {1e6, absl::Milliseconds(5)}, .loss = 0.01}; }

std::set<std::pair<int, int>> Pairs(const Network& network) {
  std::set<std::pair<int, int>> pairs;
  for (const LinkSettings& link : network.links) pairs.insert({link.from, link.to});
  EXPECT_EQ(pairs.size(), network.links.size()) << "a directed pair has one link";
  return pairs;
}

TEST(Topology, HasTheLinksOfItsName) {
  struct Case {
    const char* name;
    int nodes;
    size_t links;
    std::pair<int, int> has;
    std::pair<int, int> has_not;
  };
  for (const Case& c : std::vector<Case>{{"mesh", 4, 12, {0, 3}, {0, 0}},
                                         {"ring", 5, 10, {0, 4}, {0, 2}},
                                         {"ring", 2, 2, {0, 1}, {0, 0}},
                                         {"star", 4, 6, {3, 0}, {1, 2}},
                                         {"torus4x4", 16, 64, {0, 12}, {0, 5}},
                                         {"torus2x3", 6, 18, {0, 2}, {0, 4}},
                                         {"torus1x4", 4, 8, {0, 3}, {0, 2}}}) {
    SCOPED_TRACE(c.name);
    const auto network = MakeTopology(c.name, c.nodes, Channel());
    ASSERT_TRUE(network.ok()) << network.status();
    const auto pairs = Pairs(*network);
    EXPECT_EQ(pairs.size(), c.links);
    EXPECT_TRUE(pairs.contains(c.has));
    EXPECT_FALSE(pairs.contains(c.has_not));
    for (const auto& [a, b] : pairs) EXPECT_TRUE(pairs.contains({b, a}));
    EXPECT_EQ(network->BytesPerSecond(), 1e6 * static_cast<double>(c.links));
  }
  EXPECT_EQ(MakeTopology("torus4x4", 0, Channel())->node_count, 16);
}

TEST(Topology, SaysWhatDoesNotFit) {
  const auto Message = [](const char* name, int nodes) {
    const auto network = MakeTopology(name, nodes, Channel());
    EXPECT_FALSE(network.ok());
    return std::string(network.status().message());
  };
  EXPECT_THAT(Message("mesh", 1), HasSubstr("--nodes: 1 must be from 2"));
  EXPECT_THAT(Message("mesh", 257), HasSubstr("to 256"));
  EXPECT_THAT(Message("torus4x4", 4), HasSubstr("has 16 nodes, but --nodes is 4"));
  EXPECT_THAT(Message("torus4", 4), HasSubstr("torusAxB"));
  EXPECT_THAT(Message("torus1x1", 0), HasSubstr("--nodes"));
  EXPECT_THAT(Message("moebius", 4), HasSubstr("'moebius' is none of mesh, ring"));
}

TEST(GraphFile, GivesEveryLinkItsOwnSettings) {
  const auto network = ParseGraph(
      "# from a survey\n"
      "10 20 25e6 0.01 0.5   # lossy\n"
      "\n"
      " 20\t30 1e6 0.002\r\n",
      "survey.graph", Channel());
  ASSERT_TRUE(network.ok()) << network.status();
  EXPECT_EQ(network->node_count, 3);
  ASSERT_EQ(network->links.size(), 4u);
  const LinkSettings& back = network->links[1];
  EXPECT_EQ(std::pair(back.from, back.to), std::pair(1, 0));
  EXPECT_EQ(back.channel.link, (Link{25e6, absl::Milliseconds(10)}));
  EXPECT_EQ(back.channel.loss, 0.5);
  EXPECT_EQ(network->links[2].channel.link, (Link{1e6, absl::Milliseconds(2)}));
  EXPECT_EQ(network->links[2].channel.loss, 0.01);  // what the flags say
}

TEST(GraphFile, NamesTheLineThatIsWrong) {
  const auto Message = [](const char* text) {
    const auto network = ParseGraph(text, "g", Channel());
    EXPECT_FALSE(network.ok()) << text;
    return std::string(network.status().message());
  };
  EXPECT_THAT(Message(""), HasSubstr("has 0 nodes"));
  EXPECT_THAT(Message("0 1 1e6 0\n0 1\n"), HasSubstr("g:2: '0 1' is not"));
  EXPECT_THAT(Message("0 0 1e6 0\n"), HasSubstr("g:1: a link from a node to itself"));
  EXPECT_THAT(Message("0 1 1e6 0\n1 0 1e6 0\n"), HasSubstr("g:2: a second link"));
  EXPECT_THAT(Message("0 1 -5 0\n"), HasSubstr("g:1: channel: link.bytes_per_second"));
  EXPECT_THAT(Message("0 1 5 0 1.5\n"), HasSubstr("loss"));
  EXPECT_THAT(Message("0 1 5 0 0.5 9\n"), HasSubstr("is not"));
}

// Follows the table from `from` to `to`; nothing when it leads nowhere.
std::optional<std::vector<int>> Path(const Network& network, const RoutingTable& routes, int from,
                                     int to) {
  std::vector<int> path = {from};
  while (path.back() != to) {
    const int link = routes.NextLink(path.back(), to);
    if (link == RoutingTable::kNoLink) return std::nullopt;
    EXPECT_EQ(network.links[static_cast<size_t>(link)].from, path.back());
    path.push_back(network.links[static_cast<size_t>(link)].to);
    if (path.size() > static_cast<size_t>(network.node_count)) {
      ADD_FAILURE() << "a loop from " << from << " to " << to;
      return std::nullopt;
    }
  }
  return path;
}

// Every pair's least cost over all paths, by Floyd and Warshall.
std::map<std::pair<int, int>, double> LeastCosts(const Network& network) {
  std::map<std::pair<int, int>, double> cost;
  const int n = network.node_count;
  for (int a = 0; a < n; ++a) {
    for (int b = 0; b < n; ++b) cost[{a, b}] = a == b ? 0 : INFINITY;
  }
  for (const LinkSettings& link : network.links) {
    cost[{link.from, link.to}] = absl::ToDoubleMicroseconds(link.channel.link.delay) + 1;
  }
  for (int via = 0; via < n; ++via) {
    if (via == network.hub) continue;
    for (int a = 0; a < n; ++a) {
      for (int b = 0; b < n; ++b) {
        cost[{a, b}] = std::min(cost[{a, b}], cost[{a, via}] + cost[{via, b}]);
      }
    }
  }
  return cost;
}

TEST(RoutingTable, TakesDirectLinksAndElseShortestPaths) {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Rng rng(seed);
    Network network{.node_count = static_cast<int>(rng.Between(2, 10)), .links = {}};
    for (int a = 0; a < network.node_count; ++a) {
      for (int b = 0; b < network.node_count; ++b) {
        if (a == b || !rng.Bernoulli(0.3)) continue;
        ChannelSettings channel{.link = {1e6, absl::Milliseconds(rng.Between(0, 20))}};
        network.links.push_back({.from = a, .to = b, .channel = channel, .windows = {}});
      }
    }
    if (rng.Bernoulli(0.5)) AddHub(&network, Channel());
    const RoutingTable routes(network);
    const auto pairs = Pairs(network);
    const auto costs = LeastCosts(network);
    for (const auto& [pair, cost] : costs) {
      const auto& [from, to] = pair;
      if (from == to) continue;
      const auto path = Path(network, routes, from, to);
      ASSERT_EQ(path.has_value(), std::isfinite(cost)) << from << " to " << to;
      if (!path) continue;
      if (pairs.contains(pair)) {
        EXPECT_EQ(path->size(), 2u);
        continue;
      }
      // Not neighbours: the first hop lies on a shortest path.
      const double first = absl::ToDoubleMicroseconds(
          network.links[static_cast<size_t>(routes.NextLink(from, to))].channel.link.delay);
      EXPECT_DOUBLE_EQ(first + 1 + costs.at({(*path)[1], to}), cost);
      for (size_t i = 1; i + 1 < path->size(); ++i) EXPECT_NE((*path)[i], network.hub);
    }
  }
}

TEST(PlanNetwork, TurnsContactsIntoWindows) {
  const absl::Time today = absl::FromUnixSeconds(1'700'000'000);
  const absl::Time start = absl::UnixEpoch() + absl::Seconds(50);
  const auto plan = ParsePlanFile(
      R"(
        nodes { id: 4 } nodes { id: 7 } nodes { id: 9 }
        links { from: 4 to: 9 bits_per_second: 8e6 delay_ms: 5 bidirectional: true }
        links { from: 4 to: 7 bits_per_second: 16e6 delay_ms: 2 }
        links { from: 9 to: 7 bits_per_second: 16e6 delay_ms: 2 }
        contacts { from: 9 to: 7 opens_ms: 50000 closes_ms: 60000 }
        contacts { from: 4 to: 7 opens_ms: 0 closes_ms: 20000 }
        contacts { from: 4 to: 7 opens_ms: 30000 closes_ms: 40000 delay_ms: 3 }
        dark { node: 7 begins_ms: 10000 ends_ms: 35000 }
        dark { node: 9 begins_ms: 10000 ends_ms: 20000 }
      )",
      "plan", today);
  ASSERT_TRUE(plan.ok()) << plan.status();
  const auto network =
      NetworkFromPlan(plan->plan, {NodeId(4), NodeId(7), NodeId(9)}, {today, start, 10}, Channel());
  ASSERT_TRUE(network.ok()) << network.status();
  EXPECT_EQ(network->node_count, 3);
  EXPECT_EQ(Pairs(*network), (std::set<std::pair<int, int>>{{0, 1}, {0, 2}, {2, 0}, {2, 1}}));
  for (const LinkSettings& link : network->links) {
    std::vector<std::pair<double, double>> seconds;
    for (const LinkWindow& window : link.windows) {
      seconds.emplace_back(absl::ToDoubleSeconds(window.opens - start),
                           absl::ToDoubleSeconds(window.closes - start));
    }
    if (link.from == 2 && link.to == 1) {
      EXPECT_EQ(seconds, (std::vector<std::pair<double, double>>{{5, 6}}));
    } else if (link.to == 1) {
      EXPECT_EQ(seconds, (std::vector<std::pair<double, double>>{{0, 1}, {3.5, 4}}));
      EXPECT_EQ(link.windows[1].link, (Link{2e6, absl::Milliseconds(3)}));
    } else {
      EXPECT_EQ(seconds, (std::vector<std::pair<double, double>>{{-INFINITY, 1}, {2, INFINITY}}));
    }
    EXPECT_EQ(link.channel.loss, 0.01);
  }
}

TEST(PlanNetwork, ALinkThatNeverOpensIsNoLink) {
  const auto plan = ParsePlanFile(
      R"(
        links { from: 0 to: 1 bits_per_second: 8e6 delay_ms: 5 }
        contacts { from: 0 to: 1 opens_ms: 10 closes_ms: 20 }
        dark { node: 0 begins_ms: 0 ends_ms: 100 }
      )",
      "plan", absl::UnixEpoch());
  ASSERT_TRUE(plan.ok()) << plan.status();
  const auto network =
      NetworkFromPlan(plan->plan, {}, {absl::UnixEpoch(), absl::UnixEpoch(), 1}, Channel());
  ASSERT_TRUE(network.ok());
  EXPECT_TRUE(network->links.empty());
}

}  // namespace
}  // namespace perigee::linkemu
