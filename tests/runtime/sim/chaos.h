// One random run of a whole job under faults, decided by its seed alone, and what came of it.
//
//   const ChaosReport report = RunChaos(17);
//   EXPECT_TRUE(report.errors.empty()) << report.errors.front();
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "runtime/coordinator.h"

namespace perigee {

struct ChaosReport {
  uint64_t seed = 0;
  uint64_t trace_digest = 0;
  uint64_t events = 0;
  std::string world;                // "5 nodes, delay 20ms, loss 5%, ..."
  std::vector<std::string> errors;  // empty: all invariants held

  // How much of everything there was, so that one sees that the classes of faults are really hit.
  uint64_t ops = 0;
  uint64_t deliveries = 0;
  uint64_t cancelled = 0;
  uint64_t root_lost = 0;
  uint64_t given_up = 0;  // by a member whose caller had cancelled, for all
  uint64_t dealt_again = 0;
  uint64_t states = 0;
  uint64_t views_planned = 0;
  uint64_t views_unplanned = 0;
  uint64_t hibernations = 0;       // views in which the job slept
  uint64_t woken = 0;              // of those: somebody was given a result in it, or after it
  uint64_t views_by_members = 0;   // proposed by a member that acted for the coordinator
  uint64_t ops_repeated = 0;       // decisions to abort
  uint64_t ops_redistributed = 0;  // decisions to finish that somebody needed
  uint64_t kills = 0;
  uint64_t power_offs = 0;
  uint64_t restarts = 0;
  uint64_t stops = 0;
  uint64_t drains = 0;
  uint64_t joins = 0;
  uint64_t dark_intervals = 0;
  uint64_t coordinator_kills = 0;
  uint64_t links_down = 0;
  uint64_t streams_broken = 0;
  uint64_t left_planned = 0;
  uint64_t left_unplanned = 0;
  uint64_t majority_lost = 0;
  uint64_t thirds_lost = 0;  // a third of the members died at one instant
  uint64_t leaves = 0;       // a member said goodbye
  uint64_t evictions = 0;
  uint64_t partitions = 0;              // a minority was cut off for a while,
  uint64_t coordinator_partitions = 0;  // and the coordinator with it
  uint64_t ends_cut = 0;                // the last fault, until the others had shown progress
  uint64_t nodes = 0;
  uint64_t large_worlds = 0;    // of more than kSmallNodesMax nodes
  absl::Duration progress_max;  // from the last fault to a view and an op, at most

  void Add(const ChaosReport& other);  // the counts
};

std::string ToString(const ChaosReport& report);  // the counts, in a few lines
// Each event of the coordinator on a line of its own.
std::string EventLines(const Coordinator& coordinator);

// `transcript`: gets a line per fault, view and delivery.
ChaosReport RunChaos(uint64_t seed, std::ostream* transcript = nullptr);

}  // namespace perigee
