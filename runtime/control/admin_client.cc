#include "runtime/control/admin_client.h"

#include <grpcpp/grpcpp.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "proto/control.grpc.pb.h"
#include "runtime/control/tls.h"
#include "runtime/version.h"

namespace perigee {
namespace {

// While events are followed there is no deadline: pings notice that the coordinator is gone.
constexpr int kKeepaliveMs = 2000;

grpc::ChannelArguments Arguments() {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(AdminClient::kReplyBytesMax);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveMs);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return arguments;
}

template <typename Request>
Request Versioned() {
  Request request;
  request.set_version(kVersion);
  return request;
}

}  // namespace

struct AdminClient::Connection {
  Connection(const std::string& address, const std::optional<Credentials>& credentials)
      : address(address),
        secure(credentials.has_value()),
        stub(proto::Admin::NewStub(MakeChannel(address, credentials, Arguments()))) {}

  // For the operator: what, where, what to do next.
  absl::Status Explain(const grpc::Status& status) const {
    const auto code = static_cast<absl::StatusCode>(status.error_code());
    switch (code) {
      case absl::StatusCode::kOk:
        return absl::OkStatus();
      case absl::StatusCode::kUnavailable:
        return absl::UnavailableError(absl::StrCat(
            "no coordinator at ", address, ": is perigeed running there",
            secure ? absl::StrCat(", with certificates of the same CA, and do its ",
                                  "clock and yours agree? (", status.error_message(), ")")
                   : "?"));
      case absl::StatusCode::kDeadlineExceeded:
        return absl::DeadlineExceededError(absl::StrCat(
            "the coordinator at ", address, " did not answer within ",
            absl::FormatDuration(kDeadline), ": is perigeed stopped, or the network cut?"));
      case absl::StatusCode::kUnimplemented:
        return absl::UnimplementedError(
            absl::StrCat("what listens at ", address, " does not answer operators of version ",
                         kVersion, ": check --address and the version of perigeed"));
      default:
        return absl::Status(code,
                            absl::StrCat(status.error_message(), " (perigeed at ", address, ")"));
    }
  }

  template <typename Reply, typename Method, typename Request>
  absl::StatusOr<Reply> Ask(Method method, const Request& request) {
    const absl::Time deadline = absl::Now() + kDeadline;
    while (true) {
      grpc::ClientContext context;
      context.set_deadline(absl::ToChronoTime(deadline));
      Reply reply;
      const absl::Status status = Explain((stub.get()->*method)(&context, request, &reply));
      if (status.ok()) return reply;
      const bool again = absl::IsResourceExhausted(status) && absl::Now() + kAskAgain < deadline;
      if (!again) return status;
      absl::SleepFor(kAskAgain);
    }
  }

  const std::string address;
  const bool secure;
  const std::unique_ptr<proto::Admin::Stub> stub;
};

AdminClient::AdminClient(const std::string& address, const std::optional<Credentials>& credentials)
    : connection_(std::make_unique<Connection>(address, credentials)) {}

AdminClient::AdminClient(AdminClient&&) noexcept = default;

AdminClient::~AdminClient() = default;

absl::StatusOr<proto::StatusReply> AdminClient::Status() {
  return connection_->Ask<proto::StatusReply>(&proto::Admin::Stub::Status,
                                              Versioned<proto::AdminRequest>());
}

absl::StatusOr<proto::NodesReply> AdminClient::Nodes() {
  return connection_->Ask<proto::NodesReply>(&proto::Admin::Stub::Nodes,
                                             Versioned<proto::AdminRequest>());
}

absl::StatusOr<proto::ViewsReply> AdminClient::Views() {
  return connection_->Ask<proto::ViewsReply>(&proto::Admin::Stub::Views,
                                             Versioned<proto::AdminRequest>());
}

absl::StatusOr<proto::OpsReply> AdminClient::Ops() {
  return connection_->Ask<proto::OpsReply>(&proto::Admin::Stub::Ops,
                                           Versioned<proto::AdminRequest>());
}

absl::StatusOr<proto::SituationReply> AdminClient::Situation() {
  return connection_->Ask<proto::SituationReply>(&proto::Admin::Stub::Situation,
                                                 Versioned<proto::AdminRequest>());
}

absl::StatusOr<proto::PlanReply> AdminClient::Plan() {
  return connection_->Ask<proto::PlanReply>(&proto::Admin::Stub::Plan,
                                            Versioned<proto::AdminRequest>());
}

absl::Status AdminClient::Events(bool follow,
                                 const std::function<void(const proto::Event&)>& on_event) {
  auto request = Versioned<proto::EventsRequest>();
  request.set_follow(follow);
  grpc::ClientContext context;
  if (!follow) context.set_deadline(absl::ToChronoTime(absl::Now() + kDeadline));
  const auto reader = connection_->stub->Events(&context, request);
  proto::Event event;
  bool any = false;
  while (reader->Read(&event)) {
    any = true;
    on_event(event);
  }
  const grpc::Status status = reader->Finish();
  if (any && status.error_code() == grpc::StatusCode::UNAVAILABLE) {
    return absl::UnavailableError(absl::StrCat("lost the coordinator at ", connection_->address,
                                               ": ", status.error_message()));
  }
  return connection_->Explain(status);
}

absl::StatusOr<std::string> AdminClient::Drain(NodeId node, std::optional<absl::Time> at,
                                               const std::string& who) {
  auto request = Versioned<proto::DrainRequest>();
  request.set_node(node.value());
  if (at) request.set_at_ns(absl::ToUnixNanos(*at));
  request.set_who(who);
  auto reply = connection_->Ask<proto::DrainReply>(&proto::Admin::Stub::Drain, request);
  if (!reply.ok()) return reply.status();
  return reply->text();
}

absl::StatusOr<std::string> AdminClient::Undrain(NodeId node, const std::string& who) {
  auto request = Versioned<proto::UndrainRequest>();
  request.set_node(node.value());
  request.set_who(who);
  auto reply = connection_->Ask<proto::DrainReply>(&proto::Admin::Stub::Undrain, request);
  if (!reply.ok()) return reply.status();
  return reply->text();
}

absl::StatusOr<std::string> AdminClient::Evict(NodeId node, bool force, const std::string& who) {
  auto request = Versioned<proto::EvictRequest>();
  request.set_node(node.value());
  request.set_who(who);
  request.set_force(force);
  auto reply = connection_->Ask<proto::DrainReply>(&proto::Admin::Stub::Evict, request);
  if (!reply.ok()) return reply.status();
  return reply->text();
}

}  // namespace perigee
