// One directed link of the emulated network: the channel model of the simulator (transport/sim),
// asked once per wire packet, plus what only a live network needs: windows of a contact plan in
// which rate and delay may differ, and changes while it runs. Pure: `now` comes in.
//
//   EmulatedLink link({.from = 0, .to = 1, .channel = settings}, Rng(seed));
//   for (const Arrival& arrival : link.Send(now, 1500)) ...
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "transport/base/rng.h"
#include "transport/sim/channel.h"

namespace perigee::linkemu {

// A time in which the link exists, with what it then is. Half-open: [opens, closes).
struct LinkWindow {
  absl::Time opens = absl::InfinitePast();
  absl::Time closes = absl::InfiniteFuture();
  Link link;
};

struct LinkSettings {
  int from = 0;
  int to = 0;
  ChannelSettings channel;
  // Sorted and disjoint. Empty: always open, as channel.link says; else the windows' links hold.
  std::vector<LinkWindow> windows;
};

// What a running link can be told. What is absent stays as it is.
struct LinkChange {
  std::optional<bool> down;
  std::optional<double> bytes_per_second;
  std::optional<absl::Duration> delay;
  std::optional<double> loss;
  std::optional<absl::Duration> burst_mean;
  std::optional<double> burst_loss;
  std::optional<double> reorder;
  std::optional<double> duplicate;
  std::optional<double> bit_flip;
  std::optional<uint64_t> queue_bytes_max;
};

struct LinkCounters {
  uint64_t packets = 0;        // wire packets handed to the link
  uint64_t bytes = 0;          // IP bytes of them
  uint64_t lost = 0;           // drawn: random loss and bursts, and what a closing window cut off
  uint64_t queue_dropped = 0;  // found the queue full
  uint64_t down_dropped = 0;   // came while the link was down or no window was open
  uint64_t duplicated = 0;
  uint64_t flipped = 0;
  uint64_t overflowed = 0;  // the emulator's memory was full: a figure with these is not valid
};

class EmulatedLink {
 public:
  // `settings` must be valid. InfiniteFuture-bounded windows are fine.
  EmulatedLink(LinkSettings settings, Rng rng);

  // One wire packet is handed to the link; a `now` before an earlier one is held at that.
  absl::InlinedVector<Arrival, 2> Send(absl::Time now, size_t wire_bytes);

  // Takes effect for what is sent from `now` on: what already waits for the wire or travels keeps
  // its fate, and new settings begin when the wire is free. A rate or delay of a link with contact
  // windows changes them all. InvalidArgument changes nothing.
  absl::Status Change(absl::Time now, const LinkChange& change);

  // How long the wire is busy with a packet now; zero when the rate is unlimited.
  absl::Duration WireTime(size_t wire_bytes) const;
  int from() const { return settings_.from; }
  int to() const { return settings_.to; }
  bool down() const { return down_; }
  const ChannelSettings& channel_settings() const { return channel_->settings(); }
  const LinkCounters& counters() const { return counters_; }
  LinkCounters& counters() { return counters_; }

 private:
  // The channel as of the present window; it starts when the wire is free.
  void MakeChannel();
  // Steps to the window that holds or follows `now`. False: none is open then.
  bool EnterWindow(absl::Time now);

  LinkSettings settings_;
  Rng rng_;
  std::optional<Channel> channel_;
  size_t window_ = 0;
  bool down_ = false;
  absl::Time last_send_ = absl::InfinitePast();
  absl::Time wire_free_ = absl::InfinitePast();      // of packets that arrive, at the latest
  absl::Time channel_start_ = absl::InfinitePast();  // the present channel sees no earlier time
  LinkCounters counters_;
};

}  // namespace perigee::linkemu
