// Asks a coordinator what its operators want to know. Blocking; every question has a deadline.
//
//   AdminClient client("127.0.0.1:7000", credentials);
//   PERIGEE_ASSIGN_OR_RETURN(proto::NodesReply nodes, client.Nodes());
//
// Errors are one line: what, where, what to do next. Not thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/control.pb.h"
#include "runtime/control/credentials.h"
#include "transport/base/ids.h"

namespace perigee {

class AdminClient {
 public:
  static constexpr absl::Duration kDeadline = absl::Seconds(5);
  // A coordinator that is asked too much is asked again, this much later, until the deadline.
  static constexpr absl::Duration kAskAgain = absl::Milliseconds(20);
  // A reply about 10,000 nodes; what the coordinator itself takes in is far smaller
  // (kMessageBytesMax).
  static constexpr int kReplyBytesMax = 16 << 20;

  // With an operator's or an observer's credentials; without any, in the open.
  explicit AdminClient(const std::string& address,
                       const std::optional<Credentials>& credentials = std::nullopt);
  AdminClient(AdminClient&&) noexcept;
  ~AdminClient();

  absl::StatusOr<proto::StatusReply> Status();
  absl::StatusOr<proto::NodesReply> Nodes();
  absl::StatusOr<proto::ViewsReply> Views();
  absl::StatusOr<proto::OpsReply> Ops();
  absl::StatusOr<proto::SituationReply> Situation();
  absl::StatusOr<proto::PlanReply> Plan();
  // Calls `on_event` for every event so far and, with `follow`, for new ones until the coordinator
  // goes away, which is an error.
  absl::Status Events(bool follow, const std::function<void(const proto::Event&)>& on_event);
  // What happens next, in words. Without `at`: now. `who` is written into the event.
  absl::StatusOr<std::string> Drain(NodeId node, std::optional<absl::Time> at,
                                    const std::string& who);
  absl::StatusOr<std::string> Undrain(NodeId node, const std::string& who);
  absl::StatusOr<std::string> Evict(NodeId node, bool force, const std::string& who);

 private:
  struct Connection;  // keeps gRPC out of this header
  std::unique_ptr<Connection> connection_;
};

}  // namespace perigee
