#include "transport/pacer.h"

#include <algorithm>

#include "transport/base/status.h"

namespace perigee {
namespace {

constexpr double kCutFactor = 0.7;
constexpr double kRateMinFraction = 1.0 / 64;
constexpr double kRecoverFraction = 1.0 / 32;  // of the plan, per round trip
constexpr double kLossFractionMax = 0.3;
constexpr uint64_t kLossSamplesMin = 64;
constexpr absl::Duration kQueueingMin = absl::Milliseconds(20);
constexpr absl::Duration kPeriodMin = absl::Milliseconds(10);
constexpr absl::Duration kBurstTarget = absl::Milliseconds(1);
constexpr double kWindowFactor = 1.25;

}  // namespace

void Pacer::SetPlan(const Link& link) {
  planned_rate_ = link.bytes_per_second;
  wire_free_ = absl::InfinitePast();
  next_send_ = absl::InfinitePast();
  Restart();
}

void Pacer::Restart() {
  SetRate(planned_rate_);
  period_begin_ = absl::InfinitePast();
  period_acked_ = 0;
  period_lost_ = 0;
}

void Pacer::SetRate(double rate) {
  rate_ = rate;
  if (rate_ == 0) return;
  per_packet_ = absl::Seconds(kPacketBytes / rate_);
  burst_ = std::clamp(kBurstTarget, 2 * per_packet_, kBurstPacketsMax * per_packet_);
}

void Pacer::OnSent(absl::Time now, size_t wire_bytes) {
  if (rate_ == 0) return;
  const absl::Duration cost = wire_bytes == kPacketBytes
                                  ? per_packet_
                                  : absl::Seconds(static_cast<double>(wire_bytes) / rate_);
  wire_free_ = std::max(wire_free_, now) + cost;
  if (wire_free_ - now <= burst_) {
    next_send_ = absl::InfinitePast();
  } else {
    // Wait until a quarter of the bucket is there, so that packets go in batches.
    next_send_ = wire_free_ - burst_ * 3 / 4;
  }
}

uint64_t Pacer::WindowBytes(absl::Duration round_trip, absl::Duration ack_delay) const {
  if (rate_ == 0) return kUnpacedWindowPackets * kPacketBytes;
  return static_cast<uint64_t>(kWindowFactor * rate_ *
                               absl::ToDoubleSeconds(round_trip + ack_delay)) +
         kWindowSlackPackets * kPacketBytes;
}

void Pacer::OnFeedback(absl::Time now, const Feedback& feedback) {
  if (planned_rate_ == 0) return;
  period_acked_ += feedback.acked_count + feedback.spurious_count;
  period_lost_ += feedback.lost_count;
  period_lost_ -= std::min<uint64_t>(period_lost_, feedback.spurious_count);
  if (period_begin_ == absl::InfinitePast()) period_begin_ = now;
  const absl::Duration period = 2 * std::max(kPeriodMin, feedback.round_trip + feedback.queueing);
  if (now - period_begin_ < period) return;

  const uint64_t total = period_acked_ + period_lost_;
  const bool overloaded =
      period_acked_ > 0 && total >= kLossSamplesMin && period_lost_ > kLossFractionMax * total;
  const bool queue_builds = feedback.queueing > std::max(2 * feedback.round_trip, kQueueingMin);
  if (overloaded || queue_builds) {
    SetRate(std::max(planned_rate_ * kRateMinFraction, rate_ * kCutFactor));
  } else if (rate_ < planned_rate_) {
    SetRate(std::min(planned_rate_, rate_ + 2 * kRecoverFraction * planned_rate_));
  }
  period_begin_ = now;
  period_acked_ = 0;
  period_lost_ = 0;
}

}  // namespace perigee
