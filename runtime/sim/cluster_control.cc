// The control plane of the simulated cluster: the coordinator's life, and one ordered, reliable
// stream per connection. A stream ends at each side when the close that the other side sent arrives
// there.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/sim/cluster.h"
#include "transport/base/status.h"

namespace perigee {

void Cluster::StartCoordinator() {
  ++coordinator_life_;
  coordinator_wake_at_ = absl::InfiniteFuture();
  coordinator_clock_ = options_.clocks.coordinator;
  coordinator_ =
      std::make_unique<Coordinator>(options_.coordinator, options_.plan, "", rng_.Fork());
  coordinator_->Restore(CoordinatorNow(), written_);
  WriteRecords();
}

void Cluster::WriteRecords() {
  while (auto record = coordinator_->NextRecord()) {
    Apply(*record, options_.coordinator.events_max, &written_);
  }
}

void Cluster::RestartCoordinator() {
  KillCoordinator();
  StartCoordinator();
}

void Cluster::KillCoordinator() {
  PERIGEE_CHECK(!in_service_);
  if (coordinator_ == nullptr) return;
  coordinator_.reset();
  std::vector<StreamId> ids;
  for (const auto& [id, stream] : streams_) ids.push_back(id);
  for (StreamId id : ids) CloseDown(id);
}

absl::Status Cluster::Drain(NodeId id) {
  if (coordinator_ == nullptr) return absl::FailedPreconditionError("there is no coordinator");
  absl::Status drained = coordinator_->Drain(CoordinatorNow(), id, now_, "script");
  WriteRecords();
  return drained;
}

absl::Status Cluster::Undrain(NodeId id) {
  if (coordinator_ == nullptr) return absl::FailedPreconditionError("there is no coordinator");
  absl::Status undrained = coordinator_->Undrain(CoordinatorNow(), id, "script");
  WriteRecords();
  return undrained;
}

absl::Status Cluster::Evict(NodeId id, bool force) {
  if (coordinator_ == nullptr) return absl::FailedPreconditionError("there is no coordinator");
  absl::Status evicted = coordinator_->Evict(CoordinatorNow(), id, force, "script");
  WriteRecords();
  return evicted;
}

void Cluster::BreakStream(NodeId id) {
  const std::optional<StreamId> stream_id = processes_[id.value()].stream;
  auto found = stream_id.has_value() ? streams_.find(*stream_id) : streams_.end();
  if (found == streams_.end()) return;
  CloseUp(*stream_id);
  CloseDown(*stream_id);
  // What was on its way is lost; the events that announce it find nothing.
  found->second.up.clear();
  found->second.down.clear();
}

void Cluster::SetControlDown(NodeId id, bool down) {
  Process& process = processes_[id.value()];
  process.control_down = down;
  if (down) return;
  for (const Event& event : process.held_control) queue_.Push(now_, event);
  process.held_control.clear();
}

// Order is kept: nothing overtakes what was sent before.
absl::Time Cluster::ArrivesAt(absl::Time& last) {
  const absl::Time at = now_ + options_.control_delay + rng_.Unit() * options_.control_jitter_max;
  last = std::max(last, at);
  return last;
}

void Cluster::ServiceCoordinator() {
  if (coordinator_ == nullptr) return;
  WriteRecords();
  while (auto outgoing = coordinator_->NextMessage()) SendDown(*std::move(outgoing));
  const absl::Time wanted = std::max(now_, coordinator_->NextTimeout() - coordinator_clock_);
  if (wanted >= coordinator_wake_at_) return;
  coordinator_wake_at_ = wanted;
  queue_.Push(wanted, {Event::Kind::kCoordinatorWake, NodeId(), coordinator_life_});
}

void Cluster::HandleConnect(const Event& event) {
  Process& process = processes_[event.node.value()];
  if (process.node == nullptr || event.value != process.serial || process.stream.has_value())
    return;
  if (coordinator_ == nullptr || process.control_down) return ConnectLater(event.node);
  process.stream = next_stream_++;
  streams_[*process.stream] = {
      .node = event.node, .process = process.serial, .coordinator_life = coordinator_life_};
  process.node->OnControlConnected(Now(event.node));
  Service(event.node);
}

void Cluster::ConnectLater(NodeId id) {
  queue_.Push(now_ + options_.reconnect_after,
              {Event::Kind::kConnect, id, processes_[id.value()].serial});
}

void Cluster::SendUp(NodeId id, MemberMessage message) {
  const std::optional<StreamId> stream_id = processes_[id.value()].stream;
  if (!stream_id.has_value()) return;
  auto found = streams_.find(*stream_id);
  if (found == streams_.end() || found->second.closed_up) return;
  Stream& stream = found->second;
  stream.up.push_back(std::move(message));
  queue_.Push(ArrivesAt(stream.up_last), {Event::Kind::kToCoordinator, id, *stream_id});
}

void Cluster::SendDown(Coordinator::Outgoing outgoing) {
  auto found = streams_.find(outgoing.stream);
  if (found == streams_.end() || found->second.closed_down) return;
  Stream& stream = found->second;
  stream.down.push_back(std::move(outgoing.message));
  queue_.Push(ArrivesAt(stream.down_last), {Event::Kind::kToNode, stream.node, outgoing.stream});
  if (outgoing.close_after) CloseDown(outgoing.stream);
}

void Cluster::CloseUp(StreamId id) {
  auto found = streams_.find(id);
  if (found == streams_.end() || found->second.closed_up) return;
  Stream& stream = found->second;
  stream.closed_up = true;
  queue_.Push(ArrivesAt(stream.up_last), {Event::Kind::kClosedAtCoordinator, stream.node, id});
}

void Cluster::CloseDown(StreamId id) {
  auto found = streams_.find(id);
  if (found == streams_.end() || found->second.closed_down) return;
  Stream& stream = found->second;
  stream.closed_down = true;
  queue_.Push(ArrivesAt(stream.down_last), {Event::Kind::kClosedAtNode, stream.node, id});
}

void Cluster::HandleStream(const Event& event) {
  auto found = streams_.find(event.value);
  if (found == streams_.end()) return;
  if (event.kind == Event::Kind::kToNode || event.kind == Event::Kind::kClosedAtNode) {
    return HandleAtNode(event, found->second);
  }
  return HandleAtCoordinator(event, found->second);
}

void Cluster::HandleAtNode(const Event& event, Stream& stream) {
  Process& process = processes_[event.node.value()];
  const bool there =
      process.node != nullptr && process.serial == stream.process && process.stream == event.value;
  if (event.kind == Event::Kind::kToNode) {
    if (stream.down.empty()) return;
    const CoordinatorMessage message = std::move(stream.down.front());
    stream.down.pop_front();
    if (!there) return;
    process.node->OnControl(Now(event.node), message);
    return Service(event.node);
  }
  stream.ended_at_node = true;
  CloseUp(event.value);
  ForgetEnded(event.value);
  if (!there) return;
  process.stream.reset();
  process.node->OnControlDisconnected(Now(event.node));
  ConnectLater(event.node);
  Service(event.node);
}

void Cluster::HandleAtCoordinator(const Event& event, Stream& stream) {
  const bool there = coordinator_ != nullptr && stream.coordinator_life == coordinator_life_;
  if (event.kind == Event::Kind::kToCoordinator) {
    if (stream.up.empty()) return;
    const MemberMessage message = std::move(stream.up.front());
    stream.up.pop_front();
    if (!there) return;
    coordinator_->OnMessage(CoordinatorNow(), event.value, message);
    return ServiceCoordinator();
  }
  stream.ended_at_coordinator = true;
  CloseDown(event.value);
  ForgetEnded(event.value);
  if (!there) return;
  coordinator_->OnStreamClosed(CoordinatorNow(), event.value);
  ServiceCoordinator();
}

void Cluster::ForgetEnded(StreamId id) {
  auto found = streams_.find(id);
  if (found->second.ended_at_node && found->second.ended_at_coordinator) streams_.erase(found);
}

}  // namespace perigee
