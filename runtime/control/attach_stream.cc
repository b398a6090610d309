#include "runtime/control/attach_stream.h"

#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "proto/control.pb.h"
#include "runtime/control/convert.h"
#include "runtime/control/join_token.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

template <typename Message>
using Bytes = grpc::SerializationTraits<Message>;

}  // namespace

AttachStream::AttachStream(CoordinatorLoop& loop, Gate& gate, const Peer& peer,
                           grpc::CallbackServerContext* context)
    : loop_(loop),
      gate_(gate),
      peer_(peer),
      nonce_(gate.secure() ? RandomBytes32() : std::string()),
      context_(context) {
  loop_.Post([this](absl::Time, Coordinator&) { Begin(); });
}

void AttachStream::OnReadDone(bool ok) {
  // Checked on gRPC's thread, so that a flood of nonsense costs the loop little.
  absl::StatusOr<MemberMessage> message = absl::CancelledError("the member ended the stream");
  if (ok) message = TakeIncoming();
  loop_.Post([this, message = std::move(message)](absl::Time now, Coordinator& coordinator) {
    OnRead(now, coordinator, message);
  });
}

absl::StatusOr<MemberMessage> AttachStream::TakeIncoming() {
  const auto refuse = [this](Refusal cause, const absl::Status& why) {
    incoming_.Clear();
    return gate_.Refuse(cause, Rpc::kAttach, peer_, why);
  };
  if (const absl::Status fits = CheckLength(incoming_.Length()); !fits.ok()) {
    return refuse(Refusal::kTooLong, fits);
  }
  proto::MemberMessage parsed;
  absl::StatusOr<MemberMessage> message = absl::InvalidArgumentError("not a message of ours");
  if (Bytes<proto::MemberMessage>::Deserialize(&incoming_, &parsed).ok()) {
    message = FromProto(parsed);
  }
  if (!message.ok()) {
    return refuse(Refusal::kMalformed, absl::InvalidArgumentError(absl::StrCat(
                                           "malformed message: ", message.status().message())));
  }
  if (const auto* registration = std::get_if<Register>(&*message)) {
    const absl::Status known = gate_.CheckToken(parsed.registration().token(), nonce_,
                                                registration->node, registration->incarnation);
    if (!known.ok()) return refuse(Refusal::kBadToken, known);
  }
  return message;
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
  const bool many = loop_.stream_count() >= kStreamsMax;
  const bool strangers = loop_.unregistered_count() >= gate_.limits().unregistered_max;
  id_ = loop_.AddStream(this, gate_.limits().register_within);
  if (many || strangers) {
    lost_ = true;
    return FinishOnce(ToGrpc(
        gate_.Refuse(Refusal::kTooMany, Rpc::kAttach, peer_,
                     absl::ResourceExhaustedError(absl::StrCat(
                         "there are already ", many ? kStreamsMax : gate_.limits().unregistered_max,
                         " streams", many ? "" : " whose members have not registered")))));
  }
  if (gate_.secure()) context_->AddInitialMetadata(kJoinNonceMetadata, nonce_);
  // The member takes the stream for connected when the metadata arrives.
  StartSendInitialMetadata();
  StartRead(&incoming_);
}

void AttachStream::OnRead(absl::Time now, Coordinator& coordinator,
                          absl::StatusOr<MemberMessage> message) {
  if (finished_ || closing_) return;
  if (message.ok()) {
    if (std::holds_alternative<Register>(*message)) loop_.Registered(id_);
    coordinator.OnMessage(now, id_, *message);
    StartRead(&incoming_);
  } else if (absl::IsCancelled(message.status())) {
    OnLost(now, coordinator, grpc::Status::OK);
  } else {
    OnLost(now, coordinator, ToGrpc(message.status()));
  }
}

void AttachStream::OnSilent() {
  if (finished_) return;
  FinishOnce(ToGrpc(gate_.Refuse(
      Refusal::kSilent, Rpc::kAttach, peer_,
      absl::DeadlineExceededError(absl::StrCat(
          "no registration within ", absl::FormatDuration(gate_.limits().register_within))))));
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
  grpc::ByteBuffer out;
  bool owned = false;  // by `out`; always
  PERIGEE_CHECK(Bytes<proto::CoordinatorMessage>::Serialize(ToProto(message), &out, &owned).ok());
  queue_bytes_ += out.Length();
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
    outgoing_ = queue_.front();
    queue_.pop_front();
    queue_bytes_ -= outgoing_.Length();
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
