// The tables of a store (README.md): which files are stores, how one is made, and what its rows
// mean.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/control/sqlite.h"
#include "runtime/coordinator_record.h"

namespace perigee {

enum class StoreFile { kNone, kStore };  // an empty file is none

// Looks at the file and changes nothing. FailedPrecondition for a file of something else or of a
// newer version.
absl::StatusOr<StoreFile> Identify(const std::string& path);

// All at once: after a kill there is a whole store at `path`, or what was there before.
absl::Status CreateStoreFile(const std::string& path);

// Makes a store of an older schema one of this version's, all at once; an older perigeed refuses it
// from then on.
absl::Status Upgrade(Sqlite& database);

// Every row, and DataLoss where one cannot be what was written.
absl::StatusOr<CoordinatorSnapshot> ReadSnapshot(Sqlite& database);

// The row of a view. It is kept as the message that tells members of it, so that a store has the
// same limits and the same checks as the wire.
std::string ViewBytes(const ViewRecord& view);

}  // namespace perigee
