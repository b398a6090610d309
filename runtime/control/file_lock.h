// One process at a time: a lock on a file, which the system drops when its holder ends, however it
// ends. The file holds the number of the process and stays where it is.
//
//   PERIGEE_ASSIGN_OR_RETURN(FileLock lock, FileLock::Take("/var/perigee.db.lock"));
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace perigee {

class FileLock {
 public:
  // FailedPrecondition, "held by process 1234", while another one has it; PermissionDenied when the
  // file cannot be opened.
  static absl::StatusOr<FileLock> Take(const std::string& path);
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&& other) noexcept;
  ~FileLock();  // gives it back

 private:
  explicit FileLock(int fd) : fd_(fd) {}

  int fd_ = -1;
};

}  // namespace perigee
