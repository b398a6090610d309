// The grid of a comparison: every row at every point, round by round, so that whatever the machine
// does meanwhile meets all rows alike.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "bench/compare.h"
#include "bench/compare_cells.h"
#include "bench/compare_peers.h"

namespace perigee {

class CompareSweep {
 public:
  // Indices of a row and a point.
  using Place = std::pair<size_t, size_t>;

  CompareSweep(const CompareOptions& options, std::vector<CompareRow> rows, CompareGrid grid);

  // Launches that fail are told in their cells; an error is one of this machine.
  absl::Status Run();

  const std::vector<CompareRow>& rows() const { return rows_; }
  const CompareGrid& grid() const { return grid_; }
  uint32_t nodes() const { return options_.nodes; }
  // By size; a size without an entry was not run.
  const std::map<uint64_t, CompareCell>& cells(Place place) const;
  // The emulator's worst p99 of how late packets left; 0 without one.
  double lateness_us(Place place) const;
  const nlohmann::ordered_json& launches() const { return launches_; }
  const std::map<std::string, std::string>& versions() const { return versions_; }  // by peer
  bool ran_out_of_time() const { return ran_out_of_time_; }

 private:
  // Every point and those rows that run once, or the others.
  absl::Status RunRound(uint64_t round, bool once);
  absl::Status RunLaunch(Place place, uint64_t round);
  void PredictFromLessLoss(Place place);
  std::vector<size_t> SizesToRun(Place place) const;
  std::vector<std::string> MemberFlags(const std::vector<size_t>& sizes) const;
  void Tell(Place place, uint64_t round) const;

  const CompareOptions& options_;
  std::vector<CompareRow> rows_;
  CompareGrid grid_;
  absl::Time begin_;
  std::map<Place, std::map<uint64_t, CompareCell>> cells_;
  std::map<Place, double> lateness_us_;
  nlohmann::ordered_json launches_ = nlohmann::ordered_json::array();
  std::map<std::string, std::string> versions_;
  bool ran_out_of_time_ = false;
};

}  // namespace perigee
