// Where a coordinator's records lie so that the next start finds them. The write-ahead rule of
// coordinator_loop.h stands on it: what Append has returned OK for survives a kill at any instant.
//
//   PERIGEE_ASSIGN_OR_RETURN(CoordinatorSnapshot snapshot, store.Load());
//   coordinator.Restore(now, snapshot);
//   PERIGEE_RETURN_IF_ERROR(store.Append(records));  // then, and only then, send
//
// Not thread-safe.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/coordinator_record.h"

namespace perigee {

class Store {
 public:
  virtual ~Store() = default;

  // All that was appended so far, less what is too old to be kept. DataLoss when it contradicts
  // itself.
  virtual absl::StatusOr<CoordinatorSnapshot> Load() = 0;
  // All of them or none, on disk when it returns OK. After an error nobody knows which: nothing
  // more may be appended, and the next start finds out.
  virtual absl::Status Append(absl::Span<const CoordinatorRecord> records) = 0;
};

}  // namespace perigee
