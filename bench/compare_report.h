// What a comparison prints and writes.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "absl/time/time.h"
#include "bench/compare.h"
#include "bench/compare_cells.h"
#include "bench/compare_peers.h"

namespace perigee {

class CompareSweep;

struct LaunchSummary {
  CompareRow row;
  ComparePoint point;
  uint64_t round = 0;
  absl::Duration began;  // since the comparison began
  absl::Duration took;
  double ideal_bytes = 0;
  nlohmann::json links;  // of the emulator, or null
};

nlohmann::ordered_json LaunchJson(const LaunchSummary& launch);
nlohmann::ordered_json CellsJson(const CompareSweep& sweep);
// Median and worst op of every cell in milliseconds; one line per row and point.
std::string CompareTable(const CompareSweep& sweep, absl::Duration limit);

// What the table's stars mean, where it has some.
std::string LatenessLegend(const CompareSweep& sweep);

// How this program was called: a report shows it.
std::string CommandLine();
std::string FormatRoundTrip(const ComparePoint& point);  // "10 ms"
std::string FormatLoss(const ComparePoint& point);       // "0.1 %"
// "417 / 610", "> 20 s", "failed".
std::string FormatCell(const CompareCell& cell, absl::Duration limit);

}  // namespace perigee
