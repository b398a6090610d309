// The coordinator behind a gRPC port: members' streams and the operators' questions
// (proto/control.proto).
//
//   PERIGEE_ASSIGN_OR_RETURN(auto server, ControlServer::Start({.listen = "127.0.0.1:7000",
//   .insecure = true},
//                                                              plan, plan_text));
//   ... server->address() ...;  server->Stop();
//
// Thread-safe. Nothing a peer sends costs more than its own stream.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/control/control_limits.h"
#include "runtime/control/credentials.h"
#include "runtime/control/metrics.h"
#include "runtime/control/steady_clock.h"
#include "runtime/control/store.h"
#include "runtime/coordinator.h"
#include "transport/contact_plan.h"

namespace perigee {

class ControlServer {
 public:
  struct Options {
    std::string listen;  // "host:port"; port 0: the system picks one
    // The coordinator's, for mTLS. Without them `insecure` must be set, and whoever reaches the
    // port is trusted.
    std::optional<Credentials> credentials = {};
    bool insecure = false;
    ControlLimits limits = {};
    SteadyClock clock = SteadyClock();    // of the process
    CoordinatorOptions coordinator = {};  // `version` is filled in
    // Every event of the coordinator, in order, on its thread: for the log.
    std::function<void(const CoordinatorEvent& event, const Coordinator& coordinator)> on_event =
        nullptr;
    // The coordinator goes on from what is in there, and acknowledges only what is; it outlives the
    // server. Null: it knows what the members tell it.
    Store* store = nullptr;
    // Once, on the coordinator's thread: it has fallen silent and is to be stopped.
    std::function<void(const absl::Status& status)> on_store_failure = nullptr;
  };

  // AlreadyExists when the port is in use; InvalidArgument when there are neither credentials nor
  // `insecure`, the credentials hold no join key, or the plan's text does not fit into one message;
  // what the store says. All are one line for the operator.
  static absl::StatusOr<std::unique_ptr<ControlServer>> Start(const Options& options,
                                                              ContactPlan plan,
                                                              std::string plan_text);
  ~ControlServer();  // stops

  // What /metrics shows, taken on the coordinator's thread. Not after Stop.
  std::vector<Metric> Metrics() const;
  // "host:port" with the real port.
  const std::string& address() const;
  // Ends all streams, at most about one second later, and the coordinator.
  void Stop();

 private:
  struct State;
  explicit ControlServer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace perigee
