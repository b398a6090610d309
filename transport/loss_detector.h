// What was sent and what became of it: the record of every packet from its departure until it is
// known to be acknowledged or given up, the round-trip estimate, and the two rules that call a
// packet lost.
//
// T is the planned round trip (or the measured one, where that is longer).
//   gap:   a packet that left later by at least max(1 packet, T/32) was acknowledged. A path is
//   FIFO, so a gap
//          is a loss. As in RACK (RFC 8985), the clock goes on after the acknowledgement arrived,
//          so that a gap at the end of a burst does not wait for the timer. Packets that were
//          called lost by a gap and then acknowledged double the T/32, up to T/2.
//   timer: 2·delay + ack delay + max(1 ms, 4 sigma) after the departure, with the measured
//   queueing. There is
//          no exponential back-off: timers come from the plan.
//
// A lost packet stays on record until a packet that left after it was called lost is acknowledged:
// if it did arrive, the acknowledgement says so until then, and what it carried is not sent again.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "transport/ack_ranges.h"
#include "transport/contact_plan.h"
#include "transport/ring_buffer.h"
#include "transport/wire.h"

namespace perigee {

struct SentPacket {
  enum class State : uint8_t { kInFlight, kAcked, kLost };
  // kNothing: nothing to send again (an ACK, which is never in flight, or a PING).
  enum class Content : uint8_t { kNothing, kSegment, kControl };

  absl::Time sent;
  absl::Time called_lost;    // set in state kLost
  uint64_t message = 0;      // kSegment: which segment of which message
  uint64_t items_begin = 0;  // the control items in flight start here; of kControl: its own items
  uint32_t slot = 0;         // kSegment: place in the send window; kControl: number of items
  uint32_t segment = 0;
  uint16_t wire_bytes = 0;
  State state = State::kInFlight;
  Content content = Content::kNothing;
  bool lost_by_gap = false;
};

class LossDetector {
 public:
  // Records per session; when full, the oldest is called lost and forgotten.
  static constexpr size_t kTrackedMax = size_t{1} << 20;
  static constexpr int kReorderFactorMax = 16;  // times T/32

  using OnPacket = absl::FunctionRef<void(const SentPacket&)>;

  // `burst`: how long the pacer's largest burst takes on the wire, queueing that the plan does not
  // know.
  void SetPlan(const Link& link, absl::Duration ack_delay, absl::Duration burst);

  uint64_t next_number() const { return sent_.end_number(); }
  // All packets below are forgotten: the floor of the next packet.
  uint64_t floor() const { return sent_.begin_number(); }
  // Records the packet next_number(). An ACK packet is recorded with state kAcked. `on_lost` is
  // called at the bound only.
  void OnSent(absl::Time now, const SentPacket& packet, OnPacket on_lost);

  struct AckResult {
    bool valid = false;        // names only packets that were sent
    uint32_t acked_count = 0;  // newly, of those in flight
    uint32_t spurious_count = 0;
    uint32_t spurious_bytes = 0;
  };
  // `on_acked` is called once for each packet that is acknowledged for the first time, lost or not.
  AckResult OnAck(absl::Time now, const wire::AckFrame& ack, OnPacket on_acked);
  // Applies both rules; returns how many were lost. `on_lost` sees each packet once.
  uint32_t DetectLosses(absl::Time now, OnPacket on_lost);
  // Everything in flight is unknown from now on (an outage).
  void CallAllLost(absl::Time now, OnPacket on_lost);
  // When DetectLosses may find something; InfiniteFuture when nothing is in flight.
  absl::Time NextTimeout() const;

  uint64_t in_flight_bytes() const { return in_flight_bytes_; }
  // Control items with smaller numbers are in no record any more; `end` is returned when there is
  // no record.
  uint64_t ItemsBegin(uint64_t end) const {
    return sent_.empty() ? end : sent_.front().items_begin;
  }
  // The planned round trip with its bursts, or the shortest one measured where the plan is too
  // short.
  absl::Duration base_round_trip() const;
  absl::Duration smoothed_round_trip() const { return smoothed_; }  // zero before the first sample
  // How much the present round trip is longer than base_round_trip().
  absl::Duration queueing() const;

 private:
  void OnRoundTrip(absl::Duration sample);
  void CallLost(absl::Time now, SentPacket& packet, OnPacket on_lost);
  void Forget();
  void SkipSettled();
  absl::Duration ReorderWindow() const;
  absl::Duration Timeout() const;

  RingBuffer<SentPacket> sent_;   // indexed by packet number
  uint64_t first_in_flight_ = 0;  // nothing below is in flight
  uint64_t in_flight_bytes_ = 0;
  AckRanges acked_;                 // what is known to be acknowledged, from floor() on
  std::vector<PacketRange> added_;  // scratch
  uint64_t largest_acked_ = 0;
  absl::Time largest_acked_sent_ = absl::InfinitePast();
  absl::Time largest_acked_at_ = absl::InfinitePast();  // when that acknowledgement arrived

  absl::Duration planned_round_trip_;
  absl::Duration ack_delay_;
  absl::Duration smoothed_;
  absl::Duration deviation_;  // mean absolute deviation, RFC 6298's RTTVAR; stands for sigma
  absl::Duration shortest_ = absl::InfiniteDuration();
  int reorder_factor_ = 1;
};

}  // namespace perigee
