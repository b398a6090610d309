#include "runtime/hibernation.h"

#include <algorithm>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace perigee {
namespace {

size_t LitCount(const std::vector<Member>& members, const ContactPlan& plan, absl::Time at) {
  return static_cast<size_t>(
      std::count_if(members.begin(), members.end(),
                    [&](const Member& member) { return !plan.IsDark(member.node, at); }));
}

bool Holds(const std::vector<Member>& members, NodeId node) {
  return std::any_of(members.begin(), members.end(),
                     [&](const Member& member) { return member.node == node; });
}

}  // namespace

Incarnation NextLife(const Incarnation& before, Epoch epoch) {
  const uint64_t words[3] = {before.high, before.low, epoch.value()};
  const XXH128_hash_t hash = XXH3_128bits(words, sizeof(words));
  return {.high = hash.high64, .low = hash.low64};
}

std::vector<Member> NextLives(std::vector<Member> members, Epoch epoch) {
  for (Member& member : members) member.incarnation = NextLife(member.incarnation, epoch);
  return members;
}

bool HasNextLife(const View& view, NodeId node, const Incarnation& incarnation) {
  const Member* member = view.Find(node);
  return member != nullptr && member->incarnation == NextLife(incarnation, view.epoch);
}

bool HasLife(const View& view, NodeId node, const Incarnation& incarnation) {
  return view.Contains(node, incarnation) || HasNextLife(view, node, incarnation);
}

absl::Time WakesAt(const Resumption& resumption, NodeId node, const ContactPlan& plan) {
  return plan.LitFrom(node, *resumption.proposal.wakes);
}

std::optional<Darkness> NextDarkness(const std::vector<Member>& members, const ContactPlan& plan,
                                     absl::Time from, absl::Time until, size_t needed) {
  std::vector<absl::Time> begins = {from};
  std::vector<absl::Time> ends;
  for (const DarkInterval& dark : plan.dark_intervals()) {
    if (dark.ends <= from || !Holds(members, dark.node)) continue;
    ends.push_back(dark.ends);
    if (dark.begins > from && dark.begins <= until) begins.push_back(dark.begins);
  }
  std::sort(begins.begin(), begins.end());
  std::sort(ends.begin(), ends.end());
  const auto first = std::find_if(begins.begin(), begins.end(), [&](absl::Time at) {
    return LitCount(members, plan, at) < needed;
  });
  if (first == begins.end()) return std::nullopt;
  const size_t enough = std::max(needed, members.size() / 2 + 1);
  const auto last = std::find_if(ends.begin(), ends.end(), [&](absl::Time at) {
    return at > *first && LitCount(members, plan, at) >= enough;
  });
  return Darkness{*first, last != ends.end() ? *last : absl::InfiniteFuture()};
}

}  // namespace perigee
