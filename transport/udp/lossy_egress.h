// A channel model laid over a socket's way out, so that real processes on one machine (no root, no
// network namespaces) see rate, delay, loss, bursts, reorder, duplicates and bit flips. A driver
// pushes what it would have sent and sends what comes out when it is due:
//
//   LossyEgress egress({}, Rng(seed));
//   const size_t to = egress.AddDestination({.link = {25e6, absl::Milliseconds(10)}, .loss =
//   0.01}); PERIGEE_RETURN_IF_ERROR(egress.Push(now, to, datagram));
//   ... wait until egress.NextDue() ...
//   while (auto due = egress.PopDue(now)) Send(address[due->to], due->bytes);
//
// Pure in `now`: the same inputs give the same outputs, in virtual time too. Thread-compatible.
// Once the queue has grown to its working size, nothing is allocated per packet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "transport/base/rng.h"
#include "transport/sim/channel.h"

namespace perigee {

class LossyEgress {
 public:
  // What IPv4 and UDP put in front of the payload: the channel counts bytes of IP packets.
  static constexpr size_t kHeaderBytes = 28;
  static constexpr size_t kDatagramBytesMax = 2048;

  struct Options {
    // Copies under way on all links together; what comes on top is lost and counted.
    size_t datagrams_max = 1 << 17;
  };
  struct Counters {
    uint64_t pushed = 0;
    uint64_t released = 0;    // duplicates included
    uint64_t duplicated = 0;  // copies beyond the first
    uint64_t flipped = 0;     // copies queued with a flipped bit
    uint64_t lost = 0;        // by the channels: random loss, down windows, full link queues
    uint64_t overflowed = 0;  // copies that found datagrams_max of them under way
  };
  struct Due {
    size_t to = 0;
    absl::Span<const uint8_t> bytes;  // valid until the next PopDue
  };

  LossyEgress(const Options& options, Rng rng);

  // Adds a directed link and returns its index, counted from 0. `settings` must be valid.
  size_t AddDestination(const ChannelSettings& settings);

  // Hands one datagram to link `to`. Loss is no error. InvalidArgument above kDatagramBytesMax.
  // Time that runs backwards (absl::Now after a clock step) is held at the last `now`.
  absl::Status Push(absl::Time now, size_t to, absl::Span<const uint8_t> datagram);

  // When the first copy under way arrives; InfiniteFuture when there is none.
  absl::Time NextDue() const;
  // The next copy due by `now`, in the order of arrival (and of Push, at one instant).
  std::optional<Due> PopDue(absl::Time now);

  // For fault scripts: SetDown. Valid until the next AddDestination.
  Channel& channel(size_t to);
  const Counters& counters() const { return counters_; }
  size_t under_way_count() const { return heap_.size(); }

 private:
  static constexpr size_t kSlotsPerSlab = 64;
  struct Slab {
    uint8_t bytes[kSlotsPerSlab][kDatagramBytesMax];
  };
  struct Entry {
    absl::Time at;
    uint64_t sequence = 0;
    uint32_t slot = 0;
    uint32_t to = 0;
    size_t size = 0;
  };
  static bool IsLater(const Entry& a, const Entry& b);

  void Queue(const Arrival& arrival, size_t to, absl::Span<const uint8_t> datagram);
  uint32_t TakeSlot();
  uint8_t* Slot(uint32_t slot) { return slabs_[slot / kSlotsPerSlab]->bytes[slot % kSlotsPerSlab]; }

  Options options_;
  Rng rng_;
  std::vector<Channel> channels_;
  std::vector<Entry> heap_;  // ordered by IsLater: the first due is in front
  std::vector<std::unique_ptr<Slab>> slabs_;
  std::vector<uint32_t> free_slots_;
  std::optional<uint32_t> handed_out_;  // the slot of the last Due
  uint64_t next_sequence_ = 0;
  absl::Time last_push_ = absl::InfinitePast();
  Counters counters_;
};

}  // namespace perigee
