#include "runtime/sim/cluster.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/version.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

// Rounds of one Service: each must bring something new, so more than this is an endless loop of
// ours.
constexpr int kServiceRoundsMax = 100'000;

uint64_t Mix(uint64_t digest, uint64_t word) {
  digest = (digest ^ word) * 0x9e3779b97f4a7c15;
  return digest ^ (digest >> 29);
}

uint64_t MixBytes(uint64_t digest, absl::Span<const uint8_t> bytes) {
  size_t at = 0;
  for (; at + 8 <= bytes.size(); at += 8) {
    uint64_t word;
    std::memcpy(&word, bytes.data() + at, 8);
    digest = Mix(digest, word);
  }
  for (; at < bytes.size(); ++at) digest = Mix(digest, bytes[at]);
  return digest;
}

ChannelOf ChannelsOf(const ClusterOptions& options) {
  return [channel = options.channel, channel_of = options.channel_of, plan = options.plan](
             NodeId from, NodeId to) {
    return FollowContacts(channel_of ? channel_of(from, to) : channel, plan, from, to);
  };
}

}  // namespace

absl::StatusOr<std::unique_ptr<Cluster>> Cluster::Create(const ClusterOptions& options,
                                                         ApplicationFactory factory) {
  if (options.channel_of) {
    for (uint32_t from = 0; from < options.node_count; ++from) {
      const NodeId to((from + 1) % options.node_count);
      PERIGEE_RETURN_IF_ERROR(Validate(options.channel_of(NodeId(from), to)));
    }
  } else {
    PERIGEE_RETURN_IF_ERROR(Validate(options.channel));
  }
  return std::unique_ptr<Cluster>(new Cluster(options, std::move(factory)));
}

Cluster::Cluster(const ClusterOptions& options, ApplicationFactory factory)
    : options_(options),
      factory_(std::move(factory)),
      rng_(options.seed),
      network_(rng_.Next(), ChannelsOf(options)),
      processes_(options.node_count),
      datagram_(Endpoint::kDatagramBytesMax) {
  if (options_.start_members == 0) options_.start_members = options_.node_count;
  options_.coordinator.version = kVersion;
  StartCoordinator();
  if (options_.power_follows_plan) SchedulePower();
}

Cluster::~Cluster() {
  // An application's buffers outlive the Node that works on them.
  for (Process& process : processes_) process.node.reset();
}

void Cluster::SchedulePower() {
  for (const DarkInterval& dark : options_.plan.dark_intervals()) {
    if (dark.node.value() >= node_count()) continue;
    At(dark.begins, [this, node = dark.node] { PowerOff(node); });
    At(dark.ends, [this, node = dark.node] { Restart(node); });
  }
}

void Cluster::StartNode(NodeId id) { RunProcess(id, options_.start_members); }

void Cluster::Restart(NodeId id) {
  Kill(id);
  if (now_ >= WakesAt(id)) RunProcess(id, 0);
}

// When the sleep of a node is over; of one that does not sleep it is.
absl::Time Cluster::WakesAt(NodeId id) const {
  const std::optional<Resumption>& resumption = processes_[id.value()].resumption;
  if (!resumption) return absl::InfinitePast();
  return perigee::WakesAt(*resumption, id, options_.plan);
}

void Cluster::RunProcess(NodeId id, uint32_t start_members) {
  PERIGEE_CHECK(!in_service_);
  Process& process = processes_[id.value()];
  if (process.node != nullptr) return;
  // The machine answers for a stream of an earlier life that it does not know.
  if (process.stream.has_value()) CloseUp(*process.stream);
  process.stream.reset();
  process.serial = next_serial_++;
  process.clock = options_.clocks.nodes[id];
  NodeOptions options;
  options.self = id;
  options.incarnation = rng_.NextIncarnation();
  const std::optional<Resumption> resumption = std::exchange(process.resumption, std::nullopt);
  if (resumption) options.incarnation = resumption->proposal.view.Find(id)->incarnation;
  options.version = kVersion;
  options.start_members = start_members;
  const ChannelSettings channel =
      options_.channel_of ? options_.channel_of(id, NodeId((id.value() + 1) % node_count()))
                          : options_.channel;
  if (channel.link.bytes_per_second > 0) options.default_link = channel.link;
  options.default_link.delay = channel.link.delay;
  if (options_.configure) options_.configure(options);
  process.node = std::make_unique<Node>(options, rng_.Fork());
  process.node->SetPlan(Now(id), options_.plan);
  process.application = factory_(id, *process.node);
  if (resumption) process.node->Wake(Now(id), *resumption);
  queue_.Push(now_, {Event::Kind::kConnect, id, process.serial});
  Service(id);
}

void Cluster::Wake(NodeId id) {
  if (processes_[id.value()].resumption) Restart(id);
}

void Cluster::EndProcess(NodeId id) {
  PERIGEE_CHECK(!in_service_);
  Process& process = processes_[id.value()];
  process.node.reset();
  process.application.reset();
  process.stopped = false;
  process.wake_at = absl::InfiniteFuture();
  for (const Event& event : process.stopped_input) queue_.Push(now_, event);
  process.stopped_input.clear();
  process.stopped_datagrams = 0;
}

void Cluster::Kill(NodeId id) {
  Process& process = processes_[id.value()];
  if (process.node == nullptr) return;
  EndProcess(id);
  if (process.stream.has_value()) CloseUp(*process.stream);
  process.stream.reset();
}

void Cluster::PowerOff(NodeId id) {
  if (processes_[id.value()].node != nullptr) EndProcess(id);
}

void Cluster::Stop(NodeId id) {
  if (processes_[id.value()].node != nullptr) processes_[id.value()].stopped = true;
}

void Cluster::Continue(NodeId id) {
  Process& process = processes_[id.value()];
  if (!process.stopped) return;
  process.stopped = false;
  const absl::Duration lateness =
      process.wake_at < now_ ? now_ - process.wake_at : absl::ZeroDuration();
  process.node->SetLoopLateness(Now(id), lateness);
  // A loop that was late finds its timers and its sockets ready in any order.
  const bool timers_first = rng_.Bernoulli(0.5);
  const Event wake{Event::Kind::kNodeWake, id, process.serial};
  process.wake_at = now_;
  if (timers_first) queue_.Push(now_, wake);
  for (const Event& event : process.stopped_input) queue_.Push(now_, event);
  if (!timers_first) queue_.Push(now_, wake);
  process.stopped_input.clear();
  process.stopped_datagrams = 0;
}

void Cluster::At(absl::Time at, std::function<void()> script) {
  scripts_.push_back(std::move(script));
  queue_.Push(std::max(at, now_), {Event::Kind::kScript, NodeId(), scripts_.size() - 1});
}

absl::StatusOr<bool> Cluster::RunUntil(absl::Time deadline, const std::function<bool()>& done) {
  ServiceAll();
  uint64_t events_at_one_time = 0;
  while (!done || !done()) {
    if (queue_.empty() || queue_.NextTime() > deadline) {
      now_ = std::max(now_, deadline);
      return false;
    }
    events_at_one_time = queue_.NextTime() > now_ ? 0 : events_at_one_time + 1;
    PERIGEE_RETURN_IF_ERROR(CheckBounds(events_at_one_time));
    now_ = std::max(now_, queue_.NextTime());
    const Event event = queue_.Pop();
    ++event_count_;
    Trace(event);
    Handle(event);
  }
  return true;
}

absl::Status Cluster::CheckBounds(uint64_t events_at_one_time) const {
  if (events_at_one_time <= options_.events_at_one_time_max && event_count_ < options_.events_max) {
    return absl::OkStatus();
  }
  return absl::ResourceExhaustedError(
      absl::StrCat("cluster: ", event_count_, " events, ", events_at_one_time, " of them at ",
                   absl::FormatDuration(now_ - Start()), " after the start"));
}

void Cluster::Trace(const Event& event) {
  digest_ = Mix(digest_, static_cast<uint64_t>(absl::ToInt64Nanoseconds(now_ - Start())));
  digest_ = Mix(digest_, static_cast<uint64_t>(event.kind) << 32 | event.node.value());
  if (event.kind == Event::Kind::kDatagram) {
    digest_ = MixBytes(digest_, network_.bytes(static_cast<uint32_t>(event.value)));
  } else {
    digest_ = Mix(digest_, event.value);
  }
}

void Cluster::Handle(const Event& event) {
  if (PutAside(event)) return;
  switch (event.kind) {
    case Event::Kind::kDatagram:
      return HandleDatagram(event);
    case Event::Kind::kNodeWake:
      return HandleNodeWake(event);
    case Event::Kind::kConnect:
      return HandleConnect(event);
    case Event::Kind::kToNode:
    case Event::Kind::kClosedAtNode:
    case Event::Kind::kToCoordinator:
    case Event::Kind::kClosedAtCoordinator:
      return HandleStream(event);
    case Event::Kind::kCoordinatorWake:
      if (event.value != coordinator_life_ || coordinator_ == nullptr) return;
      if (coordinator_wake_at_ > now_) return;
      coordinator_wake_at_ = absl::InfiniteFuture();
      coordinator_->OnTimeout(CoordinatorNow());
      return ServiceCoordinator();
    case Event::Kind::kScript: {
      const std::function<void()> script = std::move(scripts_[event.value]);
      script();
      return ServiceAll();
    }
  }
}

// True when the event waits for Continue or for the control path, or is lost with a full socket.
bool Cluster::PutAside(const Event& event) {
  using Kind = Event::Kind;
  if (event.kind == Kind::kScript || event.kind == Kind::kCoordinatorWake) return false;
  Process& process = processes_[event.node.value()];
  const bool at_coordinator =
      event.kind == Kind::kToCoordinator || event.kind == Kind::kClosedAtCoordinator;
  const bool of_stream =
      at_coordinator || event.kind == Kind::kToNode || event.kind == Kind::kClosedAtNode;
  if (of_stream && process.control_down) {
    process.held_control.push_back(event);
    return true;
  }
  if (!process.stopped || at_coordinator) return false;
  if (event.kind == Kind::kNodeWake) return true;
  if (event.kind == Kind::kDatagram &&
      ++process.stopped_datagrams > options_.socket_datagrams_max) {
    network_.Release(static_cast<uint32_t>(event.value));
    return true;
  }
  process.stopped_input.push_back(event);
  return true;
}

void Cluster::HandleDatagram(const Event& event) {
  const auto packet = static_cast<DatagramNetwork::PacketId>(event.value);
  Node* node = processes_[event.node.value()].node.get();
  if (node != nullptr) node->OnDatagram(Now(event.node), network_.bytes(packet));
  network_.Release(packet);
  if (node != nullptr) Service(event.node);
}

void Cluster::HandleNodeWake(const Event& event) {
  Process& process = processes_[event.node.value()];
  if (process.node == nullptr || event.value != process.serial || process.wake_at > now_) return;
  process.wake_at = absl::InfiniteFuture();
  process.node->OnTimeout(Now(event.node));
  process.application->OnTimeout(Now(event.node));
  Service(event.node);
}

void Cluster::ServiceAll() {
  for (uint32_t i = 0; i < node_count(); ++i) Service(NodeId(i));
  ServiceCoordinator();
}

// Does all that the node and its application ask for, and sets the timer.
void Cluster::Service(NodeId id) {
  Process& process = processes_[id.value()];
  if (process.node == nullptr || process.stopped) return;
  in_service_ = true;
  int rounds = 0;
  while (ServiceOnce(id)) PERIGEE_CHECK(++rounds < kServiceRoundsMax);
  in_service_ = false;
  const absl::Time by_its_clock =
      std::min(process.node->NextTimeout(), process.application->NextTimeout());
  const absl::Time wanted = std::max(now_, by_its_clock - process.clock);
  if (wanted >= process.wake_at) return;
  process.wake_at = wanted;
  queue_.Push(wanted, {Event::Kind::kNodeWake, id, process.serial});
}

bool Cluster::ServiceOnce(NodeId id) {
  Process& process = processes_[id.value()];
  const absl::Time now = Now(id);
  bool progressed = false;
  while (auto transmit = process.node->NextTransmit(now, absl::MakeSpan(datagram_))) {
    Transmit(id, transmit->to, transmit->size);
    progressed = true;
  }
  while (auto message = process.node->NextControl()) {
    SendUp(id, *std::move(message));
    progressed = true;
  }
  while (auto task = process.node->NextReduce()) {
    reducer_.Submit(*task);
    while (auto ticket = reducer_.NextDone()) process.node->OnReduced(now, *ticket);
    progressed = true;
  }
  while (auto event = process.node->NextEvent()) {
    const auto* left = std::get_if<LeftView>(&*event);
    if (left != nullptr) {
      process.resumption = left->resumption;
      if (left->resumption) At(WakesAt(id), [this, id] { Wake(id); });
    }
    process.application->OnEvent(now, *event);
    progressed = true;
  }
  return progressed;
}

void Cluster::Transmit(NodeId from, NodeId to, size_t size) {
  if (to.value() >= node_count()) return;
  for (const auto& flight :
       network_.Send(now_, from, to, absl::MakeConstSpan(datagram_.data(), size))) {
    queue_.Push(flight.at, {Event::Kind::kDatagram, to, flight.packet});
  }
}

}  // namespace perigee
