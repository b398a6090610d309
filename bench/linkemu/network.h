// The emulated network as data: which directed links there are, and over which of them a packet
// for a node leaves. Pure.
//
//   PERIGEE_ASSIGN_OR_RETURN(Network network, MakeTopology("torus4x4", 16, settings));
//   RoutingTable routes(network);
//   int link = routes.NextLink(0, 5);   // index into network.links
//
// Neighbours always use their direct link. All others are reached over the path with the least
// delay; each hop is an emulated link with its own queue and losses. Routes do not change when a
// link goes down: that is the outage which a test wants to see.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "bench/linkemu/emulated_link.h"
#include "transport/contact_plan.h"

namespace perigee::linkemu {

inline constexpr int kNodesMax = 256;

struct Network {
  int node_count = 0;
  std::vector<LinkSettings> links;  // at most one for a directed pair
  int hub = -1;                     // the node of AddHub; carries no traffic of others

  // Sum of all directed links; infinite when one is unlimited. Contacts count at their fastest.
  double BytesPerSecond() const;
};

// `text` is mesh, ring, star (node 0 in the middle), torusAxB, or the path of a graph file. Every
// link is like `channel`, but for what the file says. `nodes` 0: as many as a torus or file has.
// InvalidArgument names what does not fit.
absl::StatusOr<Network> MakeTopology(const std::string& text, int nodes,
                                     const ChannelSettings& channel);

// Lines "a b bytes_per_second delay_seconds [loss]", undirected; # begins a comment. Ids are
// numbered in their order as nodes 0, 1, ... `name` stands for the file in errors.
absl::StatusOr<Network> ParseGraph(absl::string_view text, absl::string_view name,
                                   const ChannelSettings& channel);

// Where plan time lies in the emulator's time: `plan_start` is at `start`, and the plan then runs
// `scale` times as fast. Windows shrink; rates and delays stay what they are.
struct PlanClock {
  absl::Time plan_start;
  absl::Time start;
  double scale = 1;

  absl::Time ToLocal(absl::Time plan_time) const;
};

// Links with windows from the plan's contacts, less the dark times of both ends. The plan's nodes
// are numbered in the order of their ids.
absl::StatusOr<Network> NetworkFromPlan(const ContactPlan& plan, const std::vector<NodeId>& ids,
                                        const PlanClock& clock, const ChannelSettings& channel);

// Adds one node, once, with a link from and to every other one, and returns its index.
int AddHub(Network* network, const ChannelSettings& channel);

class RoutingTable {
 public:
  static constexpr int kNoLink = -1;

  explicit RoutingTable(const Network& network);
  // The link on which a packet at `at` for `to` leaves, or kNoLink.
  int NextLink(int at, int to) const { return next_[static_cast<size_t>(at) * node_count_ + to]; }

 private:
  size_t node_count_;
  std::vector<int> next_;
};

}  // namespace perigee::linkemu
