#include "bench/compare_sweep.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "bench/compare_launch.h"
#include "bench/compare_report.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

constexpr absl::Duration kStartDeadline = absl::Seconds(40);
constexpr absl::Duration kSilence = absl::Seconds(60);

struct Outcome {
  bool over_limit = false;
  std::string failure;
};

Outcome Watch(Launch& launch, LaunchLog& log, uint32_t nodes, absl::Duration limit) {
  const absl::Time begin = absl::Now();
  absl::Time heard = begin;
  const auto on_event = [&](const nlohmann::json& event) {
    heard = absl::Now();
    log.OnEvent(event);
  };
  while (launch.Read(absl::InfiniteFuture(), on_event)) {
    const absl::Time now = absl::Now();
    if (Interrupted()) return {.failure = "interrupted"};
    if (log.ready() < nodes && now - begin > kStartDeadline) {
      return {.failure =
                  absl::StrCat("only ", log.ready(), " of ", nodes, " members were ready in ",
                               absl::FormatDuration(kStartDeadline))};
    }
    const double since = log.running_since();
    if (since > 0 && now - absl::UnixEpoch() > absl::Seconds(since) + limit) {
      return {.over_limit = true};
    }
    if (now - heard > kSilence + limit) return {.failure = "members have gone silent"};
  }
  if (log.ended() < nodes) {
    return {.failure = absl::StrCat("only ", log.ended(), " of ", nodes,
                                    " members ended well: ", launch.ErrorTail())};
  }
  return {};
}

}  // namespace

CompareSweep::CompareSweep(const CompareOptions& options, std::vector<CompareRow> rows,
                           CompareGrid grid)
    : options_(options), rows_(std::move(rows)), grid_(std::move(grid)) {}

const std::map<uint64_t, CompareCell>& CompareSweep::cells(Place place) const {
  static const std::map<uint64_t, CompareCell> kNone;
  const auto found = cells_.find(place);
  return found == cells_.end() ? kNone : found->second;
}

double CompareSweep::lateness_us(Place place) const {
  const auto found = lateness_us_.find(place);
  return found == lateness_us_.end() ? 0 : found->second;
}

absl::Status CompareSweep::Run() {
  begin_ = absl::Now();
  for (uint64_t round = 0; round < options_.rounds; ++round) {
    PERIGEE_RETURN_IF_ERROR(RunRound(round, /*once=*/false));
  }
  return RunRound(0, /*once=*/true);
}

absl::Status CompareSweep::RunRound(uint64_t round, bool once) {
  for (size_t point = 0; point < grid_.points.size(); ++point) {
    for (size_t row = 0; row < rows_.size(); ++row) {
      if (!rows_[row].peer.missing.empty() || rows_[row].runs_once != once) continue;
      if (Interrupted()) return absl::CancelledError("interrupted");
      if (absl::Now() - begin_ > options_.time_limit) {
        ran_out_of_time_ = true;
        return absl::OkStatus();
      }
      PERIGEE_RETURN_IF_ERROR(RunLaunch({row, point}, round));
    }
  }
  return absl::OkStatus();
}

std::vector<std::string> CompareSweep::MemberFlags(const std::vector<size_t>& sizes) const {
  const auto seconds = [](absl::Duration d) { return absl::StrCat(absl::ToDoubleSeconds(d), "s"); };
  const auto bytes = [&](std::string* out, size_t i) { absl::StrAppend(out, grid_.sizes[i]); };
  const auto count = [&](std::string* out, size_t i) { absl::StrAppend(out, grid_.iterations[i]); };
  return {"--barrier",
          "--sizes",
          absl::StrJoin(sizes, ",", bytes),
          "--iterations",
          absl::StrJoin(sizes, ",", count),
          "--budget",
          seconds(options_.budget),
          "--op-limit",
          seconds(options_.limit)};
}

// What was over the limit once is not tried again, and what has used up a launch's budget with one
// op is not repeated: the time is better spent on the others.
std::vector<size_t> CompareSweep::SizesToRun(Place place) const {
  std::vector<size_t> sizes;
  for (size_t i = 0; i < grid_.sizes.size(); ++i) {
    const auto cell = cells(place).find(grid_.sizes[i]);
    const bool is_slow = cell != cells(place).end() && cell->second.failure.empty() &&
                         cell->second.Quantile(1) > absl::ToDoubleSeconds(options_.budget);
    if (!is_slow) sizes.push_back(i);
  }
  return sizes;
}

// What is over the limit on these links is over it with more loss: trying costs a limit per size.
void CompareSweep::PredictFromLessLoss(Place place) {
  const ComparePoint& here = grid_.points[place.second];
  for (size_t other = 0; other < grid_.points.size(); ++other) {
    const ComparePoint& point = grid_.points[other];
    if (point.round_trip != here.round_trip || point.loss >= here.loss) continue;
    for (const auto& [bytes, cell] : cells({place.first, other})) {
      if (!cell.failure.empty() || !std::isinf(cell.Quantile(0.5))) continue;
      CompareCell& predicted = cells_[place][bytes];
      if (!predicted.seconds.empty()) continue;
      predicted.seconds.push_back(std::numeric_limits<double>::infinity());
      predicted.is_predicted = true;
    }
  }
}

absl::Status CompareSweep::RunLaunch(Place place, uint64_t round) {
  PredictFromLessLoss(place);
  std::map<uint64_t, CompareCell>& cells = cells_[place];
  const std::vector<size_t> sizes = SizesToRun(place);
  if (sizes.empty()) return absl::OkStatus();
  const CompareRow& row = rows_[place.first];
  LaunchSpec spec{.row = row,
                  .point = grid_.points[place.second],
                  .nodes = options_.nodes,
                  .bytes_per_second = options_.bytes_per_second,
                  .loopback = options_.loopback,
                  .seed = options_.seed + round,
                  .flags = MemberFlags(sizes)};
  const absl::Time begin = absl::Now();
  std::vector<uint64_t> size_bytes;
  for (const size_t i : sizes) size_bytes.push_back(grid_.sizes[i]);
  LaunchLog log(options_.nodes, size_bytes);
  PERIGEE_ASSIGN_OR_RETURN(const std::unique_ptr<Launch> launch, Launch::Start(spec));
  const Outcome outcome = Watch(*launch, log, options_.nodes, options_.limit);
  const nlohmann::json links = launch->Stop();
  log.AddTo(cells, outcome.over_limit, outcome.failure);
  if (links.is_object() && links.value("lateness_us_p99", nlohmann::json()).is_number()) {
    lateness_us_[place] = std::max(lateness_us(place), links["lateness_us_p99"].get<double>());
  }
  if (!log.version().empty()) versions_[row.peer.name] = log.version();
  launches_.push_back(LaunchJson({.row = row,
                                  .point = spec.point,
                                  .round = round,
                                  .began = begin - begin_,
                                  .took = absl::Now() - begin,
                                  .ideal_bytes = log.ideal_bytes(),
                                  .links = links}));
  Tell(place, round);
  return absl::OkStatus();
}

void CompareSweep::Tell(Place place, uint64_t round) const {
  std::string line = absl::StrFormat(
      "%5.0f s  round %d  %-8s %-6s %-16s", absl::ToDoubleSeconds(absl::Now() - begin_), round + 1,
      FormatRoundTrip(grid_.points[place.second]), FormatLoss(grid_.points[place.second]),
      rows_[place.first].name());
  for (const uint64_t bytes : grid_.sizes) {
    const auto cell = cells(place).find(bytes);
    absl::StrAppend(&line, "  ",
                    cell == cells(place).end() ? "-" : FormatCell(cell->second, options_.limit));
  }
  std::fprintf(stderr, "%s\n", line.c_str());
}

}  // namespace perigee
