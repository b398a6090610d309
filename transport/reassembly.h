// The receiving half of transfers: the posted regions by message id. Each segment is written at its
// final place, in any order; one bit per segment says whether it is there, and is the only state.
// Bytes outside a posted region are never touched, and no byte is written twice.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "transport/endpoint.h"
#include "transport/region.h"
#include "transport/wire.h"

namespace perigee {

class Reassembly {
 public:
  // Remembers the last `delivered_max` keys that were delivered, to refuse them.
  explicit Reassembly(size_t delivered_max) : delivered_max_(delivered_max) {}

  // The new message id. AlreadyExists for a key that is posted or was delivered; InvalidArgument
  // above wire::kMessageBytesMax.
  absl::StatusOr<uint64_t> Post(const TransferKey& key, MutableRegion region);
  void Cancel(const TransferKey& key);  // unknown keys are fine
  void CancelEpoch(Epoch epoch);
  size_t posted_count() const { return by_key_.size(); }

  // What to tell the sender; nothing when the message is gone, or has segments: then the credit
  // arrived.
  std::optional<wire::CreditFrame> CreditFor(uint64_t message) const;

  enum class Outcome {
    kWritten,
    kCompleted,
    kDuplicate,
    kUnknown,    // cancelled or finished
    kMalformed,  // does not fit the posted region
  };
  struct Result {
    Outcome outcome = Outcome::kUnknown;
    TransferKey key;             // of kCompleted
    uint64_t message_bytes = 0;  // of kCompleted
  };
  Result OnSegment(const wire::DataHeader& header, absl::Span<const uint8_t> bytes);

 private:
  struct Incoming {
    TransferKey key;
    MutableRegion region;
    uint32_t segment_count = 0;
    uint32_t received_count = 0;
    std::vector<uint64_t> received;  // bitmap
  };

  void Remember(const TransferKey& key);

  size_t delivered_max_;
  uint64_t next_message_ = 1;
  absl::flat_hash_map<uint64_t, Incoming> by_message_;
  std::map<TransferKey, uint64_t> by_key_;
  absl::flat_hash_set<TransferKey> delivered_;
  std::deque<TransferKey> delivered_order_;
};

}  // namespace perigee
