#include "runtime/control/attach_stream.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/control/convert.h"

namespace perigee {

AttachStream::AttachStream(CoordinatorLoop& loop, grpc::CallbackServerContext* context)
    : loop_(loop), context_(context) {
  loop_.Post([this](absl::Time, Coordinator&) { Begin(); });
}

void AttachStream::OnReadDone(bool ok) {
  // Checked on gRPC's thread, so that a flood of nonsense costs the loop little.
  absl::StatusOr<MemberMessage> message = absl::CancelledError("the member ended the stream");
  if (ok) message = FromProto(incoming_);
  loop_.Post([this, message = std::move(message)](absl::Time now, Coordinator& coordinator) {
    OnRead(now, coordinator, message);
  });
}

void AttachStream::OnWriteDone(bool ok) {
  loop_.Post([this, ok](absl::Time now, Coordinator& coordinator) {
    writing_ = false;
    if (ok) {
      Pump();
    } else {
      OnLost(now, coordinator, grpc::Status(grpc::StatusCode::UNAVAILABLE, "write failed"));
    }
  });
}

void AttachStream::OnCancel() {
  loop_.Post([this](absl::Time now, Coordinator& coordinator) {
    OnLost(now, coordinator, grpc::Status::CANCELLED);
  });
}

void AttachStream::OnDone() {
  loop_.Post([this](absl::Time now, Coordinator& coordinator) {
    OnLost(now, coordinator, grpc::Status::OK);
    loop_.RemoveStream(id_);
    delete this;
  });
}

void AttachStream::Begin() {
  if (loop_.stream_count() >= kStreamsMax) {
    id_ = loop_.AddStream(this);
    lost_ = true;
    return FinishOnce(grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED,
                                   absl::StrCat("there are already ", kStreamsMax, " streams")));
  }
  id_ = loop_.AddStream(this);
  // The member takes the stream for connected when the metadata arrives.
  StartSendInitialMetadata();
  StartRead(&incoming_);
}

void AttachStream::OnRead(absl::Time now, Coordinator& coordinator,
                          absl::StatusOr<MemberMessage> message) {
  if (finished_ || closing_) return;
  if (message.ok()) {
    coordinator.OnMessage(now, id_, *message);
    StartRead(&incoming_);
  } else if (absl::IsCancelled(message.status())) {
    OnLost(now, coordinator, grpc::Status::OK);
  } else {
    OnLost(now, coordinator,
           grpc::Status(grpc::StatusCode::INVALID_ARGUMENT,
                        absl::StrCat("malformed message: ", message.status().message())));
  }
}

void AttachStream::OnLost(absl::Time now, Coordinator& coordinator, const grpc::Status& status) {
  if (!lost_) {
    lost_ = true;
    coordinator.OnStreamClosed(now, id_);
  }
  FinishOnce(status);
}

void AttachStream::Send(const CoordinatorMessage& message) {
  if (finished_ || closing_) return;
  proto::CoordinatorMessage out = ToProto(message);
  queue_bytes_ += out.ByteSizeLong();
  if (queue_.size() >= kQueueMax || queue_bytes_ > kQueueBytesMax) return Cancel();
  queue_.push_back(std::move(out));
  Pump();
}

void AttachStream::Close() {
  closing_ = true;
  Pump();
}

// The status comes when gRPC says that the stream is cancelled: OnCancel.
void AttachStream::Cancel() {
  if (finished_) return;
  closing_ = true;
  queue_.clear();
  context_->TryCancel();
}

void AttachStream::Pump() {
  if (writing_ || finished_) return;
  if (!queue_.empty()) {
    outgoing_ = std::move(queue_.front());
    queue_.pop_front();
    queue_bytes_ -= outgoing_.ByteSizeLong();
    writing_ = true;
    StartWrite(&outgoing_);
  } else if (closing_) {
    FinishOnce(grpc::Status::OK);
  }
}

void AttachStream::FinishOnce(const grpc::Status& status) {
  if (finished_) return;
  finished_ = true;
  queue_.clear();
  // A write that its peer does not take would keep the stream, and the status behind it, for ever.
  if (writing_) context_->TryCancel();
  Finish(status);
}

}  // namespace perigee
