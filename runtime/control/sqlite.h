// SQLite's C interface with owners and absl::Status.
//
//   PERIGEE_ASSIGN_OR_RETURN(Sqlite database, Sqlite::Open(path, SQLITE_OPEN_READONLY));
//   PERIGEE_ASSIGN_OR_RETURN(SqliteStatement rows, database.Prepare("SELECT node FROM drain"));
//   while (true) {
//     PERIGEE_ASSIGN_OR_RETURN(const bool row, rows.Step());
//     if (!row) break;
//     ... rows.Int(0) ...
//   }
//
// Errors name the file and what SQLite and the system say: ResourceExhausted for a full disk,
// DataLoss for a file that is broken or no database, Unavailable for one that is locked.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace perigee {

class SqliteStatement {
 public:
  // Parameters count from 1; texts and blobs are copied.
  SqliteStatement& Bind(int parameter, int64_t value);
  SqliteStatement& BindText(int parameter, absl::string_view text);
  SqliteStatement& BindBlob(int parameter, absl::string_view bytes);
  SqliteStatement& BindNull(int parameter);
  // Whether there is a row; after the last one, or when nothing comes back, the statement can be
  // bound and run again.
  absl::StatusOr<bool> Step();
  // Runs a statement without rows.
  absl::Status Run() { return Step().status(); }

  // Of the present row; columns count from 0.
  int64_t Int(int column) const { return sqlite3_column_int64(statement_.get(), column); }
  bool IsNull(int column) const {
    return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
  }
  // A text or a blob.
  std::string Bytes(int column) const;

 private:
  friend class Sqlite;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  explicit SqliteStatement(sqlite3_stmt* statement) : statement_(statement) {}

  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
};

class Sqlite {
 public:
  // How long a statement waits while another process writes.
  static constexpr int kBusyMs = 1000;

  // `flags`: SQLITE_OPEN_READONLY, or READWRITE with or without CREATE.
  static absl::StatusOr<Sqlite> Open(const std::string& path, int flags);

  absl::StatusOr<SqliteStatement> Prepare(const char* sql);
  // One or more statements whose rows do not matter.
  absl::Status Execute(const std::string& sql);
  // The first column of the first row.
  absl::StatusOr<int64_t> Int(const char* sql);
  absl::StatusOr<std::string> Text(const char* sql);

  // All of this database into the empty `to`, as it is at one instant, while others write to it.
  absl::Status BackUpTo(Sqlite& to);

 private:
  friend class SqliteStatement;
  struct Close {
    void operator()(sqlite3* database) const { sqlite3_close(database); }
  };
  explicit Sqlite(sqlite3* database) : database_(database) {}

  std::unique_ptr<sqlite3, Close> database_;
};

}  // namespace perigee
