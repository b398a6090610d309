#include "bench/compare_report.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "bench/compare_sweep.h"
#include "runtime/cli/quantity.h"

namespace perigee {
namespace {

using Json = nlohmann::ordered_json;

// Beyond it, an op's time is this machine's rather than the links'.
constexpr double kLatenessUs = 2000;

Json Finite(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

std::string Milliseconds(double seconds, absl::Duration limit) {
  if (std::isinf(seconds)) return absl::StrFormat("> %.0f s", absl::ToDoubleSeconds(limit));
  return absl::StrFormat("%.*f", seconds < 0.01 ? 1 : 0, seconds * 1e3);
}

Json PlaceJson(const CompareRow& row, const ComparePoint& point) {
  return {{"peer", row.peer.name},
          {"congestion", row.congestion.empty() ? Json(nullptr) : Json(row.congestion)},
          {"loss", point.loss},
          {"round_trip_seconds", absl::ToDoubleSeconds(point.round_trip)}};
}

std::string Status(const CompareRow& row, const CompareCell* cell) {
  if (!row.peer.missing.empty()) return "not installed";
  if (cell == nullptr) return "not run";
  if (!cell->failure.empty()) return "failed";
  if (std::isinf(cell->Quantile(0.5))) return "over limit";
  return cell->seconds.empty() ? "not run" : "measured";
}

std::string Reason(const CompareRow& row, const CompareCell* cell) {
  if (!row.peer.missing.empty()) return row.peer.missing;
  if (cell == nullptr) return "";
  if (cell->failure.empty() && cell->is_predicted) {
    return "predicted from a smaller size or less loss";
  }
  return cell->failure;
}

Json CellJson(const CompareRow& row, uint64_t bytes, uint32_t nodes, const CompareCell* cell) {
  const CompareCell none;
  const CompareCell& c = cell == nullptr ? none : *cell;
  const double bits = 8 * static_cast<double>(bytes);
  const double p50 = c.Quantile(0.5);
  const auto ended = static_cast<double>(c.ended());
  Json seconds = Json::array();
  for (const double s : c.seconds) seconds.push_back(Finite(s));
  return {{"bytes", bytes},
          {"status", Status(row, cell)},
          {"reason", Reason(row, cell)},
          {"ops", c.ended()},
          {"ops_over_limit", c.seconds.size() - c.ended()},
          {"seconds_p50", Finite(p50)},
          {"seconds_p99", Finite(c.Quantile(0.99))},
          {"seconds_max", Finite(c.Quantile(1))},
          {"goodput_bps", Finite(bits * ended / c.SecondsEnded())},
          {"algbw_bps", Finite(bits / p50)},
          {"busbw_bps", Finite(bits / p50 * 2 * (nodes - 1) / nodes)},
          {"cpu_seconds_per_gb", Finite(c.cpu_seconds / (ended * bits / 8e9))},
          {"results_right", c.ended() > 0 ? Json(c.wrong == 0) : Json(nullptr)},
          {"bits_equal", c.ended() > 0 ? Json(c.unequal == 0) : Json(nullptr)},
          {"seconds", seconds}};
}

// What the emulator counted, over all links; nulls where there was none.
Json LinksJson(const nlohmann::json& emulator, double ideal_bytes) {
  Json json = {
      {"wire_bytes", nullptr},          {"wire_overhead", nullptr},   {"lost", nullptr},
      {"queue_dropped", nullptr},       {"lateness_us_p99", nullptr}, {"lateness_us_max", nullptr},
      {"emulator_cpu_seconds", nullptr}};
  if (!emulator.is_object() || !emulator.contains("links")) return json;
  uint64_t bytes = 0, lost = 0, dropped = 0;
  for (const auto& link : emulator["links"]) {
    bytes += link.value("bytes", uint64_t{0});
    lost += link.value("lost", uint64_t{0});
    dropped += link.value("queue_dropped", uint64_t{0});
  }
  json["wire_bytes"] = bytes;
  json["wire_overhead"] = Finite(static_cast<double>(bytes) / ideal_bytes);
  json["lost"] = lost;
  json["queue_dropped"] = dropped;
  for (const char* name : {"lateness_us_p99", "lateness_us_max", "emulator_cpu_seconds"}) {
    json[name] = emulator.value(name, nlohmann::json(nullptr));
  }
  return json;
}

}  // namespace

Json LaunchJson(const LaunchSummary& launch) {
  Json json = PlaceJson(launch.row, launch.point);
  json["round"] = launch.round;
  json["began_seconds"] = absl::ToDoubleSeconds(launch.began);
  json["took_seconds"] = absl::ToDoubleSeconds(launch.took);
  json["ideal_bytes"] = launch.ideal_bytes;
  json.update(LinksJson(launch.links, launch.ideal_bytes));
  return json;
}

Json CellsJson(const CompareSweep& sweep) {
  Json cells = Json::array();
  for (size_t point = 0; point < sweep.grid().points.size(); ++point) {
    for (size_t row = 0; row < sweep.rows().size(); ++row) {
      for (const uint64_t bytes : sweep.grid().sizes) {
        const auto& measured = sweep.cells({row, point});
        const auto found = measured.find(bytes);
        Json cell = PlaceJson(sweep.rows()[row], sweep.grid().points[point]);
        cell.update(CellJson(sweep.rows()[row], bytes, sweep.nodes(),
                             found == measured.end() ? nullptr : &found->second));
        cells.push_back(std::move(cell));
      }
    }
  }
  return cells;
}

std::string CommandLine() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::string line(std::istreambuf_iterator<char>(file), {});
  if (!line.empty()) line.pop_back();
  std::replace(line.begin(), line.end(), '\0', ' ');
  return line;
}

std::string FormatRoundTrip(const ComparePoint& point) {
  return absl::StrFormat("%g ms", absl::ToDoubleMilliseconds(point.round_trip));
}

std::string FormatLoss(const ComparePoint& point) {
  return absl::StrFormat("%g %%", point.loss * 100);
}

std::string FormatCell(const CompareCell& cell, absl::Duration limit) {
  if (!cell.failure.empty()) return "failed";
  if (cell.seconds.empty()) return "-";
  const std::string p50 = Milliseconds(cell.Quantile(0.5), limit);
  const std::string worst = Milliseconds(cell.Quantile(1), limit);
  const std::string text = p50 == worst ? p50 : absl::StrCat(p50, " / ", worst);
  return cell.wrong + cell.unequal > 0 ? absl::StrCat(text, " WRONG") : text;
}

std::string CompareTable(const CompareSweep& sweep, absl::Duration limit) {
  std::string table = absl::StrFormat("%-10s %-7s %-18s", "round trip", "loss", "peer");
  for (const uint64_t bytes : sweep.grid().sizes) {
    absl::StrAppendFormat(&table, " %18s", absl::StrCat(FormatSize(bytes), ", ms"));
  }
  absl::StrAppend(&table, "\n");
  for (size_t point = 0; point < sweep.grid().points.size(); ++point) {
    for (size_t row = 0; row < sweep.rows().size(); ++row) {
      const CompareRow& r = sweep.rows()[row];
      absl::StrAppendFormat(
          &table, "%-10s %-7s %-18s", FormatRoundTrip(sweep.grid().points[point]),
          FormatLoss(sweep.grid().points[point]),
          sweep.lateness_us({row, point}) > kLatenessUs ? absl::StrCat(r.name(), " *") : r.name());
      if (!r.peer.missing.empty()) absl::StrAppend(&table, "  ", r.peer.missing);
      for (const uint64_t bytes : sweep.grid().sizes) {
        if (!r.peer.missing.empty()) break;
        const auto cell = sweep.cells({row, point}).find(bytes);
        absl::StrAppendFormat(
            &table, " %18s",
            cell == sweep.cells({row, point}).end() ? "-" : FormatCell(cell->second, limit));
      }
      absl::StrAppend(&table, "\n");
    }
  }
  return table;
}

std::string LatenessLegend(const CompareSweep& sweep) {
  size_t late = 0;
  for (size_t point = 0; point < sweep.grid().points.size(); ++point) {
    for (size_t row = 0; row < sweep.rows().size(); ++row) {
      late += sweep.lateness_us({row, point}) > kLatenessUs;
    }
  }
  if (late == 0) return "";
  return absl::StrCat("* ", late, " rows: the emulator was late by more than ", kLatenessUs / 1000,
                      " ms (p99), so that this machine's CPUs are in the figure\n");
}

}  // namespace perigee
