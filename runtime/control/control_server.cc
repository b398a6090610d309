#include "runtime/control/control_server.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "proto/control.grpc.pb.h"
#include "runtime/control/admin_service.h"
#include "runtime/control/attach_stream.h"
#include "runtime/control/convert.h"
#include "runtime/control/coordinator_loop.h"
#include "runtime/control/listen_address.h"
#include "runtime/version.h"
#include "transport/base/rng.h"

namespace perigee {
namespace {

// A peer whose host died sends no FIN. Membership notices by the beats; this frees the stream.
constexpr int kKeepaliveMs = 5000;
constexpr int kStreamsPerConnectionMax = 128;
// How long members have to read that the server ends.
constexpr std::chrono::seconds kStopGrace(1);

class ControlService final : public proto::Control::CallbackService {
 public:
  explicit ControlService(CoordinatorLoop& loop) : loop_(loop) {}
  grpc::ServerBidiReactor<proto::MemberMessage, proto::CoordinatorMessage>* Attach(
      grpc::CallbackServerContext* context) override {
    return new AttachStream(loop_, context);
  }

 private:
  CoordinatorLoop& loop_;
};

Rng RandomRng() {
  std::random_device device;
  return Rng((uint64_t{device()} << 32) | device());
}

Coordinator MakeCoordinator(CoordinatorOptions options, ContactPlan plan, std::string plan_text) {
  options.version = kVersion;
  return Coordinator(options, std::move(plan), std::move(plan_text), RandomRng());
}

void Configure(grpc::ServerBuilder* builder) {
  builder->SetMaxReceiveMessageSize(kMessageBytesMax);
  // Two servers on one port would share its members between them.
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kStreamsPerConnectionMax);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveMs);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  // Members ping too, more often than gRPC likes by default.
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 500);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
}

}  // namespace

struct ControlServer::State {
  State(const Options& options, ContactPlan plan, std::string plan_text)
      : address(options.listen),
        loop(MakeCoordinator(options.coordinator, std::move(plan), std::move(plan_text)),
             options.on_event),
        control(loop) {}

  std::string address;
  CoordinatorLoop loop;
  ControlService control;
  std::unique_ptr<AdminService> admin;
  std::unique_ptr<grpc::Server> server;
};

absl::StatusOr<std::unique_ptr<ControlServer>> ControlServer::Start(const Options& options,
                                                                    ContactPlan plan,
                                                                    std::string plan_text) {
  if (!options.insecure) {
    return absl::InvalidArgumentError(
        "mTLS is not in this version: pass --insecure on a trusted network");
  }
  if (plan_text.size() > kPlanTextBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("the contact plan has ", plan_text.size(), " bytes of text, more than the ",
                     kPlanTextBytesMax, " that members can be sent: shorten its time span"));
  }
  if (absl::Status free = CheckCanListen(options.listen); !free.ok()) return free;

  auto state = std::make_unique<State>(options, std::move(plan), std::move(plan_text));
  const size_t colon = options.listen.rfind(':');
  grpc::ServerBuilder builder;
  Configure(&builder);
  int port = 0;
  builder.AddListeningPort(options.listen, grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&state->control);
  state->admin = std::make_unique<AdminService>(
      state->loop, CoordinatorInfo{.listen = options.listen, .started = absl::Now()});
  builder.RegisterService(state->admin.get());
  state->server = builder.BuildAndStart();
  if (state->server == nullptr || port == 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", options.listen, ": choose another --listen"));
  }
  state->address = absl::StrCat(options.listen.substr(0, colon), ":", port);
  return std::unique_ptr<ControlServer>(new ControlServer(std::move(state)));
}

ControlServer::ControlServer(std::unique_ptr<State> state) : state_(std::move(state)) {}

ControlServer::~ControlServer() { Stop(); }

const std::string& ControlServer::address() const { return state_->address; }

void ControlServer::Stop() {
  if (state_->server == nullptr) return;
  state_->loop.CloseAll();
  state_->server->Shutdown(std::chrono::system_clock::now() + kStopGrace);
  state_->server->Wait();
  state_->loop.Stop();
  state_->server.reset();
}

}  // namespace perigee
