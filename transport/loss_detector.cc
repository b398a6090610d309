#include "transport/loss_detector.h"

#include <algorithm>

namespace perigee {
namespace {

constexpr absl::Duration kDeviationMin = absl::Milliseconds(1);

}  // namespace

void LossDetector::SetPlan(const Link& link, absl::Duration ack_delay, absl::Duration burst) {
  planned_round_trip_ = 2 * link.delay + 2 * burst;
  ack_delay_ = ack_delay;
  shortest_ = absl::InfiniteDuration();
}

absl::Duration LossDetector::base_round_trip() const {
  if (shortest_ == absl::InfiniteDuration()) return planned_round_trip_;
  return std::max(planned_round_trip_, shortest_);
}

absl::Duration LossDetector::queueing() const {
  return std::max(absl::ZeroDuration(), smoothed_ - base_round_trip());
}

absl::Duration LossDetector::ReorderWindow() const {
  return std::max(planned_round_trip_, smoothed_) * reorder_factor_ / 32;
}

absl::Duration LossDetector::Timeout() const {
  return std::max(planned_round_trip_, smoothed_) + ack_delay_ +
         std::max(kDeviationMin, 4 * deviation_);
}

void LossDetector::OnSent(absl::Time now, const SentPacket& packet, OnPacket on_lost) {
  if (sent_.size() >= kTrackedMax) {
    if (sent_.front().state == SentPacket::State::kInFlight) CallLost(now, sent_.front(), on_lost);
    sent_.PopFront();
  }
  SentPacket& record = sent_.PushBack(packet);
  record.sent = now;
  if (record.state == SentPacket::State::kInFlight) in_flight_bytes_ += record.wire_bytes;
  SkipSettled();
  Forget();
}

void LossDetector::OnRoundTrip(absl::Duration sample) {
  shortest_ = std::min(shortest_, sample);
  if (smoothed_ == absl::ZeroDuration()) {  // RFC 6298 2.2, 2.3
    smoothed_ = sample;
    deviation_ = sample / 8;
    return;
  }
  const absl::Duration error = sample > smoothed_ ? sample - smoothed_ : smoothed_ - sample;
  deviation_ += (error - deviation_) / 4;
  smoothed_ += (sample - smoothed_) / 8;
}

LossDetector::AckResult LossDetector::OnAck(absl::Time now, const wire::AckFrame& ack,
                                            OnPacket on_acked) {
  AckResult result;
  if (ack.ranges.empty()) {
    result.valid = true;
    return result;
  }
  if (ack.largest >= next_number()) return result;
  result.valid = true;
  added_.clear();
  acked_.Merge(ack.ranges, added_);
  for (const PacketRange& range : added_) {
    for (uint64_t n = std::max(range.first, sent_.begin_number()); n <= range.last; ++n) {
      SentPacket& packet = sent_[n];
      if (packet.state == SentPacket::State::kAcked) continue;
      if (packet.state == SentPacket::State::kInFlight) {
        in_flight_bytes_ -= packet.wire_bytes;
        ++result.acked_count;
      } else {
        ++result.spurious_count;
        result.spurious_bytes += packet.wire_bytes;
        if (packet.lost_by_gap) reorder_factor_ = std::min(2 * reorder_factor_, kReorderFactorMax);
      }
      on_acked(packet);
      packet.state = SentPacket::State::kAcked;
    }
  }
  if (!added_.empty() && added_.front().last == ack.largest && sent_.Has(ack.largest)) {
    const absl::Time sent = sent_[ack.largest].sent;
    OnRoundTrip(std::max(absl::ZeroDuration(), now - sent - ack.hold));
    if (sent >= largest_acked_sent_) {
      largest_acked_ = ack.largest;
      largest_acked_sent_ = sent;
      largest_acked_at_ = now;
    }
  }
  SkipSettled();
  Forget();
  return result;
}

void LossDetector::CallLost(absl::Time now, SentPacket& packet, OnPacket on_lost) {
  packet.state = SentPacket::State::kLost;
  packet.called_lost = now;
  in_flight_bytes_ -= packet.wire_bytes;
  on_lost(packet);
}

uint32_t LossDetector::DetectLosses(absl::Time now, OnPacket on_lost) {
  uint32_t lost_count = 0;
  const absl::Duration timeout = Timeout();
  const absl::Duration window = ReorderWindow();
  // Departures do not decrease with the number, so the first packet that is not lost ends the
  // search.
  for (; first_in_flight_ < sent_.end_number(); ++first_in_flight_) {
    SentPacket& packet = sent_[first_in_flight_];
    if (packet.state != SentPacket::State::kInFlight) continue;
    packet.lost_by_gap = first_in_flight_ < largest_acked_ &&
                         now >= largest_acked_at_ + (packet.sent - largest_acked_sent_) + window;
    if (!packet.lost_by_gap && now < packet.sent + timeout) break;
    CallLost(now, packet, on_lost);
    ++lost_count;
  }
  Forget();
  return lost_count;
}

void LossDetector::CallAllLost(absl::Time now, OnPacket on_lost) {
  for (; first_in_flight_ < sent_.end_number(); ++first_in_flight_) {
    SentPacket& packet = sent_[first_in_flight_];
    if (packet.state == SentPacket::State::kInFlight) CallLost(now, packet, on_lost);
  }
}

void LossDetector::SkipSettled() {
  first_in_flight_ = std::max(first_in_flight_, sent_.begin_number());
  while (first_in_flight_ < sent_.end_number() &&
         sent_[first_in_flight_].state != SentPacket::State::kInFlight) {
    ++first_in_flight_;
  }
}

void LossDetector::Forget() {
  while (!sent_.empty()) {
    const SentPacket& oldest = sent_.front();
    if (oldest.state == SentPacket::State::kInFlight) break;
    if (oldest.state == SentPacket::State::kLost && largest_acked_sent_ <= oldest.called_lost)
      break;
    sent_.PopFront();
  }
  first_in_flight_ = std::max(first_in_flight_, sent_.begin_number());
  acked_.RaiseFloor(sent_.begin_number());
}

absl::Time LossDetector::NextTimeout() const {
  if (first_in_flight_ >= sent_.end_number()) return absl::InfiniteFuture();
  const SentPacket& packet = sent_[first_in_flight_];
  const absl::Time by_timer = packet.sent + Timeout();
  if (first_in_flight_ >= largest_acked_) return by_timer;
  return std::min(by_timer,
                  largest_acked_at_ + (packet.sent - largest_acked_sent_) + ReorderWindow());
}

}  // namespace perigee
