// A member as the control plane sees it: a ControlClient with the acceptor behind it, and no
// training.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "runtime/clock_offset.h"
#include "runtime/control/control_client.h"
#include "runtime/control_message.h"
#include "runtime/membership.h"
#include "runtime/version.h"

namespace perigee {

// Long enough for any machine; a test that waits this long has failed.
inline constexpr absl::Duration kTestDeadline = absl::Seconds(60);

class TestMember {
 public:
  struct Seen {
    int connects = 0;
    std::vector<absl::Status> disconnects;
    std::optional<Welcome> welcome;
    std::optional<Removed> removed;
    std::optional<View> view;
  };

  TestMember(const std::string& address, uint32_t node, uint32_t start_members,
             const std::string& version = kVersion,
             const std::optional<Credentials>& credentials = std::nullopt)
      : node_(node),
        incarnation_{.high = node + 1, .low = static_cast<uint64_t>(absl::GetCurrentTimeNanos())},
        start_members_(start_members),
        version_(version),
        membership_(node_, incarnation_),
        client_({.address = address, .credentials = credentials, .insecure = !credentials},
                {.on_connected = [this] { OnConnected(); },
                 .on_message = [this](const CoordinatorMessage& m) { OnMessage(m); },
                 .on_disconnected = [this](const absl::Status& s) { OnDisconnected(s); }}) {
    client_.Start();
  }
  ~TestMember() { client_.Stop(absl::ZeroDuration()); }

  ControlClient& client() { return client_; }
  NodeId node() const { return node_; }
  const Incarnation& incarnation() const { return incarnation_; }

  // Waits until `reached`; false after kTestDeadline.
  bool WaitFor(const std::function<bool(const Seen&)>& reached) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, absl::ToChronoSeconds(kTestDeadline),
                             [&] { return reached(seen_); });
  }
  bool WaitForEpoch(uint64_t epoch) {
    return WaitFor(
        [=](const Seen& seen) { return seen.view && seen.view->epoch.value() >= epoch; });
  }
  Seen seen() {
    std::lock_guard lock(mutex_);
    return seen_;
  }
  void SendBeat(uint64_t step = 41) {
    std::lock_guard lock(mutex_);
    Beat beat = MakeBeat();
    beat.step = StepId(step);
    client_.Send(beat);
  }

 private:
  void OnConnected() {
    std::lock_guard lock(mutex_);
    ++seen_.connects;
    client_.Send(Register{.node = node_,
                          .incarnation = incarnation_,
                          .address = "127.0.0.1:1",
                          .version = version_,
                          .start_members = start_members_,
                          .installed = membership_.installed()});
    changed_.notify_all();
  }
  void OnDisconnected(const absl::Status& status) {
    std::lock_guard lock(mutex_);
    seen_.disconnects.push_back(status);
    changed_.notify_all();
  }
  void OnMessage(const CoordinatorMessage& message) {
    std::lock_guard lock(mutex_);
    heard_.OnMessage(absl::Now(), message);
    if (const auto* welcome = std::get_if<Welcome>(&message)) seen_.welcome = *welcome;
    if (const auto* removed = std::get_if<Removed>(&message)) seen_.removed = *removed;
    if (const auto* prepare = std::get_if<Prepare>(&message)) {
      client_.Send(membership_.OnPrepare(*prepare, {}));
    }
    if (const auto* accept = std::get_if<Accept>(&message)) {
      client_.Send(membership_.OnAccept(*accept, {}));
    }
    if (const auto* install = std::get_if<Install>(&message)) {
      membership_.OnInstall(*install);
      seen_.view = membership_.installed()->view;
      client_.Send(MakeBeat());
    }
    changed_.notify_all();
  }
  Beat MakeBeat() {
    Beat beat{.step = StepId(41), .active = true, .clock = heard_.Report(absl::Now())};
    if (membership_.installed()) beat.epoch = membership_.installed()->view.epoch;
    beat.stats.training_loss = 0.01;
    beat.ops.push_back({.op = OpId::Of(StepId(41), 0),
                        .epoch = beat.epoch,
                        .progress = 0.5,
                        .age = absl::Milliseconds(1500),
                        .waiting_for = {NodeId(1), NodeId(2)}});
    return beat;
  }

  const NodeId node_;
  const Incarnation incarnation_;
  const uint32_t start_members_;
  const std::string version_;
  std::mutex mutex_;
  std::condition_variable changed_;
  Seen seen_;
  Membership membership_;
  HeardClock heard_;
  ControlClient client_;
};

}  // namespace perigee
