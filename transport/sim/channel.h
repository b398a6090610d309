// The model of one directed link, in either world: the simulator asks it in virtual time, and the
// UDP driver asks it in real time (udp/lossy_egress.h), so that a laptop without root runs lossy.
//
//   Channel channel({.link = {25e6, absl::Milliseconds(10)}, .loss = 0.01}, Rng(seed));
//   for (const Arrival& a : channel.Send(now, wire_bytes)) Schedule(a.at, packet, a.flipped_bit);
//
// Deterministic: the fate of a packet depends on the seed, its number, its size and its time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "transport/base/rng.h"
#include "transport/contact_plan.h"

namespace perigee {

struct ChannelSettings {
  Link link;  // bytes_per_second of IP packets; 0 means unlimited. One-way delay.
  // Mean fraction of packets lost while the link is up.
  double loss = 0;
  // Zero: independent losses. Else losses come in bad periods of this mean length (exponential,
  // driven by time, not by packets, so that a sender that backs off cannot freeze the bad state);
  // inside a bad period a packet is lost with probability burst_loss, and bad periods take loss /
  // burst_loss of the time.
  absl::Duration burst_mean = absl::ZeroDuration();
  double burst_loss = 1;
  double reorder = 0;  // probability that a packet is held back by up to reorder_delay_max
  absl::Duration reorder_delay_max = absl::Milliseconds(2);
  double duplicate = 0;  // probability that a packet arrives twice
  double bit_flip = 0;   // probability that one bit of a packet is flipped
  // Bytes that wait for the wire; what does not fit is dropped. Zero: 2 bandwidth-delay products
  // (of the round trip, 2 · link.delay), at least 128 KiB.
  size_t queue_bytes_max = 0;
  // Times in which nothing passes, sorted, disjoint, half-open. A packet that waits for the wire or
  // is on it inside such a window is lost; one that left before arrives.
  std::vector<std::pair<absl::Time, absl::Time>> down;
};

// InvalidArgument naming the field that is out of range.
absl::Status Validate(const ChannelSettings& settings);

struct Arrival {
  absl::Time at;
  std::optional<uint64_t> flipped_bit;  // index inside the packet, below its size in bits
};

class Channel {
 public:
  // `settings` must be valid.
  Channel(ChannelSettings settings, Rng rng);

  // One packet of `wire_bytes` is handed to the link at `now` (not decreasing). No arrival: lost.
  absl::InlinedVector<Arrival, 2> Send(absl::Time now, size_t wire_bytes);

  // Takes the link down or up from now on, on top of the scheduled windows (fault scripts).
  void SetDown(bool down) { forced_down_ = down; }
  const ChannelSettings& settings() const { return settings_; }
  // Packets without an arrival, for any reason; `packets_dropped` of them found the queue full.
  uint64_t packets_lost() const { return packets_lost_; }
  uint64_t packets_dropped() const { return packets_dropped_; }

 private:
  // Does anything of [now, leaves] lie in a down window?
  bool IsDown(absl::Time now, absl::Time leaves);
  bool IsLost(absl::Time on_wire);
  bool IsBad(absl::Time on_wire);
  Arrival DrawArrival(absl::Time at, size_t wire_bytes);

  ChannelSettings settings_;
  Rng rng_;
  // Bad periods have their own numbers: their times do not depend on what is sent.
  Rng burst_rng_;
  size_t queue_bytes_max_;
  absl::Time wire_free_ = absl::InfinitePast();
  absl::Time bad_from_ = absl::InfinitePast();  // the present or next bad period
  absl::Time bad_until_ = absl::InfinitePast();
  size_t down_index_ = 0;
  bool forced_down_ = false;
  uint64_t packets_lost_ = 0;
  uint64_t packets_dropped_ = 0;
};

}  // namespace perigee
