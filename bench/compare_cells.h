// From what members print to figures: one cell per row, point and size. Pure: lines in, figures
// out.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "bench/compare.h"

namespace perigee {

// An op is over when its last member has the result; one that took over the limit counts as
// endless.
struct CompareCell {
  std::vector<double> seconds;  // of timed ops, infinity for those that were cut
  double cpu_seconds = 0;       // of all members, inside the ops that ended
  uint64_t wrong = 0;           // ops, the warm-up included, with a wrong result at any member
  uint64_t unequal = 0;         // ops whose members have different bits
  bool is_predicted = false;    // cut without a try, because of a smaller size or less loss
  std::string failure;          // what a member or the launch said

  uint64_t ended() const;
  double Quantile(double q) const;  // nearest rank; NaN without ops
  double SecondsEnded() const;      // sum over the ops that ended
};

// The lines of one launch.
class LaunchLog {
 public:
  LaunchLog(uint32_t nodes, std::vector<uint64_t> sizes)
      : nodes_(nodes), sizes_(std::move(sizes)) {}

  void OnEvent(const nlohmann::json& event);
  // Seconds since the epoch at which the op that runs began, 0 when none does.
  double running_since() const;
  uint64_t ready() const { return ready_; }  // members
  uint64_t ended() const { return ended_; }  // members that have done everything
  const std::string& version() const { return version_; }
  // Adds to the cells of this launch's row and point. `over_limit`: it was ended because of the op
  // that ran; `failure`: or because of something else (empty: neither).
  void AddTo(std::map<uint64_t, CompareCell>& cells, bool over_limit,
             const std::string& failure) const;
  // What a member has to send for the ops that ended, times the members: 2(N-1) times the vector.
  double ideal_bytes() const;

 private:
  struct Op {
    uint64_t bytes = 0;
    double began = 0;
    bool timed = true;
    std::vector<double> seconds;
    double cpu_seconds = 0;
    uint64_t right = 0;  // members
    std::string checksum;
    bool is_equal = true;
  };

  uint32_t nodes_;
  std::vector<uint64_t> sizes_;
  uint64_t ready_ = 0;
  uint64_t ended_ = 0;
  std::string version_;
  std::map<uint64_t, Op> ops_;
  std::vector<uint64_t> predicted_;  // sizes
  std::string error_;
};

}  // namespace perigee
