#include "runtime/control/authorization.h"

#include <gtest/gtest.h>

#include <string>

namespace perigee {
namespace {

// The table again, as an operator would write it down: who may, and the refusal of everybody else.
struct Row {
  Rpc rpc;
  const char* name;
  bool coordinator, member, operator_, observer;
};
constexpr Row kTable[] = {
    {Rpc::kAttach, "Attach", false, true, false, false},
    {Rpc::kStatus, "Status", false, false, true, true},
    {Rpc::kNodes, "Nodes", false, false, true, true},
    {Rpc::kViews, "Views", false, false, true, true},
    {Rpc::kOps, "Ops", false, false, true, true},
    {Rpc::kEvents, "Events", false, false, true, true},
    {Rpc::kSituation, "Situation", false, false, true, true},
    {Rpc::kPlan, "Plan", false, false, true, true},
    {Rpc::kDrain, "Drain", false, false, true, false},
    {Rpc::kUndrain, "Undrain", false, false, true, false},
    {Rpc::kEvict, "Evict", false, false, true, false},
};

TEST(Authorization, EveryRoleMayDoWhatTheTableSaysAndNothingElse) {
  for (const Row& row : kTable) {
    SCOPED_TRACE(row.name);
    EXPECT_STREQ(Name(row.rpc), row.name);
    EXPECT_EQ(Authorize(row.rpc, Role::kCoordinator).ok(), row.coordinator);
    EXPECT_EQ(Authorize(row.rpc, Role::kMember).ok(), row.member);
    EXPECT_EQ(Authorize(row.rpc, Role::kOperator).ok(), row.operator_);
    EXPECT_EQ(Authorize(row.rpc, Role::kObserver).ok(), row.observer);
    EXPECT_FALSE(Authorize(row.rpc, std::nullopt).ok());
  }
}

TEST(Authorization, ARefusalNamesTheRoleThatIsHeldAndTheOnesThatAreNeeded) {
  const absl::Status drain = Authorize(Rpc::kDrain, Role::kObserver);
  EXPECT_EQ(drain.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(drain.message(),
            "Drain needs the role operator; this certificate has the role observer");
  EXPECT_EQ(Authorize(Rpc::kStatus, std::nullopt).message(),
            "Status needs the role observer or operator; this certificate has no role");
}

TEST(Authorization, RolesAreKnownByTheirNames) {
  for (Role role : kRoles) EXPECT_EQ(RoleNamed(Name(role)), role);
  EXPECT_EQ(RoleNamed("root"), std::nullopt);
  EXPECT_EQ(RoleNamed(""), std::nullopt);
}

}  // namespace
}  // namespace perigee
