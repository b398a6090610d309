// The sending half of Session: which packet goes next, and what is in it.
#include <algorithm>

#include "transport/session.h"

namespace perigee {
namespace {

// An ACK rides in a CONTROL packet when so many bytes are left for it.
constexpr size_t kAckRoomMin = 256;

}  // namespace

size_t Session::NextTransmit(absl::Time now, absl::Span<uint8_t> out) {
  if (is_probing_) {
    if (now >= next_probe_) return TransmitProbe(now, out);
    return now >= ack_due_ ? TransmitAck(now, out) : 0;
  }
  const bool may_send = pacer_.MaySend(now);
  if (may_send && HasControl() && MayUseWindow(kControlWindowBytes)) {
    if (const size_t size = TransmitControl(now, out); size > 0) return size;
  }
  if (now >= ack_due_) return TransmitAck(now, out);
  if (may_send && send_window_.HasSegment() && MayUseWindow(0)) return TransmitSegment(now, out);
  return 0;
}

wire::PacketWriter Session::Begin(absl::Span<uint8_t> out, wire::PacketType type,
                                  uint8_t flags) const {
  return wire::PacketWriter(out,
                            {type, flags, send_connection_, loss_.next_number(), loss_.floor()});
}

size_t Session::Commit(absl::Time now, wire::PacketWriter& writer, SentPacket record) {
  const size_t size = writer.Finish();
  record.wire_bytes = static_cast<uint16_t>(size + wire::kIpUdpBytes);
  if (record.content != SentPacket::Content::kControl) {
    record.items_begin = sent_items_.end_number();
  }
  ++counters_.packets_sent;
  counters_.wire_bytes_sent += record.wire_bytes;
  pacer_.OnSent(now, record.wire_bytes);
  loss_.OnSent(now, record, [this](const SentPacket& packet) { OnLost(packet); });
  const bool asks_for_ack = record.state == SentPacket::State::kInFlight;
  if (asks_for_ack) {
    unanswered_since_ = std::min(unanswered_since_, now);
    if (!is_silent_) answer_due_since_ = std::min(answer_due_since_, now);
  }
  return size;
}

void Session::WriteAck(absl::Time now, wire::PacketWriter& writer, bool with_type) {
  const absl::Duration hold = received_.empty() ? absl::ZeroDuration() : now - largest_received_at_;
  writer.Ack(received_, hold, with_type);
  ack_due_ = absl::InfiniteFuture();
  unacked_received_count_ = 0;
}

size_t Session::TransmitAck(absl::Time now, absl::Span<uint8_t> out) {
  wire::PacketWriter writer = Begin(out, wire::PacketType::kAck, 0);
  WriteAck(now, writer, false);
  return Commit(now, writer, {.state = SentPacket::State::kAcked});
}

size_t Session::TransmitProbe(absl::Time now, absl::Span<uint8_t> out) {
  next_probe_ = now + std::max(2 * peer_.link.delay, kProbeIntervalMin);
  wire::PacketWriter writer = Begin(out, wire::PacketType::kControl, 0);
  writer.Ping();
  WriteAck(now, writer, true);
  return Commit(now, writer, {});
}

Session::Written Session::WriteItem(const ControlItem& item, wire::PacketWriter& writer) const {
  if (item.type == wire::FrameType::kCredit) {
    const std::optional<wire::CreditFrame> credit = reassembly_.CreditFor(item.id);
    if (!credit.has_value()) return Written::kNotNeeded;
    if (writer.body_room() < wire::kCreditFrameBytes) return Written::kNoRoom;
    writer.Credit(*credit);
    return Written::kYes;
  }
  const std::optional<wire::MessageFrame> message = control_.FrameFor(item.id);
  if (!message.has_value()) return Written::kNotNeeded;
  if (writer.body_room() < wire::kMessageFrameHeaderBytes + message->bytes.size()) {
    return Written::kNoRoom;
  }
  writer.Message(*message);
  return Written::kYes;
}

void Session::WriteItems(RingBuffer<ControlItem>& items, wire::PacketWriter& writer) {
  while (!items.empty()) {
    const Written written = WriteItem(items.front(), writer);
    if (written == Written::kNoRoom) return;
    if (written == Written::kYes) sent_items_.PushBack(items.front());
    items.PopFront();
  }
}

size_t Session::TransmitControl(absl::Time now, absl::Span<uint8_t> out) {
  SentPacket record{.items_begin = sent_items_.end_number(),
                    .content = SentPacket::Content::kControl};
  wire::PacketWriter writer = Begin(out, wire::PacketType::kControl, 0);
  WriteItems(lost_items_, writer);
  WriteItems(new_items_, writer);
  record.slot = static_cast<uint32_t>(sent_items_.end_number() - record.items_begin);
  if (record.slot == 0) return 0;
  if (ack_due_ != absl::InfiniteFuture() && writer.body_room() >= kAckRoomMin) {
    WriteAck(now, writer, true);
  }
  return Commit(now, writer, record);
}

size_t Session::TransmitSegment(absl::Time now, absl::Span<uint8_t> out) {
  const std::optional<SendWindow::Segment> segment = send_window_.NextSegment();
  if (!segment.has_value()) return 0;
  const uint8_t flags = (segment->is_repeat ? wire::kFlagRetransmit : 0) |
                        (segment->is_last_index ? wire::kFlagEnd : 0);
  wire::PacketWriter writer = Begin(out, wire::PacketType::kData, flags);
  segment->region->Read(segment->offset, writer.Data(segment->header, segment->bytes));
  counters_.data_bytes_sent += segment->bytes;
  if (segment->is_repeat) {
    ++counters_.segments_retransmitted;
    counters_.retransmitted_bytes += segment->bytes;
  }
  return Commit(now, writer,
                {.message = segment->header.message,
                 .slot = segment->slot,
                 .segment = segment->header.segment,
                 .content = SentPacket::Content::kSegment});
}

}  // namespace perigee
