#include "runtime/cli/perigeed_process.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "transport/base/status.h"

namespace perigee {

absl::StatusOr<PerigeedProcess> StartPerigeed(const std::vector<std::string>& argv,
                                              const std::string& error_path,
                                              absl::Duration deadline) {
  PERIGEE_ASSIGN_OR_RETURN(ChildProcess child, ChildProcess::Start(argv, error_path));
  std::string address;
  ReadLines({&child}, absl::Now() + deadline, [&](size_t, const std::string& line) {
    const std::vector<std::string> parts = absl::StrSplit(line, " ready on ");
    if (parts.size() < 2) return true;
    const std::vector<std::string> words = absl::StrSplit(parts[1], absl::ByAnyChar(" ,"));
    address = words[0];
    return false;
  });
  if (address.empty()) {
    return absl::UnavailableError(
        absl::StrCat("perigeed did not start within ", absl::FormatDuration(deadline)));
  }
  return PerigeedProcess{std::move(child), std::move(address)};
}

}  // namespace perigee
