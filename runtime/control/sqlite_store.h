// The Store in one SQLite file: a write-ahead log that is synced before a transaction counts
// (WAL, synchronous=FULL), so that neither a kill nor a loss of power takes back what Append said.
//
//   PERIGEE_ASSIGN_OR_RETURN(auto store, SqliteStore::Open("/var/lib/perigee.db", 10000));
//   PERIGEE_ASSIGN_OR_RETURN(StoreSummary summary, CheckStore("/var/lib/perigee.db"));
//   PERIGEE_RETURN_IF_ERROR(BackUpStore("/var/lib/perigee.db", "/backup/perigee.db"));
//
// Errors are one line that names the file and what to do. The tables: README.md.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/control/file_lock.h"
#include "runtime/control/sqlite.h"
#include "runtime/control/store.h"

namespace perigee {

class SqliteStore final : public Store {
 public:
  // In the file's header: this is a store of ours ("PRGE"), and what its tables mean.
  static constexpr int64_t kApplicationId = 0x50524745;
  static constexpr int64_t kSchema = 2;
  // What the write-ahead log may keep on disk when nothing needs it.
  static constexpr int64_t kLogBytesMax = int64_t{4} << 20;

  // Makes the file where there is none or an empty one, and brings one of an older schema up to
  // this one. The newest `events_max` events and kViewRecordsMax views are kept. FailedPrecondition
  // for a file of something else, of a newer version, or that another process has open.
  static absl::StatusOr<std::unique_ptr<SqliteStore>> Open(const std::string& path,
                                                           size_t events_max);

  absl::StatusOr<CoordinatorSnapshot> Load() override;
  absl::Status Append(absl::Span<const CoordinatorRecord> records) override;

 private:
  SqliteStore(FileLock lock, Sqlite database, size_t events_max)
      : lock_(std::move(lock)), database_(std::move(database)), events_max_(events_max) {}

  absl::Status Insert(const CoordinatorRecord& record);
  absl::Status Prune();

  FileLock lock_;  // released after the database is closed
  Sqlite database_;
  size_t events_max_;
};

// What is in a store; reads only, and may run while a perigeed writes to it.
struct StoreSummary {
  int64_t schema = 0;
  std::string written_by;  // version of the perigeed that opened it last
  CoordinatorSnapshot snapshot;
  std::vector<std::string> problems;  // empty: it is whole
};
// FailedPrecondition for a file that is no store or of a newer version, NotFound where there is
// none. What is wrong inside is in `problems`.
absl::StatusOr<StoreSummary> CheckStore(const std::string& path);

// A copy of one instant, while a perigeed may write to `path`; checked before it counts.
// AlreadyExists when there is a file at `to`.
absl::Status BackUpStore(const std::string& path, const std::string& to);

}  // namespace perigee
