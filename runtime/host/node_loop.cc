#include "runtime/host/node_loop.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <random>
#include <utility>

#include "runtime/orbit/plan_file.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

// Datagrams between two looks at the socket and the mailbox, so that a busy sender still reads its
// acknowledgements.
constexpr int kTransmitsPerTurn = 256;
constexpr int kReceiveBatchesPerTurn = 16;
constexpr absl::Duration kWaitMax = absl::Milliseconds(100);

uint64_t RandomSeed() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

}  // namespace

absl::StatusOr<std::unique_ptr<NodeLoop>> NodeLoop::Create(NodeLoopOptions options,
                                                           EventFunction on_event,
                                                           ConnectionFunction on_connection) {
  options.node.incarnation = Rng(RandomSeed()).NextIncarnation();
  if (options.resumption) {
    const Member* member = options.resumption->proposal.view.Find(options.node.self);
    if (member == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("the view that node ", options.node.self.value(),
                       " slept in is without it: ", ToString(options.resumption->proposal.view)));
    }
    options.node.incarnation = member->incarnation;
    options.listen = member->address;
  }
  PERIGEE_ASSIGN_OR_RETURN(std::unique_ptr<PeerNetwork> network,
                           PeerNetwork::Create({.self = options.node.self,
                                                .listen = options.listen,
                                                .default_link = options.node.default_link,
                                                .emulate = options.emulate},
                                               Rng(RandomSeed())));
  const int wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (wake_fd < 0) return absl::ErrnoToStatus(errno, "eventfd");
  options.node.address = network->address();
  return std::unique_ptr<NodeLoop>(new NodeLoop(std::move(options), std::move(network), wake_fd,
                                                std::move(on_event), std::move(on_connection)));
}

NodeLoop::NodeLoop(NodeLoopOptions options, std::unique_ptr<PeerNetwork> network, int wake_fd,
                   EventFunction on_event, ConnectionFunction on_connection)
    : options_(std::move(options)),
      network_(std::move(network)),
      wake_fd_(wake_fd),
      on_event_(std::move(on_event)),
      on_connection_(std::move(on_connection)),
      control_({.address = options_.coordinator,
                .credentials = options_.credentials,
                .insecure = options_.insecure},
               ControlCallbacks()),
      node_(options_.node, Rng(RandomSeed())) {}

// They run on threads of gRPC: each only posts.
ControlClient::Callbacks NodeLoop::ControlCallbacks() {
  return {.on_connected =
              [this] {
                Post([this](absl::Time now, Node& node) {
                  on_connection_(absl::OkStatus());
                  node.OnControlConnected(now);
                });
              },
          .on_message =
              [this](CoordinatorMessage message) {
                Post([message = std::move(message)](absl::Time now, Node& node) {
                  node.OnControl(now, message);
                });
              },
          .on_disconnected =
              [this](absl::Status status) {
                Post([this, status = std::move(status)](absl::Time now, Node& node) {
                  on_connection_(status);
                  node.OnControlDisconnected(now);
                });
              }};
}

NodeLoop::~NodeLoop() {
  Stop();
  close(wake_fd_);
}

void NodeLoop::Start() {
  if (options_.resumption) node_.Wake(clock().Now(), *options_.resumption);
  thread_ = std::thread([this] { Run(); });
  control_.Start();
}

void NodeLoop::Stop() {
  if (!thread_.joinable()) return;
  stop_ = true;
  Wake();
  thread_.join();
  control_.Stop(absl::Seconds(1));
}

void NodeLoop::Post(Task task) {
  {
    std::lock_guard lock(mutex_);
    if (!ended_) {
      PERIGEE_CHECK(tasks_.size() < kMailboxMax);
      tasks_.push_back(std::move(task));
      task = nullptr;
    }
  }
  if (task == nullptr) return Wake();
  task(clock().Now(), node_);
}

void NodeLoop::Wake() {
  const uint64_t one = 1;
  // A full counter is already a wake-up.
  [[maybe_unused]] const ssize_t written = write(wake_fd_, &one, sizeof(one));
}

std::string NodeLoop::address() const { return network_->address(); }

// ---- The loop. ----

void NodeLoop::Run() {
  while (!stop_) {
    const absl::Time now = clock().Now();
    if (now > woken_for_) node_.SetLoopLateness(now, now - woken_for_);
    RunTasks(now);
    ReceiveAll(now);
    if (now >= node_.NextTimeout()) node_.OnTimeout(now);
    Drain(now);
    Transmit(now);
    WaitForWork(clock().Now());
  }
  for (bool more = true; more;) {
    RunTasks(clock().Now());
    Drain(clock().Now());
    std::lock_guard lock(mutex_);
    more = !tasks_.empty();
    ended_ = !more;
  }
}

void NodeLoop::RunTasks(absl::Time now) {
  std::vector<Task> tasks;
  {
    std::lock_guard lock(mutex_);
    tasks.swap(tasks_);
  }
  for (Task& task : tasks) task(now, node_);
}

void NodeLoop::Drain(absl::Time now) {
  for (bool busy = true; busy;) {
    busy = false;
    while (std::optional<ReduceTask> task = node_.NextReduce()) {
      reducer_.Submit(*task);
      busy = true;
    }
    while (std::optional<uint64_t> ticket = reducer_.NextDone()) {
      node_.OnReduced(now, *ticket);
      busy = true;
    }
    while (std::optional<NodeEvent> event = node_.NextEvent()) {
      OnEvent(now, *std::move(event));
      busy = true;
    }
    while (std::optional<MemberMessage> message = node_.NextControl()) {
      if (on_control_) on_control_(now, *message);
      control_.Send(*message);
    }
  }
}

void NodeLoop::ReceiveAll(absl::Time now) {
  for (int batch = 0; batch < kReceiveBatchesPerTurn; ++batch) {
    const bool more = network_->Receive(
        [&](absl::Span<const uint8_t> datagram) { node_.OnDatagram(now, datagram); });
    Drain(now);
    if (!more) return;
  }
}

void NodeLoop::Transmit(absl::Time now) {
  for (int i = 0; i < kTransmitsPerTurn && network_->writable(); ++i) {
    const std::optional<Endpoint::Transmit> transmit =
        node_.NextTransmit(now, network_->NextBuffer());
    if (!transmit) break;
    network_->Commit(now, *transmit);
  }
  network_->SendDue(now);
  network_->Flush();
}

void NodeLoop::WaitForWork(absl::Time now) {
  const absl::Time until = std::min({node_.NextTimeout(), network_->NextDue(), now + kWaitMax});
  woken_for_ = until;
  const bool blocked = !network_->writable();
  if (until <= now && !blocked) return;
  pollfd fds[2] = {
      {.fd = network_->fd(), .events = static_cast<short>(blocked ? POLLIN | POLLOUT : POLLIN)},
      {.fd = wake_fd_, .events = POLLIN}};
  const timespec wait = absl::ToTimespec(std::max(until - now, absl::ZeroDuration()));
  ppoll(fds, 2, &wait, nullptr);
  if ((fds[0].revents & POLLOUT) != 0) network_->Flush();
  if ((fds[1].revents & POLLIN) != 0) {
    uint64_t count;
    [[maybe_unused]] const ssize_t size = read(wake_fd_, &count, sizeof(count));
  }
}

void NodeLoop::OnEvent(absl::Time now, NodeEvent event) {
  if (const auto* received = std::get_if<PlanReceived>(&event)) {
    absl::StatusOr<ContactPlan> plan =
        ParseContactPlan(received->text, "plan of the coordinator", now);
    // The coordinator has read the same text: a plan that only this process cannot read does not
    // happen between equal versions, and those are checked when they meet.
    if (plan.ok()) {
      network_->SetPlan(*plan);
      node_.SetPlan(now, *std::move(plan));
    }
  } else if (const auto* changed = std::get_if<ViewChanged>(&event)) {
    network_->Learn(now, changed->proposal.view);
  }
  on_event_(now, std::move(event));
}

}  // namespace perigee
