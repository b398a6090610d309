#include "transport/endpoint.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "transport/base/status.h"
#include "transport/session.h"
#include "transport/wire.h"

namespace perigee {
namespace {

// A session that has more to send gives way after so many packets: enough for a GSO batch of one
// destination.
constexpr int kTurnPackets = 16;
constexpr absl::Duration kSilenceMin = absl::Milliseconds(150);
constexpr int kSilenceRoundTrips = 3;
// A fenced peer that goes on is told so at most so often.
constexpr absl::Duration kFencedAnswerEvery = absl::Milliseconds(100);

}  // namespace

void Add(SessionCounters& total, const SessionCounters& other) {
  total.packets_sent += other.packets_sent;
  total.packets_received += other.packets_received;
  total.wire_bytes_sent += other.wire_bytes_sent;
  total.data_bytes_sent += other.data_bytes_sent;
  total.data_bytes_delivered += other.data_bytes_delivered;
  total.segments_retransmitted += other.segments_retransmitted;
  total.retransmitted_bytes += other.retransmitted_bytes;
  total.packets_lost += other.packets_lost;
  total.packets_spuriously_lost += other.packets_spuriously_lost;
  total.duplicates_received += other.duplicates_received;
  total.corrupt_received += other.corrupt_received;
  total.credits_refused += other.credits_refused;
}

std::string ToString(const TransferKey& key) {
  std::string text =
      absl::StrCat("epoch ", key.epoch.value(), " op ", ToString(key.op), " chunk ",
                   key.chunk.value(), key.phase == Phase::kReduce ? " reduce" : " broadcast");
  if (key.attempt > 0) absl::StrAppend(&text, " attempt ", static_cast<int>(key.attempt));
  return text;
}

absl::Duration Endpoint::SilenceLimit(const Link& link) {
  return std::max(kSilenceMin, kSilenceRoundTrips * 2 * link.delay);
}

struct Endpoint::State {
  // `wake`: when the session wants OnTimeout or NextTransmit; what the session said when it was
  // last touched.
  struct Place {
    std::unique_ptr<Session> session;
    absl::Time wake;
  };

  explicit State(const Options& options)
      : options(options),
        // Room on top for what one packet, or a timeout of every session, can cause.
        events(options.events_max + options.transfers_max + Session::kEventsPerPacketMax +
               kPeersMax) {}

  Place* Find(NodeId node) {
    auto it = index_of.find(node);
    return it == index_of.end() ? nullptr : &places[it->second];
  }
  void Touch(Place& place) { place.wake = place.session->NextTimeout(); }
  // The indices of `ready` change with `places`.
  void ForgetTurns() {
    for (size_t index : ready) Touch(places[index]);
    ready.clear();
  }
  void Remove(NodeId node);
  void CollectReady(absl::Time now);

  // What is left of a session that was removed, by the connection id of incoming packets.
  struct Fenced {
    NodeId node;
    uint64_t send_connection = 0;
    uint64_t next_number = 0;
    absl::Time answered = absl::InfinitePast();
  };
  void OnUnknown(absl::Time now, uint64_t connection);
  std::optional<Transmit> AnswerFenced(absl::Span<uint8_t> out);

  Options options;
  absl::flat_hash_map<uint64_t, Fenced> fenced;
  std::deque<uint64_t> fenced_order;  // oldest first
  std::deque<uint64_t> fenced_heard;  // to be answered
  BoundedQueue<TransportEvent> events;
  std::map<NodeId, size_t> index_of;
  std::vector<Place> places;
  absl::flat_hash_map<uint64_t, NodeId> node_of;  // by the connection id of incoming packets
  std::deque<size_t> ready;                       // sessions whose turn comes, front first
  int turn_packets = 0;                           // sent by the front in this turn
  SessionCounters removed;                        // sums over sessions that are gone
  uint64_t corrupt = 0;
  uint64_t unknown = 0;
};

void Endpoint::State::Remove(NodeId node) {
  auto it = index_of.find(node);
  if (it == index_of.end()) return;
  ForgetTurns();
  const size_t index = it->second;
  const Session& session = *places[index].session;
  Add(removed, session.counters());
  const uint64_t connection = wire::ConnectionId(session.peer().incarnation, options.incarnation);
  node_of.erase(connection);
  fenced[connection] = {.node = node,
                        .send_connection = session.send_connection(),
                        .next_number = session.next_number()};
  fenced_order.push_back(connection);
  if (fenced_order.size() > kFencedMax) {
    fenced.erase(fenced_order.front());
    fenced_order.pop_front();
  }
  index_of.erase(it);
  if (index + 1 < places.size()) {
    places[index] = std::move(places.back());
    index_of[places[index].session->peer().node] = index;
  }
  places.pop_back();
}

void Endpoint::State::OnUnknown(absl::Time now, uint64_t connection) {
  ++unknown;
  auto it = fenced.find(connection);
  if (it == fenced.end() || now < it->second.answered + kFencedAnswerEvery) return;
  if (fenced_heard.size() >= kFencedMax) return;
  it->second.answered = now;
  fenced_heard.push_back(connection);
}

std::optional<Endpoint::Transmit> Endpoint::State::AnswerFenced(absl::Span<uint8_t> out) {
  while (!fenced_heard.empty()) {
    auto it = fenced.find(fenced_heard.front());
    fenced_heard.pop_front();
    if (it == fenced.end()) continue;
    Fenced& peer = it->second;
    const uint64_t number = peer.next_number++;
    wire::PacketWriter writer(
        out, {wire::PacketType::kFenced, 0, peer.send_connection, number, /*floor=*/number});
    return Transmit{peer.node, writer.Finish()};
  }
  return std::nullopt;
}

void Endpoint::State::CollectReady(absl::Time now) {
  turn_packets = 0;
  for (size_t i = 0; i < places.size(); ++i) {
    if (places[i].wake > now) continue;
    places[i].session->OnTimeout(now);
    ready.push_back(i);
  }
}

Endpoint::Endpoint(const Options& options, Rng rng) : state_(std::make_unique<State>(options)) {}
Endpoint::~Endpoint() = default;

absl::Status Endpoint::AddPeer(absl::Time now, const PeerSettings& peer) {
  const absl::string_view wrong = peer.node == state_->options.self ? "is this endpoint itself"
                                  : peer.incarnation.IsNone()       ? "has no incarnation"
                                  : peer.link.delay < absl::ZeroDuration() ? "has a negative delay"
                                  : !(peer.link.bytes_per_second >= 0)     ? "has a negative rate"
                                                                           : "";
  if (!wrong.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("peer ", peer.node.value(), " ", wrong));
  }
  if (State::Place* place = state_->Find(peer.node); place != nullptr) {
    Session& session = *place->session;
    if (session.peer().incarnation == peer.incarnation) {
      if (session.peer().link != peer.link) session.SetLink(peer.link);
      state_->Touch(*place);
      return absl::OkStatus();
    }
    state_->Remove(peer.node);
  }
  if (state_->places.size() >= kPeersMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat("peer ", peer.node.value(), ": ", kPeersMax, " peers are there"));
  }
  const uint64_t connection = wire::ConnectionId(peer.incarnation, state_->options.incarnation);
  if (state_->fenced.erase(connection) > 0) std::erase(state_->fenced_order, connection);
  if (!state_->node_of.emplace(connection, peer.node).second) {
    return absl::AlreadyExistsError(
        absl::StrCat("peer ", peer.node.value(), ": another peer has this incarnation"));
  }
  state_->index_of.emplace(peer.node, state_->places.size());
  state_->places.push_back({std::make_unique<Session>(now, state_->options, peer, state_->events)});
  state_->Touch(state_->places.back());
  return absl::OkStatus();
}

void Endpoint::RemovePeer(NodeId node) { state_->Remove(node); }

bool Endpoint::HasPeer(NodeId node) const { return state_->index_of.contains(node); }

absl::Status Endpoint::PostReceive(absl::Time now, NodeId peer, const TransferKey& key,
                                   MutableRegion region) {
  State::Place* place = state_->Find(peer);
  if (place == nullptr) return absl::NotFoundError(absl::StrCat("no peer ", peer.value()));
  absl::Status status = place->session->PostReceive(key, region);
  state_->Touch(*place);
  return status;
}

void Endpoint::CancelReceive(NodeId peer, const TransferKey& key) {
  State::Place* place = state_->Find(peer);
  if (place != nullptr) place->session->CancelReceive(key);
}

absl::Status Endpoint::Send(absl::Time now, NodeId peer, const TransferKey& key, ConstRegion region,
                            TrafficClass traffic_class) {
  State::Place* place = state_->Find(peer);
  if (place == nullptr) return absl::NotFoundError(absl::StrCat("no peer ", peer.value()));
  absl::Status status = place->session->Send(key, region, traffic_class);
  state_->Touch(*place);
  return status;
}

void Endpoint::CancelSend(NodeId peer, const TransferKey& key) {
  State::Place* place = state_->Find(peer);
  if (place == nullptr) return;
  place->session->CancelSend(key);
  state_->Touch(*place);
}

void Endpoint::CancelEpoch(Epoch epoch) {
  for (State::Place& place : state_->places) {
    place.session->CancelEpoch(epoch);
    state_->Touch(place);
  }
}

absl::Status Endpoint::SendControl(absl::Time now, NodeId peer, absl::Span<const uint8_t> bytes) {
  State::Place* place = state_->Find(peer);
  if (place == nullptr) return absl::NotFoundError(absl::StrCat("no peer ", peer.value()));
  absl::Status status = place->session->SendControl(bytes);
  state_->Touch(*place);
  return status;
}

void Endpoint::OnDatagram(absl::Time now, absl::Span<const uint8_t> datagram) {
  // As if it were lost on the way: the peer sends it again when the events were taken.
  if (state_->events.size() >= state_->options.events_max) return;
  const absl::StatusOr<wire::Packet> packet = wire::DecodePacket(datagram);
  if (!packet.ok()) {
    ++state_->corrupt;
    return;
  }
  auto it = state_->node_of.find(packet->header.connection);
  if (it == state_->node_of.end()) {
    return state_->OnUnknown(now, packet->header.connection);
  }
  State::Place* place = state_->Find(it->second);
  place->session->OnPacket(now, *packet);
  state_->Touch(*place);
}

void Endpoint::OnTimeout(absl::Time now) {
  for (State::Place& place : state_->places) {
    if (place.wake > now) continue;
    place.session->OnTimeout(now);
    state_->Touch(place);
  }
}

std::optional<Endpoint::Transmit> Endpoint::NextTransmit(absl::Time now, absl::Span<uint8_t> out) {
  if (auto answer = state_->AnswerFenced(out)) return answer;
  if (state_->ready.empty()) state_->CollectReady(now);
  while (!state_->ready.empty()) {
    const size_t index = state_->ready.front();
    State::Place& place = state_->places[index];
    const size_t size = place.session->NextTransmit(now, out);
    if (size == 0) {
      state_->ready.pop_front();
      state_->turn_packets = 0;
      state_->Touch(place);
    } else if (++state_->turn_packets >= kTurnPackets) {
      state_->ready.pop_front();
      state_->ready.push_back(index);
      state_->turn_packets = 0;
    }
    if (size > 0) return Transmit{place.session->peer().node, size};
  }
  return std::nullopt;
}

std::optional<TransportEvent> Endpoint::NextEvent() { return state_->events.Pop(); }

absl::Time Endpoint::NextTimeout() const {
  if (!state_->ready.empty() || !state_->fenced_heard.empty()) return absl::InfinitePast();
  absl::Time next = absl::InfiniteFuture();
  for (const State::Place& place : state_->places) next = std::min(next, place.wake);
  return next;
}

std::optional<SessionCounters> Endpoint::Counters(NodeId node) const {
  const State::Place* place = state_->Find(node);
  if (place == nullptr) return std::nullopt;
  SessionCounters counters = place->session->counters();
  counters.corrupt_received += state_->corrupt;
  return counters;
}

std::optional<PeerActivity> Endpoint::Activity(NodeId node) const {
  const State::Place* place = state_->Find(node);
  if (place == nullptr) return std::nullopt;
  return place->session->activity();
}

SessionCounters Endpoint::CountersTotal() const {
  SessionCounters total = state_->removed;
  for (const State::Place& place : state_->places) Add(total, place.session->counters());
  total.corrupt_received += state_->corrupt;
  return total;
}

uint64_t Endpoint::unknown_packets() const { return state_->unknown; }

size_t Endpoint::UnackedControlCount() const {
  size_t count = 0;
  for (const State::Place& place : state_->places) count += place.session->unacked_control_count();
  return count;
}

size_t Endpoint::PendingReceiveCount(NodeId node) const {
  const State::Place* place = state_->Find(node);
  return place == nullptr ? 0 : place->session->posted_count();
}

}  // namespace perigee
