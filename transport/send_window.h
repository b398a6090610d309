// The sending half of transfers: what was offered, which credits are there, which segment goes
// next, and which are acknowledged. A transfer starts when both its offer and its credit are there,
// in either order.
//
// Next: first what was lost, in the order of its loss, then new segments by (traffic class, op,
// chunk, phase). The bytes stay in the caller's region until they are written into a packet.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

#include "absl/status/status.h"
#include "transport/endpoint.h"
#include "transport/loss_detector.h"
#include "transport/region.h"
#include "transport/ring_buffer.h"
#include "transport/wire.h"

namespace perigee {

class SendWindow {
 public:
  // Bounds the credits that wait for their offers; past it the one with the smallest key is
  // forgotten.
  explicit SendWindow(size_t credits_max) : credits_max_(credits_max) {}

  // AlreadyExists for a key that is offered; InvalidArgument above wire::kMessageBytesMax.
  absl::Status Offer(const TransferKey& key, ConstRegion region, TrafficClass traffic_class);
  // Unknown keys are fine. A credit under which bytes went out is spent: the receiver may hold some
  // of them.
  void Cancel(const TransferKey& key);
  void CancelEpoch(Epoch epoch);  // offers and credits
  size_t offered_count() const { return by_key_.size(); }

  // A credit for another size than the offer's is counted, and the offer goes on waiting for the
  // right one.
  void OnCredit(const wire::CreditFrame& credit);
  uint64_t credits_refused() const { return credits_refused_; }

  struct Segment {
    wire::DataHeader header;
    uint32_t slot = 0;
    uint64_t offset = 0;
    uint32_t bytes = 0;
    bool is_repeat = false;
    bool is_last_index = false;
    const ConstRegion* region = nullptr;  // until the next call
  };
  // False means nothing to send; true may still turn out to be an acknowledged repeat.
  bool HasSegment() const { return !lost_.empty() || !ready_.empty(); }
  // Takes the next segment.
  std::optional<Segment> NextSegment();

  void OnLost(const SentPacket& packet);
  // The transfer that is complete now, if any.
  std::optional<TransferKey> OnAcked(const SentPacket& packet);

 private:
  using Priority = std::tuple<TrafficClass, OpId, ChunkId, Phase, Epoch, uint8_t>;
  struct Outgoing {
    TransferKey key;
    ConstRegion region;
    TrafficClass traffic_class = TrafficClass::kCollective;
    uint64_t message = 0;  // 0: no credit yet, or the slot is free
    uint32_t segment_count = 0;
    uint32_t next_segment = 0;
    uint32_t acked_count = 0;
    std::vector<uint64_t> acked;  // bitmap
  };
  struct Credit {
    uint64_t message = 0;
    uint64_t size = 0;
  };
  struct LostSegment {
    uint64_t message = 0;
    uint32_t slot = 0;
    uint32_t segment = 0;
  };

  static Priority PriorityOf(const Outgoing& outgoing);
  void Start(uint32_t slot, uint64_t message);
  void Free(uint32_t slot);
  // The running transfer under this message id, or null: finished, cancelled, started anew.
  Outgoing* Find(uint32_t slot, uint64_t message);
  Segment MakeSegment(uint32_t slot, uint32_t index) const;

  size_t credits_max_;
  uint64_t credits_refused_ = 0;
  std::vector<Outgoing> slots_;
  std::vector<uint32_t> free_slots_;
  std::map<TransferKey, uint32_t> by_key_;  // offers, to slots
  std::map<TransferKey, Credit> credits_;   // that wait for their offers
  AckRanges credits_seen_;  // message ids, so that a repeated credit changes nothing
  std::set<std::pair<Priority, uint32_t>> ready_;  // slots with segments that were never sent
  RingBuffer<LostSegment> lost_;
};

}  // namespace perigee
