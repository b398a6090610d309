// StepCommit: whether all members have the same state before they build on it, and who differs
// (membership.md, "Steps"). Every microbatch comes with the digest of the state that its gradient
// was computed from, as one word of the sum that the gradients travel in; so the commit of a state
// is there with the first sum that rests on it, and before anybody applies that sum.
//
//   StepVerdict verdict = JudgeStates(view, deal, words);   // equal input, equal verdict
//   everywhere if (verdict.kind == StepVerdict::Kind::kEqual) ...      // the sum may be applied
//
// A pure function of what all members share; what follows from the verdict is the trainer's
// (runtime/host/trainer_step.cc).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "runtime/microbatch_dealer.h"
#include "transport/base/ids.h"
#include "transport/view.h"

namespace perigee {

struct StepVerdict {
  enum class Kind : uint8_t {
    kEqual,
    kMajority,    // members with more than half of the votes of those that reported agree
    kNoMajority,  // nobody can tell who is right
  };
  Kind kind = Kind::kEqual;
  uint64_t digest = 0;          // of all, or of the majority
  std::vector<NodeId> differs;  // kMajority: those with another state, by node
  // Who has what: "nodes 0,2: 8c2171e5b1a90b1f; node 1: 03f28e5d60a4cc17".
  std::string text;
};

// `words` are the digests by microbatch, as they came with the sum; `deal` says whose each is, and
// was made for `view`. A member whose own microbatches disagree is wrong whatever they say, and
// gives its votes to no digest; newcomers without a vote yet have fetched their state and testify
// to nothing, but are judged. Members without a microbatch do not appear: each compares for itself.
StepVerdict JudgeStates(const View& view, const Deal& deal, absl::Span<const uint64_t> words);

}  // namespace perigee
