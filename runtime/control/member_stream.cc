#include "runtime/control/member_stream.h"

#include <mutex>
#include <utility>
#include <variant>
#include <vector>

#include "runtime/control/convert.h"
#include "runtime/control/join_token.h"
#include "runtime/control/tls.h"

namespace perigee {
namespace {

// A coordinator whose host died or that is stopped answers no ping.
constexpr int kKeepaliveMs = 1000;
constexpr int kKeepaliveTimeoutMs = 2000;

grpc::ChannelArguments Arguments() {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMessageBytesMax);
  arguments.SetMaxSendMessageSize(kMessageBytesMax);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // Every attempt makes its own connection: the client alone decides when to try again, and no two
  // clients of a process share one.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // A proxy from the environment is meant for the web.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return arguments;
}

}  // namespace

std::unique_ptr<MemberStream> MemberStream::Start(const ControlClient::Options& options,
                                                  uint64_t attempt, Events events) {
  std::unique_ptr<MemberStream> stream(new MemberStream(options, attempt, std::move(events)));
  stream->stub_->async()->Attach(&stream->context_, stream.get());
  // Without the hold gRPC could end the stream while the client's thread is about to write.
  stream->AddHold();
  stream->StartCall();
  return stream;
}

void MemberStream::Abandon(std::unique_ptr<MemberStream> stream) {
  // Never freed: see Start.
  [[maybe_unused]] static auto* const channels = new std::vector<std::shared_ptr<grpc::Channel>>;
  static std::mutex mutex;
  {
    std::lock_guard lock(mutex);
    channels->push_back(stream->channel_);
  }
  if (!stream->parted_.exchange(true)) static_cast<void>(stream.release());
}

MemberStream::MemberStream(const ControlClient::Options& options, uint64_t attempt, Events events)
    : attempt_(attempt),
      join_key_(options.credentials ? options.credentials->join_key : ""),
      events_(std::move(events)),
      channel_(MakeChannel(options.address, options.credentials, Arguments())),
      stub_(proto::Control::NewStub(channel_)) {}

void MemberStream::Read() { StartRead(&incoming_); }

void MemberStream::Write(const MemberMessage& message) {
  outgoing_ = ToProto(message);
  if (const auto* registration = std::get_if<Register>(&message); registration && !nonce_.empty()) {
    outgoing_.mutable_registration()->set_token(
        JoinToken(join_key_, nonce_, registration->node, registration->incarnation));
  }
  StartWrite(&outgoing_);
}

void MemberStream::EndWrites() { StartWritesDone(); }

void MemberStream::OnReadInitialMetadataDone(bool ok) {
  if (ok) {
    const auto& metadata = context_.GetServerInitialMetadata();
    const auto nonce = metadata.find(kJoinNonceMetadata);
    if (nonce != metadata.end()) nonce_.assign(nonce->second.data(), nonce->second.size());
  }
  Post(ok ? Event::Kind::kConnected : Event::Kind::kFailed);
}

void MemberStream::OnReadDone(bool ok) {
  if (!ok) return Post(Event::Kind::kFailed);
  events_({.kind = Event::Kind::kRead, .attempt = attempt_, .message = FromProto(incoming_)});
}

void MemberStream::OnWriteDone(bool ok) { Post(ok ? Event::Kind::kWritten : Event::Kind::kFailed); }

void MemberStream::OnDone(const grpc::Status& status) {
  // The client may destroy the stream as soon as it sees the event, or before when it was
  // abandoned.
  const Events events = std::move(events_);
  Event event{.kind = Event::Kind::kDone,
              .attempt = attempt_,
              .status = absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                                     status.error_message())};
  if (parted_.exchange(true)) {
    delete this;
  } else {
    events(std::move(event));
  }
}

}  // namespace perigee
