#include "runtime/control/sqlite.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

absl::StatusCode CodeOf(int result) {
  switch (result & 0xff) {
    case SQLITE_FULL:
    case SQLITE_NOMEM:
      return absl::StatusCode::kResourceExhausted;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return absl::StatusCode::kUnavailable;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return absl::StatusCode::kDataLoss;
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_AUTH:
      return absl::StatusCode::kPermissionDenied;
    default:
      return absl::StatusCode::kInternal;
  }
}

// "/var/perigee.db: disk I/O error (File too large)".
absl::Status Error(sqlite3* database, absl::string_view path) {
  const int result = sqlite3_extended_errcode(database);
  std::string text = absl::StrCat(path, ": ", sqlite3_errmsg(database));
  const int system = sqlite3_system_errno(database);
  if (system != 0) absl::StrAppend(&text, " (", std::strerror(system), ")");
  return absl::Status(CodeOf(result), text);
}

absl::Status Error(sqlite3* database) {
  const char* path = sqlite3_db_filename(database, "main");
  return Error(database, path != nullptr ? path : "");
}

}  // namespace

SqliteStatement& SqliteStatement::Bind(int parameter, int64_t value) {
  PERIGEE_CHECK(sqlite3_bind_int64(statement_.get(), parameter, value) == SQLITE_OK);
  return *this;
}

SqliteStatement& SqliteStatement::BindText(int parameter, absl::string_view text) {
  PERIGEE_CHECK(sqlite3_bind_text64(statement_.get(), parameter, text.data(), text.size(),
                                    SQLITE_TRANSIENT, SQLITE_UTF8) == SQLITE_OK);
  return *this;
}

SqliteStatement& SqliteStatement::BindBlob(int parameter, absl::string_view bytes) {
  PERIGEE_CHECK(sqlite3_bind_blob64(statement_.get(), parameter, bytes.data(), bytes.size(),
                                    SQLITE_TRANSIENT) == SQLITE_OK);
  return *this;
}

SqliteStatement& SqliteStatement::BindNull(int parameter) {
  PERIGEE_CHECK(sqlite3_bind_null(statement_.get(), parameter) == SQLITE_OK);
  return *this;
}

absl::StatusOr<bool> SqliteStatement::Step() {
  const int result = sqlite3_step(statement_.get());
  if (result == SQLITE_ROW) return true;
  absl::Status status;
  if (result != SQLITE_DONE) status = Error(sqlite3_db_handle(statement_.get()));
  sqlite3_reset(statement_.get());
  if (!status.ok()) return status;
  return false;
}

std::string SqliteStatement::Bytes(int column) const {
  const void* bytes = sqlite3_column_blob(statement_.get(), column);
  const int size = sqlite3_column_bytes(statement_.get(), column);
  return bytes == nullptr ? "" : std::string(static_cast<const char*>(bytes), size);
}

absl::StatusOr<Sqlite> Sqlite::Open(const std::string& path, int flags) {
  sqlite3* opened = nullptr;
  const int result = sqlite3_open_v2(path.c_str(), &opened, flags, nullptr);
  Sqlite database(opened);
  if (opened == nullptr) return absl::ResourceExhaustedError("no memory for SQLite");
  if (result != SQLITE_OK) return Error(opened, path);
  sqlite3_extended_result_codes(opened, 1);
  sqlite3_busy_timeout(opened, kBusyMs);
  return database;
}

absl::StatusOr<SqliteStatement> Sqlite::Prepare(const char* sql) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(database_.get(), sql, -1, &statement, nullptr) != SQLITE_OK) {
    return Error(database_.get());
  }
  return SqliteStatement(statement);
}

absl::Status Sqlite::Execute(const std::string& sql) {
  if (sqlite3_exec(database_.get(), sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) {
    return Error(database_.get());
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> Sqlite::Int(const char* sql) {
  PERIGEE_ASSIGN_OR_RETURN(SqliteStatement statement, Prepare(sql));
  PERIGEE_ASSIGN_OR_RETURN(const bool row, statement.Step());
  if (!row) return absl::NotFoundError(absl::StrCat("no row: ", sql));
  return statement.Int(0);
}

absl::StatusOr<std::string> Sqlite::Text(const char* sql) {
  PERIGEE_ASSIGN_OR_RETURN(SqliteStatement statement, Prepare(sql));
  PERIGEE_ASSIGN_OR_RETURN(const bool row, statement.Step());
  if (!row) return absl::NotFoundError(absl::StrCat("no row: ", sql));
  return statement.Bytes(0);
}

absl::Status Sqlite::BackUpTo(Sqlite& to) {
  sqlite3_backup* backup = sqlite3_backup_init(to.database_.get(), "main", database_.get(), "main");
  if (backup == nullptr) return Error(to.database_.get());
  sqlite3_backup_step(backup, -1);
  if (sqlite3_backup_finish(backup) != SQLITE_OK) return Error(to.database_.get());
  return absl::OkStatus();
}

}  // namespace perigee
