// What a member could send if it were not ours.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <optional>
#include <string>

#include "absl/time/clock.h"
#include "proto/control.grpc.pb.h"
#include "runtime/control/join_token.h"
#include "runtime/control/tls.h"
#include "tests/runtime/control/test_member.h"

namespace perigee {

class RawStream {
 public:
  explicit RawStream(const std::string& address,
                     const std::optional<Credentials>& credentials = std::nullopt)
      : stub_(proto::Control::NewStub(MakeChannel(address, credentials, Arguments()))) {
    context_.set_deadline(absl::ToChronoTime(absl::Now() + kTestDeadline));
    stream_ = stub_->Attach(&context_);
  }
  // What the coordinator opened the stream with; waits for it.
  const std::string& Nonce() {
    if (!nonce_.empty()) return nonce_;
    stream_->WaitForInitialMetadata();
    const auto& metadata = context_.GetServerInitialMetadata();
    const auto nonce = metadata.find(kJoinNonceMetadata);
    if (nonce != metadata.end()) nonce_.assign(nonce->second.data(), nonce->second.size());
    return nonce_;
  }
  bool Write(const proto::MemberMessage& message) { return stream_->Write(message); }
  bool Read(proto::CoordinatorMessage* message) { return stream_->Read(message); }
  // Reads to the end; what the server ended the stream with.
  grpc::Status End() {
    proto::CoordinatorMessage message;
    while (stream_->Read(&message)) {
    }
    return stream_->Finish();
  }

 private:
  static grpc::ChannelArguments Arguments() {
    grpc::ChannelArguments arguments;
    arguments.SetMaxSendMessageSize(-1);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    // What is not read stays with the sender, instead of in megabytes of buffers here.
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 65535);
    return arguments;
  }

  std::unique_ptr<proto::Control::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<proto::MemberMessage, proto::CoordinatorMessage>>
      stream_;
  std::string nonce_;
};

}  // namespace perigee
