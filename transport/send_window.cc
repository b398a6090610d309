#include "transport/send_window.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

bool TestBit(const std::vector<uint64_t>& bitmap, uint32_t index) {
  return (bitmap[index / 64] >> (index % 64) & 1) != 0;
}

void SetBit(std::vector<uint64_t>& bitmap, uint32_t index) {
  bitmap[index / 64] |= uint64_t{1} << (index % 64);
}

// The first key of an epoch: keys order by epoch first.
TransferKey FirstKey(Epoch epoch) { return {.epoch = epoch}; }

}  // namespace

absl::Status SendWindow::Offer(const TransferKey& key, ConstRegion region,
                               TrafficClass traffic_class) {
  if (region.size() > wire::kMessageBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat("send ", ToString(key), ": ", region.size(),
                                                   " bytes are more than a message holds"));
  }
  if (by_key_.contains(key)) {
    return absl::AlreadyExistsError(absl::StrCat("send ", ToString(key), " is offered already"));
  }
  if (free_slots_.empty()) {
    free_slots_.push_back(static_cast<uint32_t>(slots_.size()));
    slots_.emplace_back();
  }
  const uint32_t slot = free_slots_.back();
  free_slots_.pop_back();
  slots_[slot] = {.key = key, .region = region, .traffic_class = traffic_class};
  by_key_.emplace(key, slot);
  auto credit = credits_.find(key);
  if (credit == credits_.end()) return absl::OkStatus();
  if (credit->second.size == region.size()) {
    Start(slot, credit->second.message);
    credits_.erase(credit);
  } else {
    ++credits_refused_;
  }
  return absl::OkStatus();
}

void SendWindow::Cancel(const TransferKey& key) {
  auto it = by_key_.find(key);
  if (it == by_key_.end()) return;
  const Outgoing& outgoing = slots_[it->second];
  if (outgoing.message != 0 && outgoing.next_segment == 0) {
    credits_[key] = {outgoing.message, outgoing.region.size()};
  }
  Free(it->second);
}

void SendWindow::CancelEpoch(Epoch epoch) {
  auto begin = by_key_.lower_bound(FirstKey(epoch));
  while (begin != by_key_.end() && begin->first.epoch == epoch) Free((begin++)->second);
  auto credit = credits_.lower_bound(FirstKey(epoch));
  while (credit != credits_.end() && credit->first.epoch == epoch) credit = credits_.erase(credit);
}

void SendWindow::OnCredit(const wire::CreditFrame& credit) {
  if (credit.message < credits_seen_.floor() || !credits_seen_.Add(credit.message)) return;
  auto it = by_key_.find(credit.key);
  if (it != by_key_.end()) {
    const Outgoing& outgoing = slots_[it->second];
    // A receive that was withdrawn and posted again: the later id counts.
    if (credit.message < outgoing.message) return;
    if (credit.size == outgoing.region.size()) return Start(it->second, credit.message);
    ++credits_refused_;
  }
  Credit& stored = credits_[credit.key];
  if (credit.message > stored.message) stored = {credit.message, credit.size};
  if (credits_.size() > credits_max_) credits_.erase(credits_.begin());
}

SendWindow::Priority SendWindow::PriorityOf(const Outgoing& outgoing) {
  const TransferKey& key = outgoing.key;
  return {outgoing.traffic_class, key.op, key.chunk, key.phase, key.epoch, key.attempt};
}

void SendWindow::Start(uint32_t slot, uint64_t message) {
  Outgoing& outgoing = slots_[slot];
  outgoing.message = message;
  outgoing.segment_count = wire::SegmentCount(outgoing.region.size());
  outgoing.next_segment = 0;
  outgoing.acked_count = 0;
  outgoing.acked.assign((outgoing.segment_count + 63) / 64, 0);
  ready_.emplace(PriorityOf(outgoing), slot);
}

void SendWindow::Free(uint32_t slot) {
  Outgoing& outgoing = slots_[slot];
  ready_.erase({PriorityOf(outgoing), slot});
  by_key_.erase(outgoing.key);
  outgoing = {};
  free_slots_.push_back(slot);
}

SendWindow::Outgoing* SendWindow::Find(uint32_t slot, uint64_t message) {
  Outgoing& outgoing = slots_[slot];
  return outgoing.message == message ? &outgoing : nullptr;
}

SendWindow::Segment SendWindow::MakeSegment(uint32_t slot, uint32_t index) const {
  const Outgoing& outgoing = slots_[slot];
  const uint64_t offset = uint64_t{index} * wire::kSegmentBytes;
  return {.header = {outgoing.message, index, outgoing.segment_count},
          .slot = slot,
          .offset = offset,
          .bytes = static_cast<uint32_t>(
              std::min<uint64_t>(wire::kSegmentBytes, outgoing.region.size() - offset)),
          .is_last_index = index + 1 == outgoing.segment_count,
          .region = &outgoing.region};
}

std::optional<SendWindow::Segment> SendWindow::NextSegment() {
  while (!lost_.empty()) {
    const LostSegment lost = lost_.front();
    lost_.PopFront();
    Outgoing* outgoing = Find(lost.slot, lost.message);
    if (outgoing == nullptr || TestBit(outgoing->acked, lost.segment)) continue;
    Segment segment = MakeSegment(lost.slot, lost.segment);
    segment.is_repeat = true;
    return segment;
  }
  if (ready_.empty()) return std::nullopt;
  const uint32_t slot = ready_.begin()->second;
  Outgoing& outgoing = slots_[slot];
  const Segment segment = MakeSegment(slot, outgoing.next_segment++);
  if (segment.is_last_index) ready_.erase(ready_.begin());
  return segment;
}

void SendWindow::OnLost(const SentPacket& packet) {
  const Outgoing* outgoing = Find(packet.slot, packet.message);
  if (outgoing == nullptr || TestBit(outgoing->acked, packet.segment)) return;
  lost_.PushBack({packet.message, packet.slot, packet.segment});
}

std::optional<TransferKey> SendWindow::OnAcked(const SentPacket& packet) {
  Outgoing* outgoing = Find(packet.slot, packet.message);
  if (outgoing == nullptr || TestBit(outgoing->acked, packet.segment)) return std::nullopt;
  SetBit(outgoing->acked, packet.segment);
  if (++outgoing->acked_count < outgoing->segment_count) return std::nullopt;
  const TransferKey key = outgoing->key;
  Free(packet.slot);
  return key;
}

}  // namespace perigee
