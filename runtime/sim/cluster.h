// A whole job in virtual time: Nodes, one Coordinator, the channels between them and the control
// streams, driven by one event queue in one thread. The nodes are the product's own cores; only
// sockets, gRPC and the clock are replaced. Equal options and seed: equal runs, event by event
// (trace_digest()). Every process has a clock of its own, which may be wrong (SetClock): what it is
// told of time, and what it asks for, is by that clock.
//
//   auto cluster = Cluster::Create({.node_count = 6, .seed = 1, .channel = {.loss = 0.01}},
//   MakeApplication); for (uint32_t i = 0; i < 6; ++i) (*cluster)->StartNode(NodeId(i));
//   (*cluster)->At(start + absl::Seconds(2), [&] { (*cluster)->Kill(NodeId(3)); });
//   (*cluster)->RunUntil(start + absl::Seconds(60), [&] { return AllDone(); });
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "collectives/device/cpu_reducer.h"
#include "runtime/control_message.h"
#include "runtime/coordinator.h"
#include "runtime/hibernation.h"
#include "runtime/node.h"
#include "runtime/sim/datagram_network.h"
#include "runtime/sim/event_queue.h"
#include "transport/base/ids.h"
#include "transport/base/rng.h"
#include "transport/contact_plan.h"
#include "transport/sim/channel.h"

namespace perigee {

// What runs on a node: one per process, made at its start and destroyed after its Node. It may call
// its Node at any time in a callback; faults (Kill, Stop, ...) go through Cluster::At.
class Application {
 public:
  virtual ~Application() = default;
  virtual void OnEvent(absl::Time now, const NodeEvent& event) = 0;
  // Called at NextTimeout(), and also at other times.
  virtual void OnTimeout(absl::Time now) {}
  virtual absl::Time NextTimeout() const { return absl::InfiniteFuture(); }
};
using ApplicationFactory = std::function<std::unique_ptr<Application>(NodeId self, Node& node)>;

// How far clocks are ahead of the true time; those of nodes that are not there are right.
struct ClusterClocks {
  absl::Duration coordinator;
  std::map<NodeId, absl::Duration> nodes;
};

struct ClusterOptions {
  uint32_t node_count = 1;  // ids 0 .. node_count-1; none runs before StartNode
  uint64_t seed = 1;
  // Found the job when this many are there; 0: all. Restarted nodes only join.
  uint32_t start_members = 0;
  ChannelSettings channel;  // of every directed pair,
  ChannelOf channel_of;     // unless this is set
  // Every node and the coordinator get it; channels follow its contacts (FollowContacts).
  ContactPlan plan;
  // Nodes lose their power when the plan says that they are dark, and start again when that ends.
  bool power_follows_plan = false;
  absl::Duration control_delay = absl::Milliseconds(5);  // one way; order is kept
  absl::Duration control_jitter_max = absl::ZeroDuration();
  absl::Duration reconnect_after = absl::Milliseconds(50);
  // `durable`: RestartCoordinator goes on from what the last one wrote, instead of from nothing.
  CoordinatorOptions coordinator;
  ClusterClocks clocks;                         // of the first start
  std::function<void(NodeOptions&)> configure;  // changes what a node would get
  // Datagrams that the socket of a stopped process keeps; the rest is lost.
  size_t socket_datagrams_max = 4096;
  // The run ends with an error after this many events, or this many without the time going on.
  uint64_t events_max = 200'000'000;
  uint64_t events_at_one_time_max = 2'000'000;
};

class Cluster {
 public:
  // The time at which every cluster begins.
  static absl::Time Start() { return absl::FromUnixSeconds(1'000'000'000); }

  // InvalidArgument for channel settings that make no sense.
  static absl::StatusOr<std::unique_ptr<Cluster>> Create(const ClusterOptions& options,
                                                         ApplicationFactory factory);
  ~Cluster();
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  // ---- What happens to nodes; not from inside an Application. Without effect where it does not
  // apply. ----
  void StartNode(NodeId id);  // one of those who may found the job
  void Kill(NodeId id);       // SIGKILL: the peers hear nothing more, the stream closes
  void PowerOff(NodeId id);   // the machine is gone: the stream does not even close
  // Kill, where it still runs, and a new incarnation that only joins; also for nodes that come
  // later. One that sleeps wakes up when its view does, and goes on as the life that follows.
  void Restart(NodeId id);
  void Stop(NodeId id);  // SIGSTOP: input piles up and is handled after Continue
  void Continue(NodeId id);
  void KillCoordinator();
  void RestartCoordinator();
  // FailedPrecondition while there is no coordinator; else as Coordinator::Drain.
  // The clocks from the next start on.
  void SetClock(NodeId id, absl::Duration ahead) { options_.clocks.nodes[id] = ahead; }
  void SetCoordinatorClock(absl::Duration ahead) { options_.clocks.coordinator = ahead; }
  absl::Status Drain(NodeId id);
  absl::Status Undrain(NodeId id);
  absl::Status Evict(NodeId id, bool force);  // as Coordinator::Evict

  // ---- What happens to the network. ----
  void SetDown(NodeId from, NodeId to, bool down) { network_.SetDown(from, to, down); }
  void SetChannel(NodeId from, NodeId to, const ChannelSettings& settings) {
    network_.SetChannel(from, to, settings);
  }
  // The control stream loses what is on its way and closes at both ends; the node connects again.
  void BreakStream(NodeId id);
  // Between a node and the coordinator nothing passes; it arrives when the way is free again.
  void SetControlDown(NodeId id, bool down);

  // ---- Running. ----
  // Calls `script` at `at`; scripts may do anything of the above.
  void At(absl::Time at, std::function<void()> script);
  // Until `done` holds (true) or the time is `deadline` (false). ResourceExhausted past a bound of
  // the options.
  absl::StatusOr<bool> RunUntil(absl::Time deadline, const std::function<bool()>& done = nullptr);

  // ---- Reading. ----
  absl::Time now() const { return now_; }
  // By the clock of a process that runs: what its Node takes for `now`.
  absl::Time Now(NodeId id) const { return now_ + processes_[id.value()].clock; }
  uint32_t node_count() const { return static_cast<uint32_t>(processes_.size()); }
  Node* node(NodeId id) { return processes_[id.value()].node.get(); }  // null: not running
  Application* application(NodeId id) { return processes_[id.value()].application.get(); }
  bool stopped(NodeId id) const { return processes_[id.value()].stopped; }
  // Not running, and it will wake up as the life that follows.
  bool asleep(NodeId id) const { return processes_[id.value()].resumption.has_value(); }
  Coordinator* coordinator() { return coordinator_.get(); }        // null: not running
  const CoordinatorSnapshot& written() const { return written_; }  // by durable coordinators
  uint64_t event_count() const { return event_count_; }
  // Over every event so far with its time, place and bytes.
  uint64_t trace_digest() const { return digest_; }
  const DatagramNetwork& network() const { return network_; }

 private:
  struct Event {
    enum class Kind : uint8_t {
      kDatagram,       // value: packet
      kNodeWake,       // value: process
      kConnect,        // value: process
      kToNode,         // value: stream; its next message arrives
      kClosedAtNode,   // value: stream
      kToCoordinator,  // value: stream
      kClosedAtCoordinator,
      kCoordinatorWake,  // value: life of the coordinator
      kScript,           // value: index
    };
    Kind kind = Kind::kScript;
    NodeId node;
    uint64_t value = 0;
  };
  struct Process {
    uint64_t serial = 0;  // counts the starts over all nodes; 0: never started
    std::unique_ptr<Application> application;
    std::unique_ptr<Node> node;
    bool stopped = false;
    absl::Duration clock;  // ahead of the true time
    absl::Time wake_at = absl::InfiniteFuture();
    std::optional<StreamId> stream;
    // On its disk: what the node went to sleep with.
    std::optional<Resumption> resumption;
    bool control_down = false;
    std::vector<Event> stopped_input;  // arrived while stopped
    size_t stopped_datagrams = 0;
    std::vector<Event> held_control;  // of streams, while control_down
  };
  struct Stream {
    NodeId node;
    uint64_t process = 0;
    uint64_t coordinator_life = 0;
    std::deque<MemberMessage> up;
    std::deque<CoordinatorMessage> down;
    absl::Time up_last = absl::InfinitePast();
    absl::Time down_last = absl::InfinitePast();
    bool closed_up =
        false;  // the node sends nothing more; the coordinator learns it when it arrives
    bool closed_down = false;
    bool ended_at_node = false;  // knows that it is closed
    bool ended_at_coordinator = false;
  };

  Cluster(const ClusterOptions& options, ApplicationFactory factory);

  // cluster.cc
  absl::Status CheckBounds(uint64_t events_at_one_time) const;
  void Handle(const Event& event);
  void HandleDatagram(const Event& event);
  void HandleNodeWake(const Event& event);
  bool PutAside(const Event& event);
  void RunProcess(NodeId id, uint32_t start_members);
  absl::Time WakesAt(NodeId id) const;
  void Wake(NodeId id);
  void EndProcess(NodeId id);
  void Service(NodeId id);
  bool ServiceOnce(NodeId id);
  void ServiceAll();
  void Transmit(NodeId from, NodeId to, size_t size);
  void Trace(const Event& event);
  void SchedulePower();

  // cluster_control.cc
  void StartCoordinator();
  void ServiceCoordinator();
  void WriteRecords();
  void HandleConnect(const Event& event);
  void HandleStream(const Event& event);
  void HandleAtNode(const Event& event, Stream& stream);
  void HandleAtCoordinator(const Event& event, Stream& stream);
  void SendUp(NodeId id, MemberMessage message);
  void SendDown(Coordinator::Outgoing outgoing);
  void CloseUp(StreamId id);
  void CloseDown(StreamId id);
  void ConnectLater(NodeId id);
  void ForgetEnded(StreamId id);
  absl::Time ArrivesAt(absl::Time& last);
  absl::Time CoordinatorNow() const { return now_ + coordinator_clock_; }

  ClusterOptions options_;
  ApplicationFactory factory_;
  Rng rng_;
  DatagramNetwork network_;
  CpuReducer reducer_;
  absl::Time now_ = Start();
  EventQueue<Event> queue_;
  std::vector<Process> processes_;
  std::vector<std::function<void()>> scripts_;
  std::map<StreamId, Stream> streams_;
  StreamId next_stream_ = 1;
  std::unique_ptr<Coordinator> coordinator_;
  CoordinatorSnapshot written_;  // by durable coordinators
  uint64_t coordinator_life_ = 0;
  absl::Duration coordinator_clock_;  // ahead of the true time
  absl::Time coordinator_wake_at_ = absl::InfiniteFuture();
  uint64_t next_serial_ = 1;
  uint64_t event_count_ = 0;
  uint64_t digest_ = 0;
  bool in_service_ = false;
  std::vector<uint8_t> datagram_;
};

}  // namespace perigee
