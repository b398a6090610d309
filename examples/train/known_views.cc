#include "examples/train/known_views.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace perigee {

void KnownViews::OnNotice(const std::string& text) {
  const std::vector<std::string> words = absl::StrSplit(text, absl::MaxSplits(' ', 2));
  uint64_t epoch = 0;
  if (words.size() != 3 || words[0] != "view" || !absl::SimpleAtoi(words[1], &epoch)) {
    contradictions_.push_back(absl::StrCat("not a view: \"", text, "\""));
    return;
  }
  Learn(epoch, text, texts_);
}

void KnownViews::OnStep(uint64_t epoch, const std::string& digest) {
  Learn(epoch, digest, digests_);
}

void KnownViews::OnStored(const std::deque<ViewRecord>& views) {
  for (const ViewRecord& record : views) {
    const View& view = record.proposal.view;
    const uint64_t epoch = view.epoch.value();
    if (texts_.contains(epoch)) ++stored_count_;
    Learn(epoch, absl::StrCat(ToString(view), ": ", record.proposal.reason), texts_);
    Learn(epoch, absl::StrCat(absl::Hex(Digest(view), absl::kZeroPad16)), digests_);
  }
}

void KnownViews::Learn(uint64_t epoch, const std::string& what,
                       std::map<uint64_t, std::string>& known) {
  const auto [it, added] = known.try_emplace(epoch, what);
  if (added || it->second == what) return;
  contradictions_.push_back(
      absl::StrCat("epoch ", epoch, ": \"", it->second, "\" and \"", what, "\""));
}

}  // namespace perigee
