// Who computes which microbatch of which step: a pure function of the views and decisions that all
// members share, so that nobody has to be told.
//
//   dealer.OnView(proposal);                  // every installed view, in order
//   const Deal& deal = dealer.For(step);      // deal.owner[m] == me: mine
//
// A step that was begun keeps its deal when a member is lost, but for the lost one's microbatches:
// what the others computed stays useful. A planned change deals its steps anew.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "runtime/control_message.h"
#include "transport/base/ids.h"
#include "transport/view.h"

namespace perigee {

struct Deal {
  Epoch epoch;                // of the view that it was made for
  std::vector<NodeId> owner;  // by microbatch

  std::vector<MicrobatchId> Of(NodeId node) const;
};

// Microbatch m goes to rank m mod N.
Deal DealMicrobatches(const View& view, uint32_t microbatch_count);
// Those of nodes that are not in `view` go, in order, to the members that own the fewest (the
// lowest rank first).
Deal DealAgain(const Deal& deal, const View& view);

class MicrobatchDealer {
 public:
  explicit MicrobatchDealer(uint32_t microbatch_count) : microbatch_count_(microbatch_count) {}

  void OnView(const Proposal& proposal);
  // There must be a view that holds at `step`. Valid until the next call of a non-const function.
  const Deal& For(StepId step);
  // The view that holds at `step`, or null.
  const View* ViewFor(StepId step) const;
  // Steps before this one are over.
  void ForgetBefore(StepId step);

 private:
  uint32_t microbatch_count_;
  std::vector<View> views_;  // by epoch; the first also holds for earlier steps
  std::map<StepId, Deal> deals_;
};

}  // namespace perigee
