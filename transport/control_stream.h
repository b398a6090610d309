// Control messages of one session, both directions: small, without credit, delivered exactly once,
// unordered. The sender numbers them and keeps each until it is acknowledged; the receiver keeps
// the set of numbers that it saw above the sender's floor.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "transport/ack_ranges.h"
#include "transport/ring_buffer.h"
#include "transport/wire.h"

namespace perigee {

class ControlStream {
 public:
  // How far the newest control id may be ahead of the oldest unacknowledged one. The receiver's
  // ranges then never reach their bound, at which it would forget that it has not seen an id.
  static constexpr uint64_t kSpanMax = AckRanges::kRangesMax;

  explicit ControlStream(size_t unacked_max) : unacked_max_(unacked_max) {}

  size_t unacked_count() const { return unacked_count_; }

  // The id of the new message. ResourceExhausted when unacked_max are unacknowledged.
  absl::StatusOr<uint64_t> Queue(absl::Span<const uint8_t> bytes);
  // What to send for an id; nothing once it is acknowledged.
  std::optional<wire::MessageFrame> FrameFor(uint64_t id) const;
  void OnAcked(uint64_t id);

  // An id that no honest sender can use now: the frame must be ignored and not acknowledged.
  bool IsBeyondWindow(const wire::MessageFrame& frame) const;
  // True the first time; the frame must not be beyond the window.
  bool IsNew(const wire::MessageFrame& frame);

 private:
  struct Outgoing {
    std::vector<uint8_t> bytes;
    bool is_acked = false;
  };

  size_t unacked_max_;
  size_t unacked_count_ = 0;
  RingBuffer<Outgoing> outgoing_;  // by control id
  AckRanges received_;
};

}  // namespace perigee
