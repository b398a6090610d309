#include "bench/compare_cells.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "runtime/cli/report.h"

namespace perigee {
namespace {

constexpr double kEndless = std::numeric_limits<double>::infinity();

}  // namespace

uint64_t CompareCell::ended() const {
  return std::count_if(seconds.begin(), seconds.end(), [](double s) { return std::isfinite(s); });
}

double CompareCell::Quantile(double q) const { return perigee::Quantile(seconds, q); }

double CompareCell::SecondsEnded() const {
  double sum = 0;
  for (const double s : seconds) {
    if (std::isfinite(s)) sum += s;
  }
  return sum;
}

void LaunchLog::OnEvent(const nlohmann::json& event) {
  const std::string kind = event.at("event");
  if (kind == "ready") {
    ++ready_;
    version_ = event.value("version", "");
  } else if (kind == "start") {
    Op& op = ops_[event.at("op")];
    op.bytes = event.at("bytes");
    const double time = event.at("time");
    op.began = op.began == 0 ? time : std::min(op.began, time);
  } else if (kind == "op") {
    Op& op = ops_[event.at("op")];
    op.timed = event.at("timed");
    op.seconds.push_back(event.at("seconds"));
    op.cpu_seconds += event.at("cpu_seconds").get<double>();
    op.right += event.at("members").size() == nodes_;
    const std::string checksum = event.at("checksum");
    op.is_equal &= op.checksum.empty() || op.checksum == checksum;
    op.checksum = checksum;
  } else if (kind == "end") {
    ++ended_;
  } else if (kind == "cut" && event.at("rank") == 0) {
    predicted_.push_back(event.at("bytes"));
  } else if (kind == "error" && error_.empty()) {
    error_ = absl::StrCat("rank ", event.at("rank").get<int>(), ": ",
                          event.at("message").get<std::string>());
  }
}

double LaunchLog::running_since() const {
  if (ops_.empty()) return 0;
  const Op& last = ops_.rbegin()->second;
  return last.seconds.size() < nodes_ ? last.began : 0;
}

double LaunchLog::ideal_bytes() const {
  double sum = 0;
  for (const auto& [number, op] : ops_) {
    if (op.seconds.size() == nodes_) sum += 2.0 * (nodes_ - 1) * static_cast<double>(op.bytes);
  }
  return sum;
}

void LaunchLog::AddTo(std::map<uint64_t, CompareCell>& cells, bool over_limit,
                      const std::string& failure) const {
  uint64_t reached = 0;  // size
  for (const auto& [number, op] : ops_) {
    CompareCell& cell = cells[op.bytes];
    reached = op.bytes;
    if (op.seconds.size() < nodes_) {
      if (over_limit) cell.seconds.push_back(kEndless);
      continue;
    }
    cell.wrong += op.right < nodes_;
    cell.unequal += !op.is_equal;
    if (!op.timed) continue;
    cell.seconds.push_back(*std::max_element(op.seconds.begin(), op.seconds.end()));
    cell.cpu_seconds += op.cpu_seconds;
  }
  for (const uint64_t bytes : sizes_) {
    const bool is_predicted =
        std::find(predicted_.begin(), predicted_.end(), bytes) != predicted_.end();
    // What takes longer than the limit takes no less with more bytes.
    if (is_predicted || (over_limit && bytes > reached)) {
      cells[bytes].seconds.push_back(kEndless);
      cells[bytes].is_predicted = true;
    }
    const std::string& reason = error_.empty() ? failure : error_;
    if (!over_limit && !reason.empty() && bytes >= reached) cells[bytes].failure = reason;
  }
}

}  // namespace perigee
