// The coordinator's end of one member's stream. gRPC's callbacks only post to the CoordinatorLoop;
// on its thread alone are messages handled and operations started, so that nothing here needs a
// lock.
//
// A message that is malformed or longer than kMessageBytesMax, or a member that does not read what
// it is sent, ends this stream and nothing else.
#pragma once

#include <grpcpp/grpcpp.h>

#include <deque>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/control.pb.h"
#include "runtime/control/coordinator_loop.h"
#include "runtime/control_message.h"
#include "runtime/coordinator.h"

namespace perigee {

class AttachStream final
    : public grpc::ServerBidiReactor<proto::MemberMessage, proto::CoordinatorMessage>,
      public CoordinatorLoop::Stream {
 public:
  // What waits for the member: a view or a plan can be long, and 10,000 members times this is the
  // worst case.
  static constexpr size_t kQueueMax = 256;
  static constexpr size_t kQueueBytesMax = size_t{4} << 20;
  static constexpr size_t kStreamsMax = 12000;  // of all members together; more are refused

  // Owns itself: deleted on the loop's thread when gRPC is done with it. `loop` outlives it.
  AttachStream(CoordinatorLoop& loop, grpc::CallbackServerContext* context);

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  void Send(const CoordinatorMessage& message) override;
  void Close() override;
  void Cancel() override;

 private:
  void Begin();
  void OnRead(absl::Time now, Coordinator& coordinator, absl::StatusOr<MemberMessage> message);
  void OnLost(absl::Time now, Coordinator& coordinator, const grpc::Status& status);
  void Pump();
  void FinishOnce(const grpc::Status& status);

  CoordinatorLoop& loop_;
  grpc::CallbackServerContext* context_;

  // The loop's thread only, but for the two messages while gRPC reads or writes them.
  StreamId id_ = 0;
  std::deque<proto::CoordinatorMessage> queue_;
  size_t queue_bytes_ = 0;
  bool writing_ = false;
  bool closing_ = false;
  bool lost_ = false;      // the coordinator knows that it is closed
  bool finished_ = false;  // no operation may be started any more
  proto::MemberMessage incoming_;
  proto::CoordinatorMessage outgoing_;
};

}  // namespace perigee
