#include "transport/reassembly.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "transport/base/status.h"

namespace perigee {

absl::StatusOr<uint64_t> Reassembly::Post(const TransferKey& key, MutableRegion region) {
  if (region.size() > wire::kMessageBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat("receive ", ToString(key), ": ", region.size(),
                                                   " bytes are more than a message holds"));
  }
  if (by_key_.contains(key) || delivered_.contains(key)) {
    return absl::AlreadyExistsError(
        absl::StrCat("receive ", ToString(key), " is posted or was delivered"));
  }
  const uint64_t message = next_message_++;
  Incoming incoming{.key = key, .region = region};
  incoming.segment_count = wire::SegmentCount(region.size());
  incoming.received.assign((incoming.segment_count + 63) / 64, 0);
  by_message_.emplace(message, std::move(incoming));
  by_key_.emplace(key, message);
  return message;
}

void Reassembly::Cancel(const TransferKey& key) {
  auto it = by_key_.find(key);
  if (it == by_key_.end()) return;
  by_message_.erase(it->second);
  by_key_.erase(it);
}

void Reassembly::CancelEpoch(Epoch epoch) {
  auto it = by_key_.lower_bound({.epoch = epoch});
  while (it != by_key_.end() && it->first.epoch == epoch) {
    by_message_.erase(it->second);
    it = by_key_.erase(it);
  }
}

std::optional<wire::CreditFrame> Reassembly::CreditFor(uint64_t message) const {
  auto it = by_message_.find(message);
  if (it == by_message_.end() || it->second.received_count > 0) return std::nullopt;
  return wire::CreditFrame{message, it->second.region.size(), it->second.key};
}

Reassembly::Result Reassembly::OnSegment(const wire::DataHeader& header,
                                         absl::Span<const uint8_t> bytes) {
  auto it = by_message_.find(header.message);
  if (it == by_message_.end()) return {.outcome = Outcome::kUnknown};
  Incoming& incoming = it->second;
  const uint64_t size = incoming.region.size();
  const uint64_t offset = uint64_t{header.segment} * wire::kSegmentBytes;
  if (header.segment_count != incoming.segment_count || header.segment >= incoming.segment_count ||
      bytes.size() != std::min<uint64_t>(wire::kSegmentBytes, size - offset)) {
    return {.outcome = Outcome::kMalformed};
  }
  uint64_t& word = incoming.received[header.segment / 64];
  const uint64_t bit = uint64_t{1} << (header.segment % 64);
  if ((word & bit) != 0) return {.outcome = Outcome::kDuplicate};
  word |= bit;
  incoming.region.Write(offset, bytes);
  if (++incoming.received_count < incoming.segment_count) return {.outcome = Outcome::kWritten};

  const Result completed{Outcome::kCompleted, incoming.key, size};
  by_message_.erase(it);
  by_key_.erase(completed.key);
  Remember(completed.key);
  return completed;
}

void Reassembly::Remember(const TransferKey& key) {
  delivered_.insert(key);
  delivered_order_.push_back(key);
  if (delivered_order_.size() > delivered_max_) {
    delivered_.erase(delivered_order_.front());
    delivered_order_.pop_front();
  }
}

}  // namespace perigee
