#include "runtime/control/sqlite_schema.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/control.pb.h"
#include "runtime/control/convert.h"
#include "runtime/control/sqlite_store.h"
#include "runtime/version.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

// A change here is a new SqliteStore::kSchema and a step of Upgrade. `meta` stays what it is in all
// versions: an older perigeed reads from it who wrote the file.
constexpr const char* kTables = R"(
  CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE event (number INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL, kind TEXT NOT NULL,
                      node INTEGER, text TEXT NOT NULL);
  CREATE TABLE view (epoch INTEGER PRIMARY KEY, decided_ns INTEGER NOT NULL,
                     took_ns INTEGER NOT NULL, digest INTEGER NOT NULL, install BLOB NOT NULL);
  CREATE TABLE drain (node INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL);
)";
// Since schema 2.
constexpr int64_t kSchemaWithEvictions = 2;
constexpr const char* kEvictTable = R"(
  CREATE TABLE evict (node INTEGER PRIMARY KEY, incarnation_high INTEGER NOT NULL,
                      incarnation_low INTEGER NOT NULL, counted_out INTEGER NOT NULL,
                      reason TEXT NOT NULL);
)";

absl::Status Foreign(const std::string& path, absl::string_view what) {
  return absl::FailedPreconditionError(
      absl::StrCat(path, " is ", what, ", not a store of perigeed: choose another --store"));
}

absl::Status Newer(Sqlite& database, const std::string& path, int64_t schema) {
  const auto writer = database.Text("SELECT value FROM meta WHERE key = 'written_by'");
  return absl::FailedPreconditionError(
      absl::StrCat(path, " has schema ", schema, ", written by perigee ",
                   writer.ok() ? *writer : "of a newer version", "; this is perigee ", kVersion,
                   ", which knows schema ", SqliteStore::kSchema,
                   ": start the newer version, or choose another --store"));
}

// A rename is on disk when its folder is.
absl::Status SyncFolderOf(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  const int fd = open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = fd >= 0 && fsync(fd) == 0;
  const int error = errno;
  if (fd >= 0) close(fd);
  if (synced) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat(folder, ": ", std::strerror(error)));
}

// What SQLite may have left beside a file that is gone. It would play an old log into a new file.
void RemoveLogsOf(const std::string& path) {
  for (const char* suffix : {"-journal", "-wal", "-shm"}) {
    std::remove(absl::StrCat(path, suffix).c_str());
  }
}

absl::Status MakeTables(const std::string& path) {
  PERIGEE_ASSIGN_OR_RETURN(Sqlite database,
                           Sqlite::Open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
  PERIGEE_RETURN_IF_ERROR(database.Execute(absl::StrCat(
      "PRAGMA synchronous = FULL; BEGIN; ", kTables, kEvictTable,
      "INSERT INTO meta VALUES ('written_by', '", kVersion, "');", "PRAGMA application_id = ",
      SqliteStore::kApplicationId, "; PRAGMA user_version = ", SqliteStore::kSchema, "; COMMIT;")));
  return database.Execute("PRAGMA journal_mode = WAL");
}

absl::StatusOr<ViewRecord> ReadView(const SqliteStatement& row) {
  const std::string name = absl::StrCat("view ", row.Int(0));
  proto::CoordinatorMessage message;
  if (!message.ParseFromString(row.Bytes(4))) {
    return absl::DataLossError(absl::StrCat(name, ": its bytes are no message"));
  }
  const absl::StatusOr<CoordinatorMessage> parsed = FromProto(message);
  if (!parsed.ok() || !std::holds_alternative<Install>(*parsed)) {
    return absl::DataLossError(
        absl::StrCat(name, ": ", parsed.ok() ? "no view" : parsed.status().message()));
  }
  ViewRecord view{.proposal = std::get<Install>(*parsed).proposal,
                  .decided = absl::FromUnixNanos(row.Int(1)),
                  .took = absl::Nanoseconds(row.Int(2))};
  const bool same_epoch = view.proposal.view.epoch.value() == static_cast<uint64_t>(row.Int(0));
  if (!same_epoch || Digest(view.proposal.view) != static_cast<uint64_t>(row.Int(3))) {
    return absl::DataLossError(absl::StrCat(name, ": its digest is not that of its members"));
  }
  return view;
}

absl::Status ReadEvents(Sqlite& database, CoordinatorSnapshot* snapshot) {
  PERIGEE_ASSIGN_OR_RETURN(
      SqliteStatement rows,
      database.Prepare("SELECT number, time_ns, kind, node, text FROM event ORDER BY number"));
  while (true) {
    PERIGEE_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) return absl::OkStatus();
    CoordinatorEvent& event = snapshot->events.emplace_back();
    event.number = static_cast<uint64_t>(rows.Int(0));
    event.time = absl::FromUnixNanos(rows.Int(1));
    event.kind = rows.Bytes(2);
    if (!rows.IsNull(3)) event.node = NodeId(static_cast<uint32_t>(rows.Int(3)));
    event.text = rows.Bytes(4);
  }
}

absl::Status ReadViews(Sqlite& database, CoordinatorSnapshot* snapshot) {
  PERIGEE_ASSIGN_OR_RETURN(
      SqliteStatement rows,
      database.Prepare("SELECT epoch, decided_ns, took_ns, digest, install FROM view "
                       "ORDER BY epoch"));
  while (true) {
    PERIGEE_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) return absl::OkStatus();
    PERIGEE_ASSIGN_OR_RETURN(ViewRecord view, ReadView(rows));
    snapshot->views.push_back(std::move(view));
  }
}

absl::Status ReadDrains(Sqlite& database, CoordinatorSnapshot* snapshot) {
  PERIGEE_ASSIGN_OR_RETURN(SqliteStatement rows, database.Prepare("SELECT node, at_ns FROM drain"));
  while (true) {
    PERIGEE_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) return absl::OkStatus();
    snapshot->drains[NodeId(static_cast<uint32_t>(rows.Int(0)))] = absl::FromUnixNanos(rows.Int(1));
  }
}

absl::Status ReadEvictions(Sqlite& database, CoordinatorSnapshot* snapshot) {
  PERIGEE_ASSIGN_OR_RETURN(const int64_t schema, database.Int("PRAGMA user_version"));
  if (schema < kSchemaWithEvictions) return absl::OkStatus();
  PERIGEE_ASSIGN_OR_RETURN(
      SqliteStatement rows,
      database.Prepare(
          "SELECT node, incarnation_high, incarnation_low, counted_out, reason FROM evict"));
  while (true) {
    PERIGEE_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) return absl::OkStatus();
    snapshot->evictions[NodeId(static_cast<uint32_t>(rows.Int(0)))] = {
        .incarnation = {static_cast<uint64_t>(rows.Int(1)), static_cast<uint64_t>(rows.Int(2))},
        .counted_out = rows.Int(3) != 0,
        .reason = rows.Bytes(4)};
  }
}

}  // namespace

absl::StatusOr<StoreFile> Identify(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error) && !error) return StoreFile::kNone;
  const auto size = std::filesystem::file_size(path, error);
  if (error) return Foreign(path, "no file that can be read");
  if (size == 0) return StoreFile::kNone;
  PERIGEE_ASSIGN_OR_RETURN(Sqlite database, Sqlite::Open(path, SQLITE_OPEN_READONLY));
  const absl::StatusOr<int64_t> id = database.Int("PRAGMA application_id");
  if (absl::IsDataLoss(id.status())) return Foreign(path, "no database");
  if (!id.ok()) return id.status();
  if (*id != SqliteStore::kApplicationId) return Foreign(path, "a database of something else");
  PERIGEE_ASSIGN_OR_RETURN(const int64_t schema, database.Int("PRAGMA user_version"));
  if (schema > SqliteStore::kSchema) return Newer(database, path, schema);
  return StoreFile::kStore;
}

absl::Status CreateStoreFile(const std::string& path) {
  const std::string draft = absl::StrCat(path, ".new");
  std::remove(draft.c_str());
  RemoveLogsOf(draft);
  RemoveLogsOf(path);
  PERIGEE_RETURN_IF_ERROR(MakeTables(draft));
  if (std::rename(draft.c_str(), path.c_str()) != 0) {
    return absl::UnavailableError(absl::StrCat(path, ": ", std::strerror(errno)));
  }
  return SyncFolderOf(path);
}

absl::Status Upgrade(Sqlite& database) {
  PERIGEE_ASSIGN_OR_RETURN(const int64_t schema, database.Int("PRAGMA user_version"));
  if (schema >= SqliteStore::kSchema) return absl::OkStatus();
  const absl::Status status = database.Execute(
      absl::StrCat("BEGIN IMMEDIATE; ", schema < kSchemaWithEvictions ? kEvictTable : "",
                   "PRAGMA user_version = ", SqliteStore::kSchema, "; COMMIT;"));
  if (!status.ok()) database.Execute("ROLLBACK").IgnoreError();
  return status;
}

absl::StatusOr<CoordinatorSnapshot> ReadSnapshot(Sqlite& database) {
  CoordinatorSnapshot snapshot;
  PERIGEE_RETURN_IF_ERROR(ReadEvents(database, &snapshot));
  PERIGEE_RETURN_IF_ERROR(ReadViews(database, &snapshot));
  PERIGEE_RETURN_IF_ERROR(ReadDrains(database, &snapshot));
  PERIGEE_RETURN_IF_ERROR(ReadEvictions(database, &snapshot));
  PERIGEE_RETURN_IF_ERROR(Validate(snapshot));
  return snapshot;
}

std::string ViewBytes(const ViewRecord& view) {
  return ToProto(CoordinatorMessage(Install{view.proposal})).SerializeAsString();
}

}  // namespace perigee
