#include "runtime/host/flight_recorder.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/version.h"
#include "transport/base/status.h"

namespace perigee {

FlightRecorder::FlightRecorder(FlightRecorderOptions options, NodeId self)
    : options_(std::move(options)), self_(self) {
  if (enabled()) events_.reserve(kEventsMax);
}

void FlightRecorder::Note(FlightEvent event) {
  size_t size = std::min(event.text.size(), kTextBytesMax);
  // Not in the middle of a character, which no JSON may hold.
  while (size < event.text.size() && size > 0 && (event.text[size] & 0xc0) == 0x80) --size;
  event.text.resize(size);
  if (events_.size() < kEventsMax) {
    events_.push_back(std::move(event));
    return;
  }
  events_[oldest_] = std::move(event);
  oldest_ = (oldest_ + 1) % kEventsMax;
}

void FlightRecorder::OnStarted(absl::Time now, OpId op) {
  if (enabled()) Note({.time = now, .kind = "started", .op = op});
}

void FlightRecorder::OnEvent(absl::Time now, const NodeEvent& event) {
  if (!enabled()) return;
  if (const auto* finished = std::get_if<OpFinished>(&event)) {
    const bool good = finished->status.ok();
    Note({.time = now,
          .kind = good ? "finished" : "failed",
          .op = finished->op,
          .text = good ? "" : std::string(finished->status.message())});
  } else if (const auto* needs = std::get_if<OpNeedsInput>(&event)) {
    Note({.time = now, .kind = "needs input", .op = needs->op});
  } else if (const auto* changed = std::get_if<ViewChanged>(&event)) {
    const View& view = changed->proposal.view;
    FlightView& kept = views_.emplace_back(FlightView{.epoch = view.epoch,
                                                      .planned = changed->proposal.planned,
                                                      .first_step = view.first_step,
                                                      .reason = changed->proposal.reason});
    for (const Member& member : view.members) kept.members.push_back(member.node);
    if (views_.size() > kViewsMax) views_.pop_front();
    Note({.time = now,
          .kind = "view",
          .text = absl::StrCat(ToString(view), ": ", changed->proposal.reason)});
  } else if (const auto* left = std::get_if<LeftView>(&event)) {
    Note({.time = now, .kind = "left", .text = left->reason});
  }
}

void FlightRecorder::OnControl(absl::Time now, const MemberMessage& message) {
  if (!enabled()) return;
  if (const auto* suspect = std::get_if<Suspect>(&message)) {
    Note({.time = now,
          .kind = "suspect",
          .node = suspect->node,
          .text = absl::StrCat("silent for ", absl::FormatDuration(suspect->silent_for))});
  } else if (const auto* promise = std::get_if<Promise>(&message)) {
    Note({.time = now,
          .kind = "promise",
          .text = absl::StrCat("view ", promise->epoch.value(), promise->frozen ? ", frozen" : "",
                               promise->granted ? "" : ", refused")});
  }
}

void FlightRecorder::OnConnection(absl::Time now, const absl::Status& connection) {
  connected_ = connection.ok();
  if (!enabled()) return;
  Note({.time = now,
        .kind = "coordinator",
        .text = connected_ ? "connected" : std::string(connection.message())});
}

std::optional<FlightRecord> FlightRecorder::Take(absl::Time now, const Node& node,
                                                 const std::string& reason) {
  if (!enabled() || now < taken_ + options_.interval) return std::nullopt;
  taken_ = now;
  FlightRecord record{.version = kVersion,
                      .written = now,
                      .reason = reason,
                      .coordinator_connected = connected_,
                      .waiting_reason = node.waiting_reason()};
  record.member = {.node = self_, .in_view = node.view() != nullptr, .connected = connected_};
  record.member.report = node.Report(now);
  record.missing = node.MissingTransfers();
  record.views.assign(views_.begin(), views_.end());
  for (size_t i = 0; i < events_.size(); ++i) {
    record.events.push_back(events_[(oldest_ + i) % events_.size()]);
  }
  return record;
}

// The first free name of this node, else the one that was written longest ago.
std::string FlightRecorder::NextPath() const {
  std::string oldest;
  int64_t oldest_ns = 0;
  for (size_t i = 0; i < options_.files_max; ++i) {
    std::string path =
        absl::StrCat(options_.folder, "/flight-node", self_.value(), "-", i, ".json");
    struct stat file;
    if (stat(path.c_str(), &file) != 0) return path;
    const int64_t written_ns = file.st_mtim.tv_sec * 1'000'000'000 + file.st_mtim.tv_nsec;
    if (oldest.empty() || written_ns < oldest_ns) {
      oldest = path;
      oldest_ns = written_ns;
    }
  }
  return oldest;
}

absl::Status FlightRecorder::Write(const FlightRecord& record) const {
  // A reader never sees half a record.
  const std::string path = NextPath(), draft = absl::StrCat(path, ".part");
  PERIGEE_ASSIGN_OR_RETURN(const std::string json, FlightRecordToJson(record));
  std::FILE* file = std::fopen(draft.c_str(), "w");
  bool good = file != nullptr;
  good = good && std::fwrite(json.data(), 1, json.size(), file) == json.size();
  const int write_error = errno;
  if (file != nullptr && std::fclose(file) != 0) good = false;
  if (good && std::rename(draft.c_str(), path.c_str()) == 0) return absl::OkStatus();
  return absl::ErrnoToStatus(good ? errno : write_error,
                             absl::StrCat("flight record ", path, " cannot be written"));
}

}  // namespace perigee
