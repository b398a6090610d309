#include <algorithm>

#include "absl/strings/str_cat.h"
#include "runtime/sim/cluster.h"
#include "tests/runtime/sim/chaos.h"

namespace perigee {

void ChaosReport::Add(const ChaosReport& other) {
  constexpr uint64_t ChaosReport::*kCounts[] = {
      &ChaosReport::events,         &ChaosReport::ops,
      &ChaosReport::deliveries,     &ChaosReport::cancelled,
      &ChaosReport::root_lost,      &ChaosReport::given_up,
      &ChaosReport::dealt_again,    &ChaosReport::states,
      &ChaosReport::views_planned,  &ChaosReport::views_unplanned,
      &ChaosReport::ops_repeated,   &ChaosReport::ops_redistributed,
      &ChaosReport::kills,          &ChaosReport::power_offs,
      &ChaosReport::restarts,       &ChaosReport::stops,
      &ChaosReport::drains,         &ChaosReport::joins,
      &ChaosReport::dark_intervals, &ChaosReport::coordinator_kills,
      &ChaosReport::links_down,     &ChaosReport::streams_broken,
      &ChaosReport::left_planned,   &ChaosReport::left_unplanned,
      &ChaosReport::majority_lost,  &ChaosReport::views_by_members,
      &ChaosReport::thirds_lost,    &ChaosReport::leaves,
      &ChaosReport::evictions,      &ChaosReport::partitions,
      &ChaosReport::ends_cut,       &ChaosReport::coordinator_partitions,
      &ChaosReport::nodes,          &ChaosReport::large_worlds,
      &ChaosReport::hibernations,   &ChaosReport::woken};
  for (auto count : kCounts) this->*count += other.*count;
  progress_max = std::max(progress_max, other.progress_max);
}

std::string ToString(const ChaosReport& report) {
  return absl::StrCat(
      "ops ", report.ops, ", deliveries ", report.deliveries, ", repeated ", report.ops_repeated,
      ", finished by redistribution ", report.ops_redistributed, ", dealt again ",
      report.dealt_again, ", cancelled ", report.cancelled, ", given up ", report.given_up,
      ", root lost ", report.root_lost, "\nviews planned ", report.views_planned, ", unplanned ",
      report.views_unplanned, ", by members ", report.views_by_members, ", hibernations ",
      report.hibernations, " (woken ", report.woken, ")", ", left planned ", report.left_planned,
      ", unplanned ", report.left_unplanned, ", states ", report.states, ", majority lost ",
      report.majority_lost, "\nkills ", report.kills, ", power offs ", report.power_offs,
      ", restarts ", report.restarts, ", stops ", report.stops, ", drains ", report.drains,
      ", joins ", report.joins, ", dark intervals ", report.dark_intervals, ", coordinator kills ",
      report.coordinator_kills, ", links down ", report.links_down, ", streams broken ",
      report.streams_broken, ", thirds lost ", report.thirds_lost, ", leaves ", report.leaves,
      ", evictions ", report.evictions, "\npartitions ", report.partitions,
      ", with the coordinator ", report.coordinator_partitions, ", at the end ", report.ends_cut,
      ", nodes ", report.nodes, ", large worlds ", report.large_worlds, ", slowest progress ",
      absl::FormatDuration(report.progress_max), ", events ", report.events);
}

std::string EventLines(const Coordinator& coordinator) {
  std::string lines;
  for (const CoordinatorEvent& event : coordinator.events()) {
    absl::StrAppend(&lines, "\n  ", absl::FormatDuration(event.time - Cluster::Start()), " ",
                    event.kind, " ",
                    event.node ? absl::StrCat("node ", event.node->value(), " ") : "", event.text);
  }
  return lines;
}

}  // namespace perigee
