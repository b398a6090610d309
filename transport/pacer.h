// When the next packet may go out: a token bucket at the planned rate, in the form of the generic
// cell rate algorithm, and the window of bytes in flight.
//
// The plan gives the rate, so there is no slow start and no rate cut on loss alone: a radio link
// loses packets without being full. The rate is cut (x 0.7, not below 1/64 of the plan) only where
// the plan cannot be right: more than 30 % lost over two round trips while something still arrives,
// or a queue that makes the round trip longer than planned by more than max(2 T, 20 ms). It comes
// back by 1/32 of the plan per round trip. A link that is wholly silent is down, not full: it
// resumes at the plan's rate.
//
// The window is 1.25 · rate · (T + ack delay) + 64 packets, and 256 packets where the plan names no
// rate.
#pragma once

#include <cstdint>

#include "absl/time/time.h"
#include "transport/contact_plan.h"

namespace perigee {

class Pacer {
 public:
  static constexpr size_t kPacketBytes = 1452;    // a full packet with its IP and UDP headers
  static constexpr size_t kBurstPacketsMax = 64;  // one GSO batch
  static constexpr size_t kWindowSlackPackets = 64;
  static constexpr size_t kUnpacedWindowPackets =
      256;  // 8 peers stay inside a socket buffer of 4 MiB

  // The plan's rate from now on, fully.
  void SetPlan(const Link& link);
  // How long the largest burst takes on the wire.
  absl::Duration burst() const { return burst_; }

  bool MaySend(absl::Time now) const { return now >= next_send_; }
  // InfinitePast when a packet may go at once.
  absl::Time NextSend() const { return next_send_; }
  void OnSent(absl::Time now, size_t wire_bytes);
  uint64_t WindowBytes(absl::Duration round_trip, absl::Duration ack_delay) const;

  // What an ACK or a timer taught. `queueing`: the round trip over the expected one.
  struct Feedback {
    uint32_t acked_count = 0;
    uint32_t lost_count = 0;
    uint32_t spurious_count = 0;
    absl::Duration round_trip;  // the expected one, without queueing
    absl::Duration queueing;
  };
  void OnFeedback(absl::Time now, const Feedback& feedback);
  // Forgets the cuts: the link was down and is up again.
  void Restart();
  double bytes_per_second() const { return rate_; }  // 0: unlimited

 private:
  void SetRate(double rate);

  double planned_rate_ = 0;
  double rate_ = 0;
  absl::Duration burst_ = absl::ZeroDuration();
  absl::Duration per_packet_ = absl::ZeroDuration();  // kPacketBytes at the present rate
  absl::Time wire_free_ =
      absl::InfinitePast();  // when all that was sent would have left at this rate
  absl::Time next_send_ = absl::InfinitePast();

  absl::Time period_begin_ = absl::InfinitePast();  // of counting, two round trips
  uint64_t period_acked_ = 0;
  uint64_t period_lost_ = 0;
};

}  // namespace perigee
