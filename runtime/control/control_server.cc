#include "runtime/control/control_server.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/control.grpc.pb.h"
#include "runtime/control/admin_service.h"
#include "runtime/control/attach_stream.h"
#include "runtime/control/convert.h"
#include "runtime/control/coordinator_loop.h"
#include "runtime/control/gate.h"
#include "runtime/control/join_token.h"
#include "runtime/control/listen_address.h"
#include "runtime/control/tls.h"
#include "runtime/version.h"
#include "transport/base/rng.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

// A peer whose host died sends no FIN. Membership notices by the beats; this frees the stream.
constexpr int kKeepaliveMs = 5000;
constexpr int kStreamsPerConnectionMax = 128;
// How long members have to read that the server ends.
constexpr std::chrono::seconds kStopGrace(1);

// How long a peer may take for the TLS handshake, and keep a connection on which it asks nothing.
constexpr int kHandshakeMs = 5000;
constexpr int kIdleMs = 60'000;
// Of all messages that are arriving. gRPC 1.51 receives a message whole before its length can be
// refused; beyond this it ends streams, not necessarily the sender's.
constexpr size_t kArrivingBytesMax = size_t{2} << 30;

// Ends a stream that was not admitted, without the loop.
class RefusedStream final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  explicit RefusedStream(const absl::Status& why) { Finish(ToGrpc(why)); }
  void OnDone() override { delete this; }
};

class ControlService final
    : public proto::Control::WithRawCallbackMethod_Attach<proto::Control::Service> {
 public:
  ControlService(CoordinatorLoop& loop, Gate& gate) : loop_(loop), gate_(gate) {}
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Attach(
      grpc::CallbackServerContext* context) override {
    const absl::StatusOr<Peer> peer = gate_.Admit(Rpc::kAttach, *context, 0);
    if (!peer.ok()) return new RefusedStream(peer.status());
    return new AttachStream(loop_, gate_, *peer, context);
  }

 private:
  CoordinatorLoop& loop_;
  Gate& gate_;
};

Rng RandomRng() {
  std::random_device device;
  return Rng((uint64_t{device()} << 32) | device());
}

Coordinator MakeCoordinator(const ControlServer::Options& options, ContactPlan plan,
                            std::string plan_text) {
  CoordinatorOptions coordinator = options.coordinator;
  coordinator.version = kVersion;
  coordinator.durable = options.store != nullptr;
  return Coordinator(coordinator, std::move(plan), std::move(plan_text), RandomRng());
}

void Configure(grpc::ServerBuilder* builder) {
  // Ours are checked where they can be counted.
  builder->SetMaxReceiveMessageSize(-1);
  grpc::ResourceQuota arriving("perigeed");
  builder->SetResourceQuota(arriving.Resize(kArrivingBytesMax));
  builder->AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeMs);
  builder->AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, kIdleMs);
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
  State(const Options& options, Coordinator coordinator)
      : address(options.listen),
        loop(std::move(coordinator), {.store = options.store,
                                      .clock = options.clock,
                                      .on_event = options.on_event,
                                      .on_store_failure = options.on_store_failure}),
        gate(options.credentials, options.limits, loop),
        control(loop, gate) {}

  std::string address;
  CoordinatorLoop loop;
  Gate gate;
  ControlService control;
  std::unique_ptr<AdminService> admin;
  std::unique_ptr<grpc::Server> server;
};

absl::StatusOr<std::unique_ptr<ControlServer>> ControlServer::Start(const Options& options,
                                                                    ContactPlan plan,
                                                                    std::string plan_text) {
  if (!options.credentials && !options.insecure) {
    return absl::InvalidArgumentError("the coordinator has neither credentials nor insecure set");
  }
  if (options.credentials && options.credentials->join_key.size() != kJoinKeyBytes) {
    return absl::InvalidArgumentError("the coordinator's credentials hold no join key");
  }
  if (plan_text.size() > kPlanTextBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("the contact plan has ", plan_text.size(), " bytes of text, more than the ",
                     kPlanTextBytesMax, " that members can be sent: shorten its time span"));
  }
  if (absl::Status free = CheckCanListen(options.listen); !free.ok()) return free;

  Coordinator coordinator = MakeCoordinator(options, std::move(plan), std::move(plan_text));
  if (options.store != nullptr) {
    PERIGEE_ASSIGN_OR_RETURN(const CoordinatorSnapshot snapshot, options.store->Load());
    coordinator.Restore(options.clock.Now(), snapshot);
  }
  auto state = std::make_unique<State>(options, std::move(coordinator));
  const size_t colon = options.listen.rfind(':');
  grpc::ServerBuilder builder;
  Configure(&builder);
  int port = 0;
  PERIGEE_ASSIGN_OR_RETURN(const std::shared_ptr<grpc::ServerCredentials> credentials,
                           MakeServerCredentials(options.credentials, state->gate.refusals()));
  builder.AddListeningPort(options.listen, credentials, &port);
  builder.RegisterService(&state->control);
  state->admin = std::make_unique<AdminService>(
      state->loop, state->gate,
      CoordinatorInfo{.listen = options.listen, .started = options.clock.Now()});
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

std::vector<Metric> ControlServer::Metrics() const {
  std::mutex mutex;
  std::condition_variable answered;
  std::optional<std::vector<Metric>> metrics;
  state_->loop.Post([&](absl::Time now, Coordinator& coordinator) {
    std::vector<Metric> taken = MetricsOf(
        now, coordinator,
        {.stream_count = state_->loop.stream_count(), .lateness = state_->loop.lateness()});
    std::lock_guard lock(mutex);
    metrics = std::move(taken);
    answered.notify_one();
  });
  std::unique_lock lock(mutex);
  answered.wait(lock, [&] { return metrics.has_value(); });
  return *std::move(metrics);
}

void ControlServer::Stop() {
  if (state_->server == nullptr) return;
  state_->loop.CloseAll();
  state_->server->Shutdown(std::chrono::system_clock::now() + kStopGrace);
  state_->server->Wait();
  state_->loop.Stop();
  state_->server.reset();
}

}  // namespace perigee
