#include "runtime/control/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace perigee {
namespace {

// Who wrote its number here. Nothing while it is only about to.
std::string Holder(int fd) {
  char text[32] = "";
  const ssize_t size = pread(fd, text, sizeof(text) - 1, 0);
  int process = 0;
  if (size <= 0 || !absl::SimpleAtoi(absl::string_view(text, static_cast<size_t>(size)), &process))
    return "another process";
  return absl::StrCat("process ", process);
}

}  // namespace

absl::StatusOr<FileLock> FileLock::Take(const std::string& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) {
    return absl::PermissionDeniedError(absl::StrCat(path, ": ", std::strerror(errno)));
  }
  FileLock lock(fd);
  while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno == EWOULDBLOCK) {
      return absl::FailedPreconditionError(absl::StrCat("held by ", Holder(fd)));
    }
    return absl::UnavailableError(absl::StrCat(path, ": ", std::strerror(errno)));
  }
  const std::string text = absl::StrCat(getpid(), "\n");
  // Only for people: whoever cannot read it is told "another process".
  const bool written = ftruncate(fd, 0) == 0 && pwrite(fd, text.data(), text.size(), 0) > 0;
  static_cast<void>(written);
  return lock;
}

FileLock::FileLock(FileLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

FileLock& FileLock::operator=(FileLock&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

FileLock::~FileLock() {
  if (fd_ >= 0) close(fd_);
}

}  // namespace perigee
