#include "runtime/control/sqlite_store.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "runtime/control/sqlite_schema.h"
#include "runtime/version.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

// The file itself, whatever links lead to it: the lock lies beside it.
std::string Resolve(const std::string& path) {
  std::error_code error;
  const std::filesystem::path resolved = std::filesystem::weakly_canonical(path, error);
  return error ? path : resolved.string();
}

absl::Status CannotOpen(const absl::Status& status) {
  if (absl::IsFailedPrecondition(status)) return status;
  return absl::Status(status.code(),
                      absl::StrCat("cannot open the store: ", status.message(),
                                   ": its folder must exist, be local and be writable"));
}

absl::StatusOr<FileLock> Lock(const std::string& path) {
  absl::StatusOr<FileLock> lock = FileLock::Take(absl::StrCat(path, ".lock"));
  if (lock.ok() || !absl::IsFailedPrecondition(lock.status())) return lock;
  return absl::FailedPreconditionError(absl::StrCat("the store ", path, " is ",
                                                    lock.status().message(),
                                                    ": stop that perigeed or choose another "
                                                    "--store"));
}

absl::StatusOr<Sqlite> OpenForWriting(const std::string& path) {
  PERIGEE_ASSIGN_OR_RETURN(const StoreFile file, Identify(path));
  if (file == StoreFile::kNone) PERIGEE_RETURN_IF_ERROR(CreateStoreFile(path));
  PERIGEE_ASSIGN_OR_RETURN(Sqlite database, Sqlite::Open(path, SQLITE_OPEN_READWRITE));
  PERIGEE_ASSIGN_OR_RETURN(const std::string mode, database.Text("PRAGMA journal_mode = WAL"));
  if (mode != "wal") {
    return absl::UnavailableError(absl::StrCat(path, ": no write-ahead log is possible there"));
  }
  PERIGEE_RETURN_IF_ERROR(database.Execute(absl::StrCat(
      "PRAGMA synchronous = FULL; PRAGMA journal_size_limit = ", SqliteStore::kLogBytesMax,
      "; INSERT OR REPLACE INTO meta VALUES ('written_by', '", kVersion, "');")));
  PERIGEE_RETURN_IF_ERROR(Upgrade(database));
  return database;
}

}  // namespace

absl::StatusOr<std::unique_ptr<SqliteStore>> SqliteStore::Open(const std::string& path,
                                                               size_t events_max) {
  const std::string resolved = Resolve(path);
  absl::StatusOr<FileLock> lock = Lock(resolved);
  if (!lock.ok()) return CannotOpen(lock.status());
  absl::StatusOr<Sqlite> database = OpenForWriting(resolved);
  if (!database.ok()) return CannotOpen(database.status());
  return std::unique_ptr<SqliteStore>(
      new SqliteStore(*std::move(lock), *std::move(database), std::max<size_t>(1, events_max)));
}

absl::StatusOr<CoordinatorSnapshot> SqliteStore::Load() {
  absl::StatusOr<CoordinatorSnapshot> snapshot = ReadSnapshot(database_);
  if (snapshot.ok()) return snapshot;
  return absl::Status(
      snapshot.status().code(),
      absl::StrCat("the store cannot be used: ", snapshot.status().message(),
                   ": put a backup in its place, or start with a new --store; the view is then "
                   "learned from the members"));
}

absl::Status SqliteStore::Append(absl::Span<const CoordinatorRecord> records) {
  absl::Status status = database_.Execute("BEGIN IMMEDIATE");
  for (const CoordinatorRecord& record : records) {
    if (status.ok()) status = Insert(record);
  }
  if (status.ok()) status = Prune();
  if (status.ok()) status = database_.Execute("COMMIT");
  if (status.ok()) return status;
  // Fails where SQLite has done it by itself.
  database_.Execute("ROLLBACK").IgnoreError();
  return absl::Status(status.code(), absl::StrCat("cannot write the store ", status.message()));
}

absl::Status SqliteStore::Insert(const CoordinatorRecord& record) {
  if (const auto* event = std::get_if<CoordinatorEvent>(&record)) {
    PERIGEE_ASSIGN_OR_RETURN(SqliteStatement row,
                             database_.Prepare("INSERT INTO event VALUES (?, ?, ?, ?, ?)"));
    row.Bind(1, static_cast<int64_t>(event->number)).Bind(2, absl::ToUnixNanos(event->time));
    row.BindText(3, event->kind).BindText(5, event->text);
    if (event->node) row.Bind(4, event->node->value());
    return row.Run();
  }
  if (const auto* view = std::get_if<ViewRecord>(&record)) {
    PERIGEE_ASSIGN_OR_RETURN(SqliteStatement row,
                             database_.Prepare("INSERT INTO view VALUES (?, ?, ?, ?, ?)"));
    row.Bind(1, static_cast<int64_t>(view->proposal.view.epoch.value()));
    row.Bind(2, absl::ToUnixNanos(view->decided)).Bind(3, absl::ToInt64Nanoseconds(view->took));
    row.Bind(4, static_cast<int64_t>(Digest(view->proposal.view)));
    return row.BindBlob(5, ViewBytes(*view)).Run();
  }
  if (const auto* drain = std::get_if<DrainRecord>(&record)) {
    PERIGEE_ASSIGN_OR_RETURN(
        SqliteStatement row,
        database_.Prepare(drain->at ? "INSERT OR REPLACE INTO drain (node, at_ns) VALUES (?, ?)"
                                    : "DELETE FROM drain WHERE node = ?"));
    row.Bind(1, drain->node.value());
    if (drain->at) row.Bind(2, absl::ToUnixNanos(*drain->at));
    return row.Run();
  }
  const auto& evict = std::get<EvictRecord>(record);
  PERIGEE_ASSIGN_OR_RETURN(
      SqliteStatement row,
      database_.Prepare(evict.eviction ? "INSERT OR REPLACE INTO evict VALUES (?, ?, ?, ?, ?)"
                                       : "DELETE FROM evict WHERE node = ?"));
  row.Bind(1, evict.node.value());
  if (evict.eviction) {
    const Incarnation& incarnation = evict.eviction->incarnation;
    row.Bind(2, static_cast<int64_t>(incarnation.high));
    row.Bind(3, static_cast<int64_t>(incarnation.low)).Bind(4, evict.eviction->counted_out);
    row.BindText(5, evict.eviction->reason);
  }
  return row.Run();
}

absl::Status SqliteStore::Prune() {
  PERIGEE_ASSIGN_OR_RETURN(
      SqliteStatement events,
      database_.Prepare("DELETE FROM event WHERE number <= (SELECT MAX(number) FROM event) - ?"));
  PERIGEE_RETURN_IF_ERROR(events.Bind(1, static_cast<int64_t>(events_max_)).Run());
  PERIGEE_ASSIGN_OR_RETURN(
      SqliteStatement views,
      database_.Prepare("DELETE FROM view WHERE epoch <= (SELECT epoch FROM view "
                        "ORDER BY epoch DESC LIMIT 1 OFFSET ?)"));
  return views.Bind(1, static_cast<int64_t>(kViewRecordsMax)).Run();
}

absl::StatusOr<StoreSummary> CheckStore(const std::string& path) {
  PERIGEE_ASSIGN_OR_RETURN(const StoreFile file, Identify(path));
  if (file == StoreFile::kNone) {
    return absl::NotFoundError(absl::StrCat(path, ": there is no store"));
  }
  PERIGEE_ASSIGN_OR_RETURN(Sqlite database, Sqlite::Open(path, SQLITE_OPEN_READONLY));
  // One transaction: all of it is of one instant.
  PERIGEE_RETURN_IF_ERROR(database.Execute("BEGIN"));
  StoreSummary summary;
  PERIGEE_ASSIGN_OR_RETURN(summary.schema, database.Int("PRAGMA user_version"));
  const absl::StatusOr<std::string> integrity = database.Text("PRAGMA integrity_check(1)");
  if (!integrity.ok()) {
    summary.problems.push_back(std::string(integrity.status().message()));
  } else if (*integrity != "ok") {
    summary.problems.push_back(*integrity);
  }
  const auto writer = database.Text("SELECT value FROM meta WHERE key = 'written_by'");
  if (writer.ok()) summary.written_by = *writer;
  absl::StatusOr<CoordinatorSnapshot> snapshot = ReadSnapshot(database);
  if (snapshot.ok()) {
    summary.snapshot = *std::move(snapshot);
  } else {
    summary.problems.push_back(std::string(snapshot.status().message()));
  }
  return summary;
}

absl::Status BackUpStore(const std::string& path, const std::string& to) {
  PERIGEE_ASSIGN_OR_RETURN(const StoreFile file, Identify(path));
  if (file == StoreFile::kNone) {
    return absl::NotFoundError(absl::StrCat(path, ": there is no store"));
  }
  const int fd = open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0 && errno == EEXIST) {
    return absl::AlreadyExistsError(absl::StrCat(to, " is there already: choose another --to"));
  }
  if (fd < 0) return absl::UnavailableError(absl::StrCat(to, ": ", std::strerror(errno)));
  close(fd);
  const auto copy = [&]() -> absl::Status {
    PERIGEE_ASSIGN_OR_RETURN(Sqlite from, Sqlite::Open(path, SQLITE_OPEN_READONLY));
    PERIGEE_ASSIGN_OR_RETURN(Sqlite into, Sqlite::Open(to, SQLITE_OPEN_READWRITE));
    PERIGEE_RETURN_IF_ERROR(from.BackUpTo(into));
    // One file, without a log beside it.
    return into.Execute("PRAGMA journal_mode = DELETE");
  };
  absl::Status status = copy();
  if (status.ok()) {
    const absl::StatusOr<StoreSummary> summary = CheckStore(to);
    status = summary.status();
    if (status.ok() && !summary->problems.empty()) {
      status = absl::DataLossError(absl::StrCat(path, ": ", summary->problems.front()));
    }
  }
  if (!status.ok()) std::remove(to.c_str());
  return status;
}

}  // namespace perigee
