#include "runtime/control/authorization.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

struct Rule {
  Rpc rpc;
  const char* name;
  std::vector<Role> allowed;
};

const std::vector<Rule>& Rules() {
  static const auto* const rules = new std::vector<Rule>{
      {Rpc::kAttach, "Attach", {Role::kMember}},
      {Rpc::kStatus, "Status", {Role::kObserver, Role::kOperator}},
      {Rpc::kNodes, "Nodes", {Role::kObserver, Role::kOperator}},
      {Rpc::kViews, "Views", {Role::kObserver, Role::kOperator}},
      {Rpc::kOps, "Ops", {Role::kObserver, Role::kOperator}},
      {Rpc::kEvents, "Events", {Role::kObserver, Role::kOperator}},
      {Rpc::kSituation, "Situation", {Role::kObserver, Role::kOperator}},
      {Rpc::kPlan, "Plan", {Role::kObserver, Role::kOperator}},
      {Rpc::kDrain, "Drain", {Role::kOperator}},
      {Rpc::kUndrain, "Undrain", {Role::kOperator}},
      {Rpc::kEvict, "Evict", {Role::kOperator}},
  };
  return *rules;
}

const Rule& RuleOf(Rpc rpc) {
  const std::vector<Rule>& rules = Rules();
  auto rule = std::find_if(rules.begin(), rules.end(), [=](const Rule& r) { return r.rpc == rpc; });
  PERIGEE_CHECK(rule != rules.end());
  return *rule;
}

}  // namespace

const char* Name(Role role) {
  switch (role) {
    case Role::kCoordinator:
      return "coordinator";
    case Role::kMember:
      return "member";
    case Role::kOperator:
      return "operator";
    case Role::kObserver:
      return "observer";
  }
  return "";
}

const char* Name(Rpc rpc) { return RuleOf(rpc).name; }

std::optional<Role> RoleNamed(absl::string_view name) {
  for (Role role : kRoles) {
    if (name == Name(role)) return role;
  }
  return std::nullopt;
}

absl::Status Authorize(Rpc rpc, std::optional<Role> held) {
  const Rule& rule = RuleOf(rpc);
  if (held && std::find(rule.allowed.begin(), rule.allowed.end(), *held) != rule.allowed.end()) {
    return absl::OkStatus();
  }
  const std::string needed = absl::StrJoin(
      rule.allowed, " or ", [](std::string* out, Role role) { out->append(Name(role)); });
  return absl::PermissionDeniedError(
      absl::StrCat(rule.name, " needs the role ", needed, "; this certificate has ",
                   held ? absl::StrCat("the role ", Name(*held)) : "no role"));
}

}  // namespace perigee
