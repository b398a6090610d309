#include "examples/train/known_views.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace perigee {
namespace {

ViewRecord Record(uint64_t epoch, std::vector<uint32_t> nodes) {
  ViewRecord record;
  record.proposal.reason = "node 2 joins";
  record.proposal.view.epoch = Epoch(epoch);
  record.proposal.view.first_step = StepId(17);
  for (uint32_t node : nodes) record.proposal.view.members.push_back({.node = NodeId(node)});
  return record;
}

std::string DigestOf(const ViewRecord& record) {
  return absl::StrCat(absl::Hex(Digest(record.proposal.view), absl::kZeroPad16));
}

TEST(KnownViews, EqualEverywhereIsFine) {
  const ViewRecord four = Record(4, {0, 1, 2}), five = Record(5, {0, 1});
  KnownViews views;
  views.OnNotice("view 4 {0,1,2} from step 17: node 2 joins");
  views.OnNotice("view 4 {0,1,2} from step 17: node 2 joins");
  views.OnStep(4, DigestOf(four));
  views.OnStored({four, five});
  EXPECT_EQ(views.contradictions(), std::vector<std::string>{});
  EXPECT_EQ(views.count(), 2u);
  EXPECT_EQ(views.stored_count(), 1u);
}

TEST(KnownViews, TwoMembersWithDifferentViewsAreFound) {
  KnownViews views;
  views.OnNotice("view 4 {0,1,2} from step 17: node 2 joins");
  views.OnNotice("view 4 {0,1} from step 17: node 2 joins");
  EXPECT_EQ(views.contradictions().size(), 1u);
}

TEST(KnownViews, AnotherViewInTheStoreIsFound) {
  KnownViews views;
  views.OnNotice("view 4 {0,1,2} from step 17: node 2 joins");
  views.OnStored({Record(4, {0, 1})});
  EXPECT_EQ(views.contradictions().size(), 1u);
}

// The same text, and yet another view.
TEST(KnownViews, AnotherIncarnationIsFound) {
  ViewRecord record = Record(4, {0, 1, 2});
  KnownViews views;
  views.OnNotice("view 4 {0,1,2} from step 17: node 2 joins");
  views.OnStep(4, DigestOf(record));
  record.proposal.view.members[2].incarnation = {1, 2};
  views.OnStored({record});
  EXPECT_EQ(views.contradictions().size(), 1u);
}

}  // namespace
}  // namespace perigee
