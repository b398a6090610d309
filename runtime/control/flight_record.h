// What a member writes down when a wait passes its deadline, and the JSON form of it. `perigeectl
// explain --records` reads it when the coordinator is gone.
//
//   PERIGEE_ASSIGN_OR_RETURN(std::string text, FlightRecordToJson(record));
//   PERIGEE_ASSIGN_OR_RETURN(FlightRecord back, FlightRecordFromJson(text));
//   Explain(SituationOf(records), {});
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "runtime/explain.h"
#include "transport/base/ids.h"

namespace perigee {

struct FlightEvent {
  absl::Time time;
  std::string kind;  // "started", "finished", "failed", "view", "left", "suspect", "coordinator"
  std::optional<OpId> op;
  std::optional<NodeId> node;
  std::string text;
};
struct FlightView {
  Epoch epoch;
  bool planned = true;
  StepId first_step;
  std::vector<NodeId> members;
  std::string reason;
};

struct FlightRecord {
  std::string version;
  absl::Time written;
  std::string reason;  // the error of the wait
  bool coordinator_connected = false;
  std::string waiting_reason;
  MemberAccount member;  // with all its links
  // Peers whose posted transfers have not come, and how many.
  std::vector<std::pair<NodeId, size_t>> missing;
  std::vector<FlightView> views;    // newest last
  std::vector<FlightEvent> events;  // newest last
};

// Internal where a text is not UTF-8.
absl::StatusOr<std::string> FlightRecordToJson(const FlightRecord& record);
// InvalidArgument, naming what is wrong. Fields of later versions are passed over.
absl::StatusOr<FlightRecord> FlightRecordFromJson(absl::string_view json);

// What the newest record of each member tells. Members of their latest view that left no record are
// in it without a report.
Situation SituationOf(const std::vector<FlightRecord>& records);

}  // namespace perigee
