// One session: everything between one incarnation of ours and one of a peer. Joins the two halves
// of transfers (SendWindow, Reassembly), control messages (ControlStream), the loss detector and
// the pacer; knows when an ACK is due and when the peer is silent. Endpoint feeds it decoded
// packets and polls it.
//
// What goes next: control frames, a due ACK, lost segments, new segments; the latter two as pacer
// and window allow. After SilenceLimit without an answer that was due, everything in flight counts
// as unknown and only probes go out (a PING and an ACK of all that arrived, every max(T, 20 ms)).
// The first ACK that comes back says what did arrive before the outage, so nothing of it is sent
// again, and sending resumes at the plan's rate at once.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "transport/ack_ranges.h"
#include "transport/control_stream.h"
#include "transport/endpoint.h"
#include "transport/loss_detector.h"
#include "transport/pacer.h"
#include "transport/reassembly.h"
#include "transport/ring_buffer.h"
#include "transport/send_window.h"
#include "transport/wire.h"

namespace perigee {

class Session {
 public:
  // An ACK leaves at the latest after so many packets that ask for one.
  static constexpr uint32_t kAckPacketsMax = 64;
  // Probes while the peer is silent.
  static constexpr absl::Duration kProbeIntervalMin = absl::Milliseconds(20);
  // Control frames may use this much of the window on top.
  static constexpr uint64_t kControlWindowBytes = 64 * Pacer::kPacketBytes;
  // No packet makes more events than this, but for TransferSent, of which there are at most
  // transfers_max.
  static constexpr size_t kEventsPerPacketMax = 128;

  Session(absl::Time now, const Endpoint::Options& options, const PeerSettings& peer,
          BoundedQueue<TransportEvent>& events);

  void SetLink(const Link& link);
  const PeerSettings& peer() const { return peer_; }

  // As in Endpoint.
  absl::Status PostReceive(const TransferKey& key, MutableRegion region);
  void CancelReceive(const TransferKey& key) { reassembly_.Cancel(key); }
  absl::Status Send(const TransferKey& key, ConstRegion region, TrafficClass traffic_class);
  void CancelSend(const TransferKey& key) { send_window_.Cancel(key); }
  void CancelEpoch(Epoch epoch);
  absl::Status SendControl(absl::Span<const uint8_t> bytes);

  void OnPacket(absl::Time now, const wire::Packet& packet);
  void OnTimeout(absl::Time now);
  // The size of the datagram that was written to `out`, or 0.
  size_t NextTransmit(absl::Time now, absl::Span<uint8_t> out);
  absl::Time NextTimeout() const;

  SessionCounters counters() const;
  PeerActivity activity() const { return {heard_, unanswered_since_, loss_.base_round_trip()}; }
  size_t unacked_control_count() const { return control_.unacked_count(); }
  // What FENCED packets go on with when this session is gone.
  uint64_t send_connection() const { return send_connection_; }
  uint64_t next_number() const { return loss_.next_number(); }
  size_t posted_count() const { return reassembly_.posted_count(); }

 private:
  // A frame that must arrive: by id, so that what it says is read when it is sent.
  struct ControlItem {
    wire::FrameType type = wire::FrameType::kPing;
    uint64_t id = 0;  // message id of a CREDIT, control id of a MESSAGE
  };

  void OnNewPacket(absl::Time now, const wire::Packet& packet);
  // False: malformed, not to be acknowledged.
  bool OnData(absl::Time now, const wire::Packet& packet);
  bool OnControl(absl::Time now, const wire::Packet& packet);
  bool OnFrame(absl::Time now, wire::Reader& reader);
  bool OnAckFrame(absl::Time now, wire::Reader& reader);
  void OnHeard();
  void RecordArrival(absl::Time now, const wire::Header& header);
  void Push(TransportEvent event);
  void RequestAck(absl::Time now, bool at_once);

  // Acknowledged and lost packets.
  void OnAcked(const SentPacket& packet);
  void OnLost(const SentPacket& packet);
  void DetectLosses(absl::Time now, Pacer::Feedback feedback);
  void OnSilence(absl::Time now);

  // Sending.
  bool HasControl() const { return !lost_items_.empty() || !new_items_.empty(); }
  bool MayUseWindow(uint64_t extra_bytes) const {
    return loss_.in_flight_bytes() < window_bytes_ + extra_bytes;
  }
  void RefreshWindow();
  wire::PacketWriter Begin(absl::Span<uint8_t> out, wire::PacketType type, uint8_t flags) const;
  size_t Commit(absl::Time now, wire::PacketWriter& writer, SentPacket record);
  size_t TransmitControl(absl::Time now, absl::Span<uint8_t> out);
  enum class Written { kYes, kNoRoom, kNotNeeded };
  void WriteItems(RingBuffer<ControlItem>& items, wire::PacketWriter& writer);
  Written WriteItem(const ControlItem& item, wire::PacketWriter& writer) const;
  void WriteAck(absl::Time now, wire::PacketWriter& writer, bool with_type);
  size_t TransmitAck(absl::Time now, absl::Span<uint8_t> out);
  size_t TransmitSegment(absl::Time now, absl::Span<uint8_t> out);
  size_t TransmitProbe(absl::Time now, absl::Span<uint8_t> out);

  Endpoint::Options options_;
  PeerSettings peer_;
  BoundedQueue<TransportEvent>& events_;
  uint64_t send_connection_;
  absl::Duration ack_delay_;
  absl::Duration silence_limit_;

  SendWindow send_window_;
  Reassembly reassembly_;
  ControlStream control_;
  LossDetector loss_;
  Pacer pacer_;
  uint64_t window_bytes_ = 0;

  RingBuffer<ControlItem> new_items_;
  RingBuffer<ControlItem> lost_items_;
  RingBuffer<ControlItem> sent_items_;  // of packets on record, in their order

  AckRanges received_;
  absl::Time largest_received_at_ = absl::InfinitePast();
  uint32_t unacked_received_count_ = 0;
  absl::Time ack_due_ = absl::InfiniteFuture();
  wire::AckFrame ack_scratch_;

  absl::Time answer_due_since_ = absl::InfiniteFuture();
  // For people only: any packet counts for the first, an acknowledgement for the second.
  absl::Time heard_ = absl::InfinitePast();
  absl::Time unanswered_since_ = absl::InfiniteFuture();
  bool is_silent_ = false;   // told upward
  bool is_probing_ = false;  // until an ACK comes back
  absl::Time next_probe_ = absl::InfiniteFuture();

  SessionCounters counters_;
};

}  // namespace perigee
