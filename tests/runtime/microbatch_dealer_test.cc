#include "runtime/microbatch_dealer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "transport/base/rng.h"

namespace perigee {
namespace {

using ::testing::ElementsAre;

View MakeView(uint64_t epoch, const std::vector<uint32_t>& nodes, uint64_t first_step) {
  View view{.epoch = Epoch(epoch), .first_step = StepId(first_step)};
  for (uint32_t node : nodes) view.members.push_back({.node = NodeId(node)});
  return view;
}

Proposal Planned(const View& view) { return {.view = view, .planned = true}; }

Proposal Unplanned(const View& view, const std::vector<OpId>& aborted) {
  Proposal proposal{.view = view, .planned = false};
  for (OpId op : aborted) proposal.decisions.push_back({.op = op});
  return proposal;
}

std::vector<uint32_t> Values(const std::vector<NodeId>& nodes) {
  std::vector<uint32_t> values;
  for (NodeId node : nodes) values.push_back(node.value());
  return values;
}

TEST(MicrobatchDealer, TheLostOnesMicrobatchesGoToTheOthersAndNothingElseMoves) {
  MicrobatchDealer dealer(6);
  dealer.OnView(Planned(MakeView(1, {0, 1, 2}, 0)));
  EXPECT_THAT(Values(dealer.For(StepId(7)).owner), ElementsAre(0, 1, 2, 0, 1, 2));

  dealer.OnView(Unplanned(MakeView(2, {0, 2}, 7), {OpId::Of(StepId(7), 1)}));
  EXPECT_THAT(Values(dealer.For(StepId(7)).owner), ElementsAre(0, 0, 2, 0, 2, 2));
  EXPECT_EQ(dealer.For(StepId(7)).epoch, Epoch(2));
  EXPECT_THAT(Values(dealer.For(StepId(8)).owner), ElementsAre(0, 2, 0, 2, 0, 2));
}

TEST(MicrobatchDealer, AMemberThatHadNotBegunTheStepComesToTheSameDeal) {
  MicrobatchDealer fast(8);
  MicrobatchDealer slow(8);
  for (MicrobatchDealer* dealer : {&fast, &slow}) {
    dealer->OnView(Planned(MakeView(1, {0, 1, 2, 3}, 0)));
  }
  (void)fast.For(StepId(5));  // only the fast one has begun step 5
  for (MicrobatchDealer* dealer : {&fast, &slow}) {
    dealer->OnView(Unplanned(MakeView(2, {0, 1, 3}, 5), {OpId::Of(StepId(5), 1)}));
  }
  EXPECT_EQ(fast.For(StepId(5)).owner, slow.For(StepId(5)).owner);
}

TEST(MicrobatchDealer, APlannedViewDealsItsStepsAnewAndLeavesEarlierOnes) {
  MicrobatchDealer dealer(4);
  dealer.OnView(Planned(MakeView(1, {0, 1}, 0)));
  (void)dealer.For(StepId(9));
  (void)dealer.For(StepId(10));
  dealer.OnView(Planned(MakeView(2, {0, 1, 2, 3}, 10)));
  EXPECT_EQ(dealer.For(StepId(9)).epoch, Epoch(1));
  EXPECT_THAT(Values(dealer.For(StepId(10)).owner), ElementsAre(0, 1, 2, 3));
}

// Whoever is lost, and in whatever order: every microbatch has exactly one owner, who is there, and
// nobody who stays gets rid of a microbatch that it may have computed.
TEST(MicrobatchDealer, DealAgainKeepsWhatIsComputedAndStaysBalanced) {
  for (uint64_t seed = 1; seed <= 500; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Rng rng(seed);
    std::vector<uint32_t> nodes;
    const auto count = static_cast<uint32_t>(rng.Between(2, 9));
    for (uint32_t i = 0; i < count; ++i) nodes.push_back(i * 3);
    const auto microbatches = static_cast<uint32_t>(rng.Between(1, 64));
    Deal deal = DealMicrobatches(MakeView(1, nodes, 0), microbatches);
    for (uint64_t epoch = 2; nodes.size() > 1; ++epoch) {
      nodes.erase(nodes.begin() + static_cast<ptrdiff_t>(rng.Below(nodes.size())));
      const View view = MakeView(epoch, nodes, 0);
      const Deal next = DealAgain(deal, view);
      ASSERT_EQ(next.owner.size(), microbatches);
      for (uint32_t m = 0; m < microbatches; ++m) {
        ASSERT_NE(view.Find(next.owner[m]), nullptr);
        if (view.Find(deal.owner[m]) != nullptr) {
          ASSERT_EQ(next.owner[m], deal.owner[m]);
        }
      }
      size_t least = microbatches, most = 0;
      for (const Member& member : view.members) {
        const size_t owned = next.Of(member.node).size();
        least = std::min(least, owned);
        most = std::max(most, owned);
      }
      EXPECT_LE(most - least, 1u);
      deal = next;
    }
  }
}

}  // namespace
}  // namespace perigee
