// What the members of a run said of the views that they were in, compared with each other and with
// what the coordinator's store holds: an epoch has one view, whoever tells of it.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "runtime/coordinator_record.h"

namespace perigee {

class KnownViews {
 public:
  // A member's notice: "view 4 {0,1,3} from step 17: node 2: drained by an operator".
  void OnNotice(const std::string& text);
  // A member summed a step in the view of this epoch and digest (Digest of transport/view.h, in
  // hexadecimal digits).
  void OnStep(uint64_t epoch, const std::string& digest);
  void OnStored(const std::deque<ViewRecord>& views);

  size_t count() const { return texts_.size(); }
  // Of those, how many were found in the store.
  size_t stored_count() const { return stored_count_; }
  // "epoch 4: \"view 4 {0,1} ...\" and \"view 4 {0,1,3} ...\"": what must not be.
  const std::vector<std::string>& contradictions() const { return contradictions_; }

 private:
  void Learn(uint64_t epoch, const std::string& what, std::map<uint64_t, std::string>& known);

  std::map<uint64_t, std::string> texts_;    // by epoch
  std::map<uint64_t, std::string> digests_;  // by epoch
  size_t stored_count_ = 0;
  std::vector<std::string> contradictions_;
};

}  // namespace perigee
