// All sessions of one satellite: the transport's front door. A driver feeds datagrams and time and
// drains datagrams and events; the layers above post receives and offer sends.
//
//   Endpoint endpoint({.self = NodeId(0), .incarnation = mine}, Rng(seed));
//   endpoint.AddPeer(now, {NodeId(1), theirs, link});
//   endpoint.PostReceive(now, NodeId(1), key, region);      // grants the credit
//   endpoint.Send(now, NodeId(1), key, region, priority);   // goes out once the peer's credit is
//   there while (auto sent = endpoint.NextTransmit(now, buffer)) socket.Send(sent->to, buffer,
//   sent->size); while (auto event = endpoint.NextEvent()) ...
//
// A transfer is delivered exactly once into the posted region, whatever the network loses, repeats,
// reorders or corrupts, or stays pending until the peer comes back or is removed. Deterministic
// core: one thread, no clock, no sockets (architecture.md, "Cores").
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "transport/base/bounded_queue.h"
#include "transport/base/ids.h"
#include "transport/base/rng.h"
#include "transport/contact_plan.h"
#include "transport/region.h"

namespace perigee {

// Which part of a collective a transfer belongs to; the reduce half is always sent first.
enum class Phase : uint8_t { kReduce = 0, kBroadcast = 1 };

// Names one transfer between an ordered pair of incarnations. Both ends derive it from the
// schedule, so a receiver can grant credit for a transfer before the sender has it.
struct TransferKey {
  Epoch epoch;
  OpId op;
  ChunkId chunk;
  Phase phase = Phase::kReduce;
  uint8_t attempt = 0;

  friend constexpr auto operator<=>(const TransferKey&, const TransferKey&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const TransferKey& key) {
    return H::combine(std::move(h), key.epoch, key.op, key.chunk, key.phase, key.attempt);
  }
};

std::string ToString(const TransferKey& key);  // "epoch 3 op 17.0 chunk 2 reduce"

// Lower goes first; control messages go before everything.
enum class TrafficClass : uint8_t { kCollective = 0, kState = 1 };

struct PeerSettings {
  NodeId node;
  Incarnation incarnation;
  Link link;  // to the peer, as planned: paces sending and sets the timers
};

// The posted region holds the whole message; it may be read and reused.
struct TransferDelivered {
  NodeId peer;
  TransferKey key;
  size_t bytes = 0;
};
// Every byte is acknowledged; the sender's region may be reused.
struct TransferSent {
  NodeId peer;
  TransferKey key;
};
// A control message arrived, exactly once; order between control messages is not kept.
struct ControlDelivered {
  NodeId peer;
  std::vector<uint8_t> bytes;
};
// Nothing was heard for Endpoint::SilenceLimit(link) while an answer was due. Sending stops, but
// for probes.
struct PeerSilent {
  NodeId peer;
  absl::Time since;  // when the first packet without an answer left; before it the link was idle
};
struct PeerHeard {
  NodeId peer;
};
// The peer has removed this incarnation (RemovePeer) and answers nothing else any more.
struct PeerFenced {
  NodeId peer;
};
using TransportEvent = std::variant<TransferDelivered, TransferSent, ControlDelivered, PeerSilent,
                                    PeerHeard, PeerFenced>;

// Monotonic counters of one session since it began.
struct SessionCounters {
  uint64_t packets_sent = 0;
  uint64_t packets_received = 0;
  uint64_t wire_bytes_sent = 0;       // IP packets, headers included
  uint64_t data_bytes_sent = 0;       // message bytes, first sendings and repeats
  uint64_t data_bytes_delivered = 0;  // message bytes of completed transfers
  uint64_t segments_retransmitted = 0;
  uint64_t retransmitted_bytes = 0;
  uint64_t packets_lost = 0;             // declared lost by the loss detector
  uint64_t packets_spuriously_lost = 0;  // acknowledged after they were declared lost
  uint64_t duplicates_received = 0;      // packets or segments that brought nothing new
  uint64_t corrupt_received = 0;         // endpoint-wide: the checksum or format was wrong
  uint64_t credits_refused = 0;          // the peer posted another size than we offered
};
void Add(SessionCounters& total, const SessionCounters& other);

// What a peer's session has seen lately, for people.
struct PeerActivity {
  absl::Time heard = absl::InfinitePast();  // any authentic packet; InfinitePast: none yet
  // When the first packet that still has no acknowledgement left; InfiniteFuture: none is due. The
  // peer can be heard all the while: then the way to it is cut, not the way back.
  absl::Time unanswered_since = absl::InfiniteFuture();
  absl::Duration round_trip;  // the least of late; before the first answer twice the planned delay
};

class Endpoint {
 public:
  static constexpr size_t kPeersMax = 4096;
  static constexpr size_t kFencedMax = 1024;
  static constexpr size_t kControlBytesMax = 1200;
  static constexpr size_t kDatagramBytesMax = 1472;  // UDP payload of a 1500-byte IPv4 packet

  struct Options {
    NodeId self;
    Incarnation incarnation;
    // Bounds per session: posted receives and offered sends together, and queued control messages.
    size_t transfers_max = 65536;
    size_t controls_max = 1024;
    size_t events_max = 1 << 20;
  };

  Endpoint(const Options& options, Rng rng);
  ~Endpoint();
  Endpoint(const Endpoint&) = delete;
  Endpoint& operator=(const Endpoint&) = delete;

  // Opens the session with one incarnation of a peer. Both ends compute the same connection id from
  // the pair of incarnations, so there is no handshake. The same incarnation again only updates the
  // link; another one replaces the session (everything pending on the old one is dropped, without
  // events).
  absl::Status AddPeer(absl::Time now, const PeerSettings& peer);
  // Fences a peer: drops the session and everything pending on it, without events. Later packets of
  // that incarnation are counted and not looked at; now and then they are answered by one that says
  // so (PeerFenced), for the last kFencedMax peers. Unknown peers are fine.
  void RemovePeer(NodeId node);
  bool HasPeer(NodeId node) const;

  // Posts the place for a transfer and grants its credit. The region must stay valid until
  // TransferDelivered, CancelReceive or RemovePeer. AlreadyExists for a key that is posted or was
  // delivered by this session; NotFound for an unknown peer; ResourceExhausted past transfers_max.
  absl::Status PostReceive(absl::Time now, NodeId peer, const TransferKey& key,
                           MutableRegion region);
  // Withdraws posted receives; data that still arrives for them is acknowledged and thrown away.
  void CancelReceive(NodeId peer, const TransferKey& key);

  // Offers a transfer. The region must stay valid and unchanged until TransferSent, CancelSend or
  // RemovePeer. It waits (without bound in time) for the credit. Sizes must agree: a credit for
  // another size fails the send with a logged event at the receiver (counted), never writes out of
  // bounds. Order on a link: control, then by (traffic class, op, chunk, phase).
  absl::Status Send(absl::Time now, NodeId peer, const TransferKey& key, ConstRegion region,
                    TrafficClass traffic_class);
  // Stops sending; the region is free on return.
  void CancelSend(NodeId peer, const TransferKey& key);
  // Forgets all that is pending for ops of one epoch on every session (an epoch that was given up).
  void CancelEpoch(Epoch epoch);

  // A small message without credit, delivered exactly once, unordered. InvalidArgument above
  // kControlBytesMax, ResourceExhausted when controls_max are still unacknowledged.
  absl::Status SendControl(absl::Time now, NodeId peer, absl::Span<const uint8_t> bytes);

  // --- Driver side. ---
  void OnDatagram(absl::Time now, absl::Span<const uint8_t> datagram);
  void OnTimeout(absl::Time now);
  struct Transmit {
    NodeId to;
    size_t size = 0;
  };
  // Writes the next datagram that may go out now into `out` (at least kDatagramBytesMax); nothing
  // when all sessions are idle, paced or blocked. Sessions take turns.
  std::optional<Transmit> NextTransmit(absl::Time now, absl::Span<uint8_t> out);
  std::optional<TransportEvent> NextEvent();
  // When OnTimeout or NextTransmit should be called next; InfiniteFuture when idle.
  absl::Time NextTimeout() const;

  // --- Reading. ---
  // Nothing for unknown peers.
  std::optional<SessionCounters> Counters(NodeId node) const;
  std::optional<PeerActivity> Activity(NodeId node) const;
  SessionCounters CountersTotal() const;  // over all sessions since the start, removed ones too
  uint64_t unknown_packets()
      const;  // connection ids that no session of ours has: strangers, the fenced
  // How long silence lasts before PeerSilent: 3 round trips, at least 150 ms (membership.md,
  // "Detection").
  static absl::Duration SilenceLimit(const Link& link);
  // Transfers that a peer keeps us waiting for, for `perigeectl ops` and flight records.
  size_t PendingReceiveCount(NodeId node) const;
  // Control messages that no peer has acknowledged yet, over all sessions.
  size_t UnackedControlCount() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace perigee
