// One connection attempt of a ControlClient: one channel, one stream, from the member's end. gRPC's
// callbacks only post to the `events` of the client, whose thread alone starts operations.
#pragma once

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/control.grpc.pb.h"
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

  // Starts an attempt, whose events carry its number. The stream owns itself and is deleted after
  // kDone, which comes after Release() and after every operation has ended.
  static MemberStream* Start(const std::string& address, uint64_t attempt, Events events);

  // Until Release(). One Write at a time; kWritten says when the next may follow.
  void Read();
  void Write(const MemberMessage& message);
  void EndWrites();
  // Promises that nothing more is started.
  void Release() { RemoveHold(); }
  // To cancel it, even after Release(): the only part that may outlive the stream, hence shared.
  std::shared_ptr<grpc::ClientContext> context() const { return context_; }

  void OnReadInitialMetadataDone(bool ok) override;
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;

 private:
  MemberStream(const std::string& address, uint64_t attempt, Events events);
  void Post(Event::Kind kind) { events_({.kind = kind, .attempt = attempt_}); }

  const uint64_t attempt_;
  Events events_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<proto::Control::Stub> stub_;
  std::shared_ptr<grpc::ClientContext> context_ = std::make_shared<grpc::ClientContext>();
  proto::CoordinatorMessage incoming_;
  proto::MemberMessage outgoing_;
};

}  // namespace perigee
