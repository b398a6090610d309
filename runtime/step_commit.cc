#include "runtime/step_commit.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

std::string Describe(const std::map<NodeId, std::set<uint64_t>>& digests_of) {
  std::map<uint64_t, std::vector<uint64_t>> nodes_with;
  for (const auto& [node, digests] : digests_of) {
    for (uint64_t digest : digests) nodes_with[digest].push_back(node.value());
  }
  std::vector<std::pair<std::vector<uint64_t>, uint64_t>> groups;
  for (auto& [digest, nodes] : nodes_with) groups.emplace_back(std::move(nodes), digest);
  std::sort(groups.begin(), groups.end());
  return absl::StrJoin(groups, "; ", [](std::string* out, const auto& group) {
    absl::StrAppend(out, group.first.size() == 1 ? "node " : "nodes ",
                    absl::StrJoin(group.first, ","), ": ",
                    absl::Hex(group.second, absl::kZeroPad16));
  });
}

}  // namespace

StepVerdict JudgeStates(const View& view, const Deal& deal, absl::Span<const uint64_t> words) {
  PERIGEE_CHECK(deal.owner.size() == words.size() && !words.empty());
  std::map<NodeId, std::set<uint64_t>> digests_of;
  for (size_t m = 0; m < words.size(); ++m) digests_of[deal.owner[m]].insert(words[m]);
  StepVerdict verdict{.digest = words[0], .text = Describe(digests_of)};
  if (std::all_of(words.begin(), words.end(), [&](uint64_t word) { return word == words[0]; })) {
    return verdict;
  }
  uint64_t votes_total = 0;
  std::map<uint64_t, uint64_t> votes_for;
  for (const auto& [node, digests] : digests_of) {
    const Member* member = view.Find(node);
    PERIGEE_CHECK(member != nullptr);
    votes_total += member->votes;
    if (digests.size() == 1) votes_for[*digests.begin()] += member->votes;
  }
  verdict.kind = StepVerdict::Kind::kNoMajority;
  for (const auto& [digest, votes] : votes_for) {
    if (2 * votes <= votes_total) continue;
    verdict.kind = StepVerdict::Kind::kMajority;
    verdict.digest = digest;
  }
  if (verdict.kind == StepVerdict::Kind::kNoMajority) return verdict;
  for (const auto& [node, digests] : digests_of) {
    if (digests != std::set<uint64_t>{verdict.digest}) verdict.differs.push_back(node);
  }
  return verdict;
}

}  // namespace perigee
