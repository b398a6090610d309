// A member's stream to the coordinator, over gRPC. Reconnects by itself (back-off with jitter, at most 1 s apart)
// until it is stopped; the owner registers again on every connection.
//
//   ControlClient client({.address = "127.0.0.1:7000", .insecure = true}, callbacks);
//   client.Start();  client.Send(Register{...});  client.Stop();
//
// Thread-safe. Callbacks run on a thread of gRPC, one at a time: they only post to a mailbox.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "runtime/control_message.h"

namespace perigee {

class ControlClient {
 public:
  static constexpr size_t kQueueMax = 4096;  // messages waiting for the stream; the oldest Beat is dropped first

  struct Options {
    std::string address;
    bool insecure = false;  // required to be true in this version: mTLS is not there yet
  };
  struct Callbacks {
    std::function<void()> on_connected;
    std::function<void(CoordinatorMessage)> on_message;
    std::function<void(absl::Status)> on_disconnected;  // once per lost connection or failed attempt
  };

  ControlClient(const Options& options, Callbacks callbacks);
  ~ControlClient();  // stops

  void Start();
  // Sends on the present connection; dropped when there is none (the owner registers again).
  void Send(const MemberMessage& message);
  // Waits at most `deadline` for what was sent, then ends the stream. No callback runs after it returns.
  void Stop(absl::Duration deadline);

 private:
  struct State;
  std::shared_ptr<State> state_;  // shared with gRPC's callbacks, which may outlive this object by a moment
};

}  // namespace perigee
