// Topologies by name, and graph files.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <limits>
#include <map>
#include <set>
#include <sstream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "bench/linkemu/network.h"
#include "transport/base/status.h"

namespace perigee::linkemu {
namespace {

constexpr size_t kLinksMax = 1 << 16;

absl::Status CheckNodes(int nodes) {
  if (nodes >= 2 && nodes <= kNodesMax) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--nodes: ", nodes, " must be from 2 to ", kNodesMax));
}

void AddBoth(int a, int b, const ChannelSettings& channel, Network* network) {
  network->links.push_back({.from = a, .to = b, .channel = channel, .windows = {}});
  network->links.push_back({.from = b, .to = a, .channel = channel, .windows = {}});
}

// Pairs come in ascending order and once each, so that link numbers, and with them the losses of a
// seed, do not depend on how the pairs were found.
Network FromPairs(int nodes, const std::set<std::pair<int, int>>& pairs,
                  const ChannelSettings& channel) {
  Network network{.node_count = nodes, .links = {}};
  for (const auto& [a, b] : pairs) AddBoth(a, b, channel, &network);
  return network;
}

std::pair<int, int> Ordered(int a, int b) { return {std::min(a, b), std::max(a, b)}; }

absl::StatusOr<Network> Torus(const std::string& text, int nodes, const ChannelSettings& channel) {
  const std::vector<std::string> sides = absl::StrSplit(absl::StripPrefix(text, "torus"), 'x');
  int rows = 0;
  int columns = 0;
  if (sides.size() != 2 || !absl::SimpleAtoi(sides[0], &rows) ||
      !absl::SimpleAtoi(sides[1], &columns) || rows < 1 || columns < 1 || rows > kNodesMax ||
      columns > kNodesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("--topology ", text, ": write a torus as torusAxB, e.g. torus4x4"));
  }
  PERIGEE_RETURN_IF_ERROR(CheckNodes(rows * columns));
  if (nodes != 0 && nodes != rows * columns) {
    return absl::InvalidArgumentError(absl::StrCat("--topology ", text, " has ", rows * columns,
                                                   " nodes, but --nodes is ", nodes));
  }
  std::set<std::pair<int, int>> pairs;
  for (int row = 0; row < rows; ++row) {
    for (int column = 0; column < columns; ++column) {
      const int node = row * columns + column;
      const int right = row * columns + (column + 1) % columns;
      const int below = (row + 1) % rows * columns + column;
      if (right != node) pairs.insert(Ordered(node, right));
      if (below != node) pairs.insert(Ordered(node, below));
    }
  }
  return FromPairs(rows * columns, pairs, channel);
}

// One line of a graph file.
struct Edge {
  uint64_t a = 0;
  uint64_t b = 0;
  ChannelSettings channel;
};

absl::StatusOr<Edge> ParseEdge(absl::string_view line, const ChannelSettings& base) {
  const std::vector<absl::string_view> words =
      absl::StrSplit(line, absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
  Edge edge{.channel = base};
  double delay_seconds = 0;
  if (words.size() < 4 || words.size() > 5 || !absl::SimpleAtoi(words[0], &edge.a) ||
      !absl::SimpleAtoi(words[1], &edge.b) ||
      !absl::SimpleAtod(words[2], &edge.channel.link.bytes_per_second) ||
      !absl::SimpleAtod(words[3], &delay_seconds) ||
      (words.size() == 5 && !absl::SimpleAtod(words[4], &edge.channel.loss))) {
    return absl::InvalidArgumentError(absl::StrCat(
        "'", line, "' is not 'a b bytes_per_second delay_seconds [loss]', e.g. 0 1 25e6 0.01"));
  }
  if (edge.a == edge.b) return absl::InvalidArgumentError("a link from a node to itself");
  edge.channel.link.delay = absl::Seconds(delay_seconds);
  PERIGEE_RETURN_IF_ERROR(Validate(edge.channel));
  return edge;
}

absl::StatusOr<Network> FromEdges(const std::vector<Edge>& edges, absl::string_view name) {
  std::map<uint64_t, int> nodes;
  for (const Edge& edge : edges) nodes[edge.a] = nodes[edge.b] = 0;
  if (nodes.size() < 2 || nodes.size() > kNodesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": has ", nodes.size(), " nodes, must have from 2 to ", kNodesMax));
  }
  int next = 0;
  for (auto& [id, node] : nodes) node = next++;
  Network network{.node_count = next, .links = {}};
  for (const Edge& edge : edges) {
    AddBoth(nodes[edge.a], nodes[edge.b], edge.channel, &network);
  }
  return network;
}

absl::StatusOr<Network> ReadGraph(const std::string& path, const ChannelSettings& channel) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  if (!file || text.str().empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--topology: '", path, "' is none of mesh, ring, star, torusAxB, nor a graph file"));
  }
  return ParseGraph(text.str(), path, channel);
}

}  // namespace

double Network::BytesPerSecond() const {
  double sum = 0;
  for (const LinkSettings& link : links) {
    double rate = link.channel.link.bytes_per_second;
    if (!link.windows.empty()) rate = 0;
    for (const LinkWindow& window : link.windows) {
      rate = std::max(rate, window.link.bytes_per_second);
    }
    sum += rate > 0 ? rate : std::numeric_limits<double>::infinity();
  }
  return sum;
}

absl::StatusOr<Network> ParseGraph(absl::string_view text, absl::string_view name,
                                   const ChannelSettings& channel) {
  std::vector<Edge> edges;
  std::set<std::pair<uint64_t, uint64_t>> seen;
  int number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    line = absl::StripAsciiWhitespace(line.substr(0, line.find('#')));
    if (line.empty()) continue;
    absl::StatusOr<Edge> edge = ParseEdge(line, channel);
    if (edge.ok() &&
        !seen.insert({std::min(edge->a, edge->b), std::max(edge->a, edge->b)}).second) {
      edge = absl::InvalidArgumentError("a second link between these two: keep one");
    }
    if (edge.ok() && edges.size() >= kLinksMax) {
      edge = absl::InvalidArgumentError(absl::StrCat("more than ", kLinksMax, " links"));
    }
    if (!edge.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ":", number, ": ", edge.status().message()));
    }
    edges.push_back(*std::move(edge));
  }
  return FromEdges(edges, name);
}

absl::StatusOr<Network> MakeTopology(const std::string& text, int nodes,
                                     const ChannelSettings& channel) {
  if (absl::StartsWith(text, "torus")) return Torus(text, nodes, channel);
  std::set<std::pair<int, int>> pairs;
  if (text == "mesh" || text == "ring" || text == "star") {
    PERIGEE_RETURN_IF_ERROR(CheckNodes(nodes));
    for (int a = 0; a < nodes; ++a) {
      if (text == "ring") pairs.insert(Ordered(a, (a + 1) % nodes));
      if (text == "star" && a > 0) pairs.insert({0, a});
      for (int b = a + 1; text == "mesh" && b < nodes; ++b) pairs.insert({a, b});
    }
    return FromPairs(nodes, pairs, channel);
  }
  PERIGEE_ASSIGN_OR_RETURN(Network network, ReadGraph(text, channel));
  if (nodes != 0 && nodes != network.node_count) {
    return absl::InvalidArgumentError(absl::StrCat("--topology ", text, " has ", network.node_count,
                                                   " nodes, but --nodes is ", nodes));
  }
  return network;
}

int AddHub(Network* network, const ChannelSettings& channel) {
  PERIGEE_CHECK(network->hub < 0);
  const int hub = network->hub = network->node_count++;
  for (int node = 0; node < hub; ++node) AddBoth(hub, node, channel, network);
  return hub;
}

}  // namespace perigee::linkemu
