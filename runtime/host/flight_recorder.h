// Remembers what befell a member lately, and writes it down when one of its waits passes its
// deadline: a JSON file (runtime/control/flight_record.h) per such wait, few and bounded.
//
//   FlightRecorder recorder({.folder = "/var/tmp/perigee"}, self);
//   recorder.OnEvent(now, event);                            // as they come
//   FlightRecord record = recorder.Take(now, node, reason);  // on the loop's thread
//   absl::Status status = recorder.Write(record);            // on any one thread at a time
//
// Without a folder every call does nothing. Not thread-safe, but Write touches nothing that the
// other calls do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "runtime/control/flight_record.h"
#include "runtime/node.h"

namespace perigee {

struct FlightRecorderOptions {
  std::string folder;  // must exist; empty: nothing is recorded
  // Files of one node, whatever its incarnations; the oldest is written over.
  size_t files_max = 8;
  // A program that waits in short turns leaves one record, not hundreds.
  absl::Duration interval = absl::Seconds(10);
};

class FlightRecorder {
 public:
  static constexpr size_t kEventsMax = 10000;
  static constexpr size_t kViewsMax = 16;
  static constexpr size_t kTextBytesMax = 256;  // of one event; with kEventsMax at most some 5 MB

  FlightRecorder(FlightRecorderOptions options, NodeId self);

  bool enabled() const { return !options_.folder.empty(); }

  void OnStarted(absl::Time now, OpId op);
  void OnEvent(absl::Time now, const NodeEvent& event);
  void OnControl(absl::Time now, const MemberMessage& message);  // on its way to the coordinator
  void OnConnection(absl::Time now, const absl::Status& connection);

  // Nothing when it is too soon after the last one.
  std::optional<FlightRecord> Take(absl::Time now, const Node& node, const std::string& reason);
  // The errors of files, naming the path.
  absl::Status Write(const FlightRecord& record) const;

 private:
  void Note(FlightEvent event);
  std::string NextPath() const;

  FlightRecorderOptions options_;
  NodeId self_;
  bool connected_ = false;
  absl::Time taken_ = absl::InfinitePast();
  std::deque<FlightView> views_;
  // A ring: once full, `oldest_` is written over.
  std::vector<FlightEvent> events_;
  size_t oldest_ = 0;
};

}  // namespace perigee
