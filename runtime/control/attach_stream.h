// The coordinator's end of one member's stream. gRPC's callbacks only post to the CoordinatorLoop;
// on its thread alone are messages handled and operations started, so that nothing here needs a
// lock.
//
// A message that is malformed or longer than kMessageBytesMax, a join token that does not fit, or a
// member that says nothing or does not read what it is sent, ends this stream and nothing else.
// Messages are bytes here, because gRPC would parse one of any length before it could be refused.
#pragma once

#include <grpcpp/grpcpp.h>

#include <deque>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "runtime/control/coordinator_loop.h"
#include "runtime/control/gate.h"
#include "runtime/control_message.h"
#include "runtime/coordinator.h"

namespace perigee {

class AttachStream final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                           public CoordinatorLoop::Stream {
 public:
  // What waits for the member: a view or a plan can be long, and 10,000 members times this is the
  // worst case.
  static constexpr size_t kQueueMax = 256;
  static constexpr size_t kQueueBytesMax = size_t{4} << 20;
  static constexpr size_t kStreamsMax = 12000;  // of all members together; more are refused

  // Owns itself: deleted on the loop's thread when gRPC is done with it. `loop` and `gate`, which
  // has admitted `peer`, outlive it.
  AttachStream(CoordinatorLoop& loop, Gate& gate, const Peer& peer,
               grpc::CallbackServerContext* context);

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  void Send(const CoordinatorMessage& message) override;
  void Close() override;
  void Cancel() override;
  void OnSilent() override;

 private:
  void Begin();
  absl::StatusOr<MemberMessage> TakeIncoming();
  void OnRead(absl::Time now, Coordinator& coordinator, absl::StatusOr<MemberMessage> message);
  void OnLost(absl::Time now, Coordinator& coordinator, const grpc::Status& status);
  void Pump();
  void FinishOnce(const grpc::Status& status);

  CoordinatorLoop& loop_;
  Gate& gate_;
  const Peer peer_;
  const std::string nonce_;  // for the join token
  grpc::CallbackServerContext* context_;

  // The loop's thread only, but for the two messages while gRPC reads or writes them.
  StreamId id_ = 0;
  std::deque<grpc::ByteBuffer> queue_;
  size_t queue_bytes_ = 0;
  bool writing_ = false;
  bool closing_ = false;
  bool lost_ = false;      // the coordinator knows that it is closed
  bool finished_ = false;  // no operation may be started any more
  grpc::ByteBuffer incoming_;
  grpc::ByteBuffer outgoing_;
};

}  // namespace perigee
