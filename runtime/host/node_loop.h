// Drives one Node in real time: one thread, one UDP socket, one stream to the coordinator, one
// reducer. All that the Node asks for happens here, and nowhere else; other threads post closures.
//
//   PERIGEE_ASSIGN_OR_RETURN(auto loop, NodeLoop::Create(options, on_event));
//   loop->Start();
//   loop->Post([&](absl::Time now, Node& node) { node.Cancel(now, op); });
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "collectives/device/cpu_reducer.h"
#include "runtime/control/control_client.h"
#include "runtime/control/steady_clock.h"
#include "runtime/host/peer_network.h"
#include "runtime/node.h"
#include "transport/sim/channel.h"

namespace perigee {

struct NodeLoopOptions {
  NodeOptions node;                    // address and incarnation are filled in
  std::string listen = "127.0.0.1:0";  // of the Perigee socket
  std::string coordinator = "127.0.0.1:7000";
  std::optional<Credentials> credentials = {};  // of a member; without them, insecure
  bool insecure = false;
  SteadyClock clock;  // of the process
  // Lays a channel model over the links to all peers: links of the contact plan (else
  // node.default_link) with this loss, and dark intervals and closed windows as outages. For one
  // machine without root.
  std::optional<ChannelSettings> emulate;
  // Goes on where a life before this one fell asleep: under the incarnation, and at the address,
  // that the view has for the node.
  std::optional<Resumption> resumption = {};
};

class NodeLoop {
 public:
  // Closures that wait for the loop; Post drops nothing, so posting past this is a bug of ours.
  static constexpr size_t kMailboxMax = 1 << 16;

  using Task = std::function<void(absl::Time now, Node& node)>;
  // Runs on the loop's thread; must not block.
  using EventFunction = std::function<void(absl::Time now, NodeEvent event)>;
  // What goes to the coordinator, also while there is no connection; on the loop's thread.
  using ControlFunction = std::function<void(absl::Time now, const MemberMessage& message)>;
  using ConnectionFunction = std::function<void(const absl::Status& connection)>;

  // Opens the socket. The errors of UdpSocket::Create; InvalidArgument where a resumption's view is
  // without the node.
  static absl::StatusOr<std::unique_ptr<NodeLoop>> Create(NodeLoopOptions options,
                                                          EventFunction on_event,
                                                          ConnectionFunction on_connection);
  ~NodeLoop();  // stops
  NodeLoop(const NodeLoop&) = delete;
  NodeLoop& operator=(const NodeLoop&) = delete;

  // Before Start.
  void SetOnControl(ControlFunction on_control) { on_control_ = std::move(on_control); }
  void Start();
  // Ends the thread and the stream; tasks that were posted before still run. Safe to call twice.
  void Stop();
  // Runs `task` on the loop's thread, soon; after the loop has ended, at once on the caller's.
  // Thread-safe.
  void Post(Task task);

  const SteadyClock& clock() const { return options_.clock; }
  std::string address() const;
  const Incarnation& incarnation() const { return options_.node.incarnation; }

 private:
  NodeLoop(NodeLoopOptions options, std::unique_ptr<PeerNetwork> network, int wake_fd,
           EventFunction on_event, ConnectionFunction on_connection);

  void Run();
  void RunTasks(absl::Time now);
  void ReceiveAll(absl::Time now);
  void Drain(absl::Time now);
  void Transmit(absl::Time now);
  void WaitForWork(absl::Time now);
  void OnEvent(absl::Time now, NodeEvent event);
  ControlClient::Callbacks ControlCallbacks();
  void Wake();

  NodeLoopOptions options_;
  std::unique_ptr<PeerNetwork> network_;
  int wake_fd_;
  EventFunction on_event_;
  ConnectionFunction on_connection_;
  ControlFunction on_control_;
  ControlClient control_;
  Node node_;
  CpuReducer reducer_;

  absl::Time woken_for_ = absl::InfiniteFuture();  // when the present wait was meant to end

  std::mutex mutex_;
  std::vector<Task> tasks_ ABSL_GUARDED_BY(mutex_);
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace perigee
