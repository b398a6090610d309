// A member's stream to the coordinator, over gRPC. Reconnects by itself (back-off with jitter, at
// most 1 s apart) until it is stopped; the owner registers again on every connection.
//
//   ControlClient client({.address = "127.0.0.1:7000", .credentials = mine}, callbacks);
//   client.Start();  client.Send(Register{...});  client.Stop();
//
// Thread-safe. Callbacks run on the client's own thread, one at a time: they only post to a
// mailbox.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "runtime/control/credentials.h"
#include "runtime/control_message.h"

namespace perigee {

class ControlClient {
 public:
  static constexpr size_t kQueueMax =
      4096;  // messages waiting for the stream; the oldest Beat is dropped first

  struct Options {
    std::string address;
    // A member's, for mTLS. Without them `insecure` must be set.
    std::optional<Credentials> credentials = {};
    bool insecure = false;
  };
  struct Callbacks {
    std::function<void()> on_connected;
    std::function<void(CoordinatorMessage)> on_message;
    // Once per lost connection or failed attempt, with one line that says which. Unavailable, or
    // what the coordinator ended the stream with (InvalidArgument, ResourceExhausted,
    // PermissionDenied, Unauthenticated).
    std::function<void(absl::Status)> on_disconnected;
  };

  ControlClient(const Options& options, Callbacks callbacks);
  ~ControlClient();  // stops

  void Start();
  // Sends on the present connection; dropped when there is none (the owner registers again). When
  // the queue is full of messages that are not beats, the connection is given up: the coordinator
  // does not read.
  void Send(const MemberMessage& message);
  // Waits at most `deadline` for what was sent, then ends the stream. No callback runs after it
  // returns (from a callback: after that callback returns). Neither this nor the destructor waits
  // for a coordinator that hangs.
  void Stop(absl::Duration deadline);

 private:
  struct State;
  std::shared_ptr<State>
      state_;  // shared with gRPC's callbacks, which may outlive this object by a moment
  std::thread thread_;
};

}  // namespace perigee
