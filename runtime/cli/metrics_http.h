// Serves /metrics over HTTP for Prometheus.
//
//   PERIGEE_ASSIGN_OR_RETURN(auto http, MetricsHttp::Start("127.0.0.1:9700", *server));
//
// Plain HTTP, to whoever reaches the address: listen on an address that only the scraper reaches.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "runtime/control/control_server.h"

namespace perigee {

class MetricsHttp {
 public:
  // Scrapes at one time; more wait for their turn.
  static constexpr int kThreads = 2;

  // `address` is "host:port"; port 0: the system picks one. `server` must not be stopped before
  // this is gone. AlreadyExists and other errors of the address are one line for the operator.
  static absl::StatusOr<std::unique_ptr<MetricsHttp>> Start(const std::string& address,
                                                            const ControlServer& server);
  ~MetricsHttp();

  // With the real port.
  const std::string& address() const;

 private:
  struct State;
  explicit MetricsHttp(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace perigee
