// One connection attempt of a ControlClient: one channel, one stream, from the member's end.
// gRPC's callbacks only post to the `events` of the client, whose thread alone starts operations
// and destroys the stream.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/control.grpc.pb.h"
#include "runtime/control/control_client.h"
#include "runtime/control_message.h"

namespace perigee {

class MemberStream final
    : public grpc::ClientBidiReactor<proto::MemberMessage, proto::CoordinatorMessage> {
 public:
  struct Event {
    enum class Kind : uint8_t { kConnected, kRead, kWritten, kFailed, kDone };
    Kind kind;
    uint64_t attempt;
    absl::StatusOr<CoordinatorMessage> message = absl::UnknownError("");  // kRead
    absl::Status status = absl::OkStatus();                               // kDone
  };
  using Events = std::function<void(Event)>;  // from any thread

  // Starts an attempt, whose events carry its number. kDone comes after Release() and after every
  // operation has ended; only then may the stream be destroyed, and not from a callback of gRPC:
  // the last channel of a process takes gRPC's callback threads with it, and waits for them.
  static std::unique_ptr<MemberStream> Start(const ControlClient::Options& options,
                                             uint64_t attempt, Events events);

  // Until Release(). One Write at a time; kWritten says when the next may follow.
  void Read();
  void Write(const MemberMessage& message);
  void EndWrites();
  // Promises that nothing more is started.
  void Release() { RemoveHold(); }
  // At any time.
  void Cancel() { context_.TryCancel(); }
  // Instead of destroying a stream whose kDone does not come. It ends when it ends; its channel
  // stays until the process does.
  static void Abandon(std::unique_ptr<MemberStream> stream);

  void OnReadInitialMetadataDone(bool ok) override;
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;

 private:
  MemberStream(const ControlClient::Options& options, uint64_t attempt, Events events);
  void Post(Event::Kind kind) { events_({.kind = kind, .attempt = attempt_}); }

  const uint64_t attempt_;
  const std::string join_key_;
  std::string nonce_;  // of this stream, once connected
  Events events_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<proto::Control::Stub> stub_;
  grpc::ClientContext context_;
  proto::CoordinatorMessage incoming_;
  proto::MemberMessage outgoing_;
  // Done or abandoned. Whoever is second destroys an abandoned stream.
  std::atomic<bool> parted_ = false;
};

}  // namespace perigee
