#include "runtime/control/refusals.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace perigee {

const char* Name(Refusal cause) {
  switch (cause) {
    case Refusal::kNoCertificate:
      return "no_certificate";
    case Refusal::kExpiredCertificate:
      return "expired_certificate";
    case Refusal::kForeignCertificate:
      return "foreign_certificate";
    case Refusal::kWrongRole:
      return "wrong_role";
    case Refusal::kBadToken:
      return "bad_token";
    case Refusal::kTooLong:
      return "too_long";
    case Refusal::kMalformed:
      return "malformed";
    case Refusal::kTooFast:
      return "too_fast";
    case Refusal::kTooMany:
      return "too_many";
    case Refusal::kSilent:
      return "silent";
  }
  return "";
}

Refusals::Refusals(Tell tell) : tell_(std::move(tell)) {}

void Refusals::Add(absl::Time now, Refusal cause, const std::string& what) {
  std::lock_guard lock(mutex_);
  const size_t index = static_cast<size_t>(cause);
  ++counts_[index];
  if (!tell_) return;
  if (!told_.Take(now, Name(cause))) {
    ++untold_[index];
    return;
  }
  std::string line = absl::StrCat("refused ", Name(cause), " (", counts_[index], " so far");
  if (untold_[index] > 0) absl::StrAppend(&line, ", ", untold_[index], " not told");
  absl::StrAppend(&line, "): ", what);
  untold_[index] = 0;
  tell_(line);
}

Refusals::Counts Refusals::counts() const {
  std::lock_guard lock(mutex_);
  return counts_;
}

void Refusals::StopTelling() {
  std::lock_guard lock(mutex_);
  tell_ = nullptr;
}

}  // namespace perigee
