// Who may call what: one table, no state.
//
//   Authorize(Rpc::kDrain, Role::kObserver)  // PermissionDenied: "Drain needs the role operator;
//   ..."
#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace perigee {

// What a certificate says that its holder is. Each has one.
enum class Role : uint8_t { kCoordinator, kMember, kOperator, kObserver };
inline constexpr Role kRoles[] = {Role::kCoordinator, Role::kMember, Role::kOperator,
                                  Role::kObserver};

// Every RPC of proto/control.proto.
enum class Rpc : uint8_t {
  kAttach,
  kStatus,
  kNodes,
  kViews,
  kOps,
  kEvents,
  kSituation,
  kPlan,
  kDrain,
  kUndrain,
  kEvict,
};

const char* Name(Role role);  // "operator"
const char* Name(Rpc rpc);    // "Drain"
// The role of that name; nothing for other names.
std::optional<Role> RoleNamed(absl::string_view name);

// PermissionDenied, naming the role that is held and those that are needed.
absl::Status Authorize(Rpc rpc, std::optional<Role> held);

}  // namespace perigee
