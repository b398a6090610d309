#include "runtime/microbatch_dealer.h"

#include <algorithm>

#include "transport/base/status.h"

namespace perigee {

std::vector<MicrobatchId> Deal::Of(NodeId node) const {
  std::vector<MicrobatchId> mine;
  for (uint32_t m = 0; m < owner.size(); ++m) {
    if (owner[m] == node) mine.push_back(MicrobatchId(m));
  }
  return mine;
}

Deal DealMicrobatches(const View& view, uint32_t microbatch_count) {
  Deal deal{.epoch = view.epoch};
  deal.owner.reserve(microbatch_count);
  for (uint32_t m = 0; m < microbatch_count; ++m) {
    deal.owner.push_back(view.members[m % view.size()].node);
  }
  return deal;
}

Deal DealAgain(const Deal& deal, const View& view) {
  std::vector<uint32_t> owned(view.size(), 0);
  for (NodeId node : deal.owner) {
    if (const std::optional<Rank> rank = view.RankOf(node)) ++owned[rank->value()];
  }
  Deal next{.epoch = view.epoch, .owner = deal.owner};
  for (NodeId& node : next.owner) {
    if (view.Find(node) != nullptr) continue;
    const auto least = std::min_element(owned.begin(), owned.end());
    ++*least;
    node = view.members[static_cast<size_t>(least - owned.begin())].node;
  }
  return next;
}

void MicrobatchDealer::OnView(const Proposal& proposal) {
  const View& view = proposal.view;
  if (proposal.planned) {
    views_.push_back(view);
    deals_.erase(deals_.lower_bound(view.first_step), deals_.end());
    return;
  }
  // A step that any survivor had begun is among the aborted ops of all of them; other deals were
  // never used.
  std::map<StepId, Deal> kept;
  for (const OpDecision& decision : proposal.decisions) {
    const StepId step = decision.op.step();
    if (decision.kind != OpDecision::Kind::kAbort || ViewFor(step) == nullptr) continue;
    kept[step] = DealAgain(For(step), view);
  }
  views_.assign(1, view);
  deals_ = std::move(kept);
}

const Deal& MicrobatchDealer::For(StepId step) {
  const View* view = ViewFor(step);
  PERIGEE_CHECK(view != nullptr);
  auto [it, is_new] = deals_.try_emplace(step);
  if (is_new) it->second = DealMicrobatches(*view, microbatch_count_);
  return it->second;
}

const View* MicrobatchDealer::ViewFor(StepId step) const {
  for (auto it = views_.rbegin(); it != views_.rend(); ++it) {
    if (it->first_step <= step || it + 1 == views_.rend()) return &*it;
  }
  return nullptr;
}

void MicrobatchDealer::ForgetBefore(StepId step) {
  deals_.erase(deals_.begin(), deals_.lower_bound(step));
  while (views_.size() > 1 && views_[1].first_step <= step) views_.erase(views_.begin());
}

}  // namespace perigee
