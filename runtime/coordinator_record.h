// What a coordinator writes down so that the next one knows it: records, one after the other, and
// the snapshot that they add up to. Plain values; where they lie is the driver's business
// (control/store.h).
//
//   CoordinatorSnapshot snapshot;
//   for (const CoordinatorRecord& record : records) Apply(record, /*events_max=*/10000, &snapshot);
//   coordinator.Restore(now, snapshot);
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <variant>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "runtime/control_message.h"
#include "transport/base/ids.h"

namespace perigee {

struct CoordinatorEvent {
  uint64_t number = 0;  // from 1, without a gap
  absl::Time time;
  std::string
      kind;  // "registered", "view", "lost", "draining", "dark", "left", "refused", "audit", ...
  std::optional<NodeId> node;
  std::string text;
  friend bool operator==(const CoordinatorEvent&, const CoordinatorEvent&) = default;
};

// A decided view. View 1 is the founding of the job, and every view names the job.
struct ViewRecord {
  Proposal proposal;
  absl::Time decided;
  absl::Duration took;  // from the first ballot of the change to the decision
  friend bool operator==(const ViewRecord&, const ViewRecord&) = default;
};

// An operator wants the node out from `at` on; without `at`: in again.
struct DrainRecord {
  NodeId node;
  std::optional<absl::Time> at;
  friend bool operator==(const DrainRecord&, const DrainRecord&) = default;
};

// What an operator wants of this incarnation: it counts as lost, whatever it says.
struct Eviction {
  Incarnation incarnation;
  bool counted_out = false;  // by force: its vote does not count any more
  std::string reason;        // "evicted by ann"
  friend bool operator==(const Eviction&, const Eviction&) = default;
};

// Without `eviction`: a view without that incarnation is decided, and nothing is left to do.
struct EvictRecord {
  NodeId node;
  std::optional<Eviction> eviction;
  friend bool operator==(const EvictRecord&, const EvictRecord&) = default;
};

using CoordinatorRecord = std::variant<CoordinatorEvent, ViewRecord, DrainRecord, EvictRecord>;

struct CoordinatorSnapshot {
  std::deque<CoordinatorEvent> events;
  std::deque<ViewRecord> views;  // by epoch
  std::map<NodeId, absl::Time> drains;
  std::map<NodeId, Eviction> evictions;
  friend bool operator==(const CoordinatorSnapshot&, const CoordinatorSnapshot&) = default;
};

// Whether the view can be of one history with these: no other view of its epoch, and linked to its
// neighbours by digest where they are known.
bool Follows(const View& view, const std::deque<ViewRecord>& views);

inline constexpr size_t kViewRecordsMax = 1000;  // the oldest ones beyond are forgotten

// Puts the view where its epoch belongs, and forgets the oldest beyond kViewRecordsMax. False when
// the epoch is there already.
bool Insert(const ViewRecord& record, std::deque<ViewRecord>* views);

// The snapshot after one more record; the oldest events beyond `events_max` (at least 1) go.
void Apply(const CoordinatorRecord& record, size_t events_max, CoordinatorSnapshot* snapshot);

// DataLoss when no coordinator can have written this: events with a gap, views of two jobs, a view
// that does not follow from the one before it, or an eviction of no incarnation.
absl::Status Validate(const CoordinatorSnapshot& snapshot);

}  // namespace perigee
