#include "transport/session.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

// An ACK waits this long for more packets: a later one would leave a 40 ms link idle for a round,
// an earlier one would cost as many packets as the data.
constexpr absl::Duration kAckDelayMin = absl::Microseconds(100);
constexpr absl::Duration kAckDelayMax = absl::Milliseconds(1);

bool AsksForAck(const wire::Packet& packet) {
  return packet.header.type == wire::PacketType::kData ||
         packet.header.type == wire::PacketType::kControl;
}

absl::Duration AckDelay(const Link& link) {
  return std::clamp(2 * link.delay / 8, kAckDelayMin, kAckDelayMax);
}

}  // namespace

Session::Session(absl::Time now, const Endpoint::Options& options, const PeerSettings& peer,
                 BoundedQueue<TransportEvent>& events)
    : options_(options),
      peer_(peer),
      events_(events),
      send_connection_(wire::ConnectionId(options.incarnation, peer.incarnation)),
      send_window_(2 * options.transfers_max),
      reassembly_(options.transfers_max),
      control_(options.controls_max) {
  SetLink(peer.link);
}

void Session::SetLink(const Link& link) {
  peer_.link = link;
  ack_delay_ = AckDelay(link);
  silence_limit_ = Endpoint::SilenceLimit(link);
  pacer_.SetPlan(link);
  loss_.SetPlan(link, ack_delay_, pacer_.burst());
  RefreshWindow();
}

void Session::RefreshWindow() {
  window_bytes_ = pacer_.WindowBytes(loss_.base_round_trip(), ack_delay_);
}

absl::Status Session::PostReceive(const TransferKey& key, MutableRegion region) {
  const size_t transfers = reassembly_.posted_count() + send_window_.offered_count();
  // Credits of withdrawn receives wait in the queue too, until it is their turn.
  if (transfers >= options_.transfers_max || new_items_.size() >= 2 * options_.transfers_max) {
    return absl::ResourceExhaustedError(absl::StrCat("node ", peer_.node.value(), " receive ",
                                                     ToString(key), ": ", transfers,
                                                     " transfers are pending"));
  }
  PERIGEE_ASSIGN_OR_RETURN(const uint64_t message, reassembly_.Post(key, region));
  new_items_.PushBack({wire::FrameType::kCredit, message});
  return absl::OkStatus();
}

absl::Status Session::Send(const TransferKey& key, ConstRegion region, TrafficClass traffic_class) {
  const size_t transfers = reassembly_.posted_count() + send_window_.offered_count();
  if (transfers >= options_.transfers_max) {
    return absl::ResourceExhaustedError(absl::StrCat("node ", peer_.node.value(), " send ",
                                                     ToString(key), ": ", transfers,
                                                     " transfers are pending"));
  }
  return send_window_.Offer(key, region, traffic_class);
}

void Session::CancelEpoch(Epoch epoch) {
  send_window_.CancelEpoch(epoch);
  reassembly_.CancelEpoch(epoch);
}

absl::Status Session::SendControl(absl::Span<const uint8_t> bytes) {
  PERIGEE_ASSIGN_OR_RETURN(const uint64_t id, control_.Queue(bytes));
  new_items_.PushBack({wire::FrameType::kMessage, id});
  return absl::OkStatus();
}

SessionCounters Session::counters() const {
  SessionCounters counters = counters_;
  counters.credits_refused = send_window_.credits_refused();
  return counters;
}

void Session::Push(TransportEvent event) {
  // Endpoint takes no packet while the queue has no room for what the packet can cause.
  PERIGEE_CHECK(events_.Push(std::move(event), "transport events").ok());
}

// --- Receiving. ---

void Session::OnPacket(absl::Time now, const wire::Packet& packet) {
  ++counters_.packets_received;
  // Not an answer of the session, which is gone there: it stays silent.
  if (packet.header.type == wire::PacketType::kFenced) return Push(PeerFenced{peer_.node});
  heard_ = now;
  OnHeard();
  received_.RaiseFloor(packet.header.floor);
  if (received_.Contains(packet.header.number)) {
    ++counters_.duplicates_received;
    if (AsksForAck(packet)) RequestAck(now, false);
  } else {
    OnNewPacket(now, packet);
  }
  answer_due_since_ = loss_.in_flight_bytes() > 0 ? now : absl::InfiniteFuture();
}

void Session::OnNewPacket(absl::Time now, const wire::Packet& packet) {
  // The content of packets below the floor is welcome too: what was sent twice is recognised by
  // its content.
  bool is_well_formed = false;
  wire::Reader reader(packet.body);
  switch (packet.header.type) {
    case wire::PacketType::kData:
      is_well_formed = OnData(now, packet);
      break;
    case wire::PacketType::kControl:
      is_well_formed = OnControl(now, packet);
      break;
    case wire::PacketType::kAck:
      is_well_formed = OnAckFrame(now, reader) && reader.rest().empty();
      break;
    case wire::PacketType::kFenced:
      break;  // OnPacket
  }
  if (!is_well_formed) {
    ++counters_.corrupt_received;
    return;
  }
  RecordArrival(now, packet.header);
  if (AsksForAck(packet)) RequestAck(now, false);
}

void Session::OnHeard() {
  if (!is_silent_) return;
  is_silent_ = false;
  Push(PeerHeard{peer_.node});
}

void Session::RecordArrival(absl::Time now, const wire::Header& header) {
  const bool is_largest = received_.empty() || header.number > received_.Newest(0).last;
  if (received_.Add(header.number) && is_largest) largest_received_at_ = now;
}

void Session::RequestAck(absl::Time now, bool at_once) {
  if (at_once || ++unacked_received_count_ >= kAckPacketsMax) {
    ack_due_ = std::min(ack_due_, now);
  } else {
    ack_due_ = std::min(ack_due_, now + ack_delay_);
  }
}

bool Session::OnData(absl::Time now, const wire::Packet& packet) {
  const absl::StatusOr<wire::DataHeader> header = wire::DecodeData(packet.body);
  if (!header.ok()) return false;
  const Reassembly::Result result =
      reassembly_.OnSegment(*header, packet.body.subspan(wire::kDataHeaderBytes));
  switch (result.outcome) {
    case Reassembly::Outcome::kWritten:
      break;
    case Reassembly::Outcome::kCompleted:
      counters_.data_bytes_delivered += result.message_bytes;
      Push(TransferDelivered{peer_.node, result.key, static_cast<size_t>(result.message_bytes)});
      RequestAck(now, true);
      break;
    case Reassembly::Outcome::kDuplicate:
    case Reassembly::Outcome::kUnknown:
      ++counters_.duplicates_received;
      break;
    case Reassembly::Outcome::kMalformed:
      // Acknowledged all the same: sending it again would not make it fit.
      ++counters_.corrupt_received;
      break;
  }
  return true;
}

bool Session::OnControl(absl::Time now, const wire::Packet& packet) {
  wire::Reader reader(packet.body);
  if (reader.rest().empty()) return false;
  while (!reader.rest().empty()) {
    if (!OnFrame(now, reader)) return false;
  }
  return true;
}

bool Session::OnFrame(absl::Time now, wire::Reader& reader) {
  switch (static_cast<wire::FrameType>(reader.U8())) {
    case wire::FrameType::kPing:
      RequestAck(now, true);
      return true;
    case wire::FrameType::kCredit: {
      const absl::StatusOr<wire::CreditFrame> credit = wire::DecodeCredit(reader);
      if (!credit.ok()) return false;
      send_window_.OnCredit(*credit);
      return true;
    }
    case wire::FrameType::kMessage: {
      const absl::StatusOr<wire::MessageFrame> message = wire::DecodeMessage(reader);
      if (!message.ok() || control_.IsBeyondWindow(*message)) return false;
      if (control_.IsNew(*message)) {
        Push(ControlDelivered{peer_.node, {message->bytes.begin(), message->bytes.end()}});
      } else {
        ++counters_.duplicates_received;
      }
      return true;
    }
    case wire::FrameType::kAck:
      return OnAckFrame(now, reader);
  }
  return false;
}

bool Session::OnAckFrame(absl::Time now, wire::Reader& reader) {
  if (!wire::DecodeAck(reader, ack_scratch_).ok()) return false;
  const LossDetector::AckResult result =
      loss_.OnAck(now, ack_scratch_, [this](const SentPacket& packet) { OnAcked(packet); });
  if (!result.valid) return false;
  counters_.packets_spuriously_lost += result.spurious_count;
  const uint64_t items_begin = loss_.ItemsBegin(sent_items_.end_number());
  while (sent_items_.begin_number() < items_begin) sent_items_.PopFront();
  if (is_probing_) {
    is_probing_ = false;
    next_probe_ = absl::InfiniteFuture();
    pacer_.Restart();
  }
  DetectLosses(now, {.acked_count = result.acked_count, .spurious_count = result.spurious_count});
  // Probes repeat what was acknowledged before: only what is new is an answer.
  if (result.acked_count + result.spurious_count > 0) {
    unanswered_since_ = loss_.in_flight_bytes() > 0 ? now : absl::InfiniteFuture();
  }
  return true;
}

// --- Acknowledged and lost packets, timers. ---

void Session::OnAcked(const SentPacket& packet) {
  if (packet.content == SentPacket::Content::kSegment) {
    const std::optional<TransferKey> sent = send_window_.OnAcked(packet);
    if (sent.has_value()) Push(TransferSent{peer_.node, *sent});
  } else if (packet.content == SentPacket::Content::kControl) {
    for (uint32_t i = 0; i < packet.slot; ++i) {
      const ControlItem& item = sent_items_[packet.items_begin + i];
      if (item.type == wire::FrameType::kMessage) control_.OnAcked(item.id);
    }
  }
}

void Session::OnLost(const SentPacket& packet) {
  ++counters_.packets_lost;
  if (packet.content == SentPacket::Content::kSegment) {
    send_window_.OnLost(packet);
  } else if (packet.content == SentPacket::Content::kControl) {
    for (uint32_t i = 0; i < packet.slot; ++i) {
      lost_items_.PushBack(sent_items_[packet.items_begin + i]);
    }
  }
}

void Session::DetectLosses(absl::Time now, Pacer::Feedback feedback) {
  feedback.lost_count =
      loss_.DetectLosses(now, [this](const SentPacket& packet) { OnLost(packet); });
  feedback.round_trip = loss_.base_round_trip();
  feedback.queueing = loss_.queueing();
  pacer_.OnFeedback(now, feedback);
  RefreshWindow();
  // A probe that is lost is not sent again: nothing is left to be answered.
  const bool idle = loss_.in_flight_bytes() == 0 && !HasControl() && !send_window_.HasSegment();
  if (idle && !is_probing_) unanswered_since_ = absl::InfiniteFuture();
}

void Session::OnTimeout(absl::Time now) {
  if (now >= loss_.NextTimeout()) DetectLosses(now, {});
  if (now >= answer_due_since_ + silence_limit_) OnSilence(now);
}

void Session::OnSilence(absl::Time now) {
  const absl::Time since = std::exchange(answer_due_since_, absl::InfiniteFuture());
  if (!is_probing_) {
    is_probing_ = true;
    next_probe_ = now;
    loss_.CallAllLost(now, [this](const SentPacket& packet) { OnLost(packet); });
  }
  if (!is_silent_) {
    is_silent_ = true;
    Push(PeerSilent{peer_.node, since});
  }
}

absl::Time Session::NextTimeout() const {
  absl::Time next = std::min(ack_due_, loss_.NextTimeout());
  next = std::min(next, answer_due_since_ + silence_limit_);
  if (is_probing_) return std::min(next, next_probe_);
  const bool has_control = HasControl() && MayUseWindow(kControlWindowBytes);
  const bool has_segment = send_window_.HasSegment() && MayUseWindow(0);
  if (has_control || has_segment) next = std::min(next, pacer_.NextSend());
  return next;
}

}  // namespace perigee
