// The membership at one epoch, as immutable data. A View is decided once (runtime/membership.h) and
// is the same on all members; ranks are the positions of its members, which are sorted by NodeId.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "transport/base/ids.h"

namespace perigee {

struct Member {
  NodeId node;
  Incarnation incarnation;
  // 0 for relays, observers, and joiners that are not yet active; not a gradient weight.
  uint32_t votes = 1;
  // Where its Perigee socket listens, "host:port". Empty in simulations.
  std::string address;

  friend bool operator==(const Member&, const Member&) = default;
};

// Totally ordered; a proposer makes a new one by raising `round`.
struct Ballot {
  uint64_t round = 0;
  NodeId proposer;
  Incarnation incarnation;

  friend constexpr auto operator<=>(const Ballot&, const Ballot&) = default;
};

struct View {
  JobId job;
  Epoch epoch;
  Ballot ballot;
  // Digest of the view before, so that two histories cannot be confused (0 for view 1).
  uint64_t previous_digest = 0;
  // Sorted by NodeId, each at most once.
  std::vector<Member> members;
  // With an even vote, the side that holds this node goes on.
  NodeId tie_breaker;
  // The first step that runs in this view. Ops of earlier steps finish in their own epoch.
  StepId first_step;

  size_t size() const { return members.size(); }
  const Member& member(Rank rank) const { return members[rank.value()]; }
  const Member* Find(NodeId node) const {
    auto it = std::lower_bound(members.begin(), members.end(), node,
                               [](const Member& m, NodeId n) { return m.node < n; });
    return it != members.end() && it->node == node ? &*it : nullptr;
  }
  bool Contains(NodeId node, const Incarnation& incarnation) const {
    const Member* member = Find(node);
    return member != nullptr && member->incarnation == incarnation;
  }
  std::optional<Rank> RankOf(NodeId node) const {
    const Member* member = Find(node);
    if (member == nullptr) return std::nullopt;
    return Rank(static_cast<uint32_t>(member - members.data()));
  }
  uint64_t VotesTotal() const {
    uint64_t total = 0;
    for (const Member& member : members) total += member.votes;
    return total;
  }

  friend bool operator==(const View&, const View&) = default;
};

// Order-dependent digest over every field of the view: equal views, equal digests, on every
// machine.
uint64_t Digest(const View& view);

// "view 4 {0,1,3} from step 17".
inline std::string ToString(const View& view) {
  return absl::StrCat("view ", view.epoch.value(), " {",
                      absl::StrJoin(view.members, ",",
                                    [](std::string* out, const Member& member) {
                                      absl::StrAppend(out, member.node.value());
                                    }),
                      "} from step ", view.first_step.value());
}

}  // namespace perigee
