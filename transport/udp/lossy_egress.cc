#include "transport/udp/lossy_egress.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "transport/base/status.h"

namespace perigee {

LossyEgress::LossyEgress(const Options& options, Rng rng) : options_(options), rng_(rng) {
  PERIGEE_CHECK(options_.datagrams_max > 0);
}

size_t LossyEgress::AddDestination(const ChannelSettings& settings) {
  channels_.emplace_back(settings, rng_.Fork());
  return channels_.size() - 1;
}

absl::Status LossyEgress::Push(absl::Time now, size_t to, absl::Span<const uint8_t> datagram) {
  PERIGEE_CHECK(to < channels_.size());
  if (datagram.size() > kDatagramBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat("lossy egress: a datagram of ", datagram.size(),
                                                   " bytes to destination ", to, " is longer than ",
                                                   kDatagramBytesMax));
  }
  last_push_ = std::max(last_push_, now);
  ++counters_.pushed;
  const auto arrivals = channels_[to].Send(last_push_, datagram.size() + kHeaderBytes);
  if (arrivals.empty()) {
    ++counters_.lost;
    return absl::OkStatus();
  }
  counters_.duplicated += arrivals.size() - 1;
  for (const Arrival& arrival : arrivals) Queue(arrival, to, datagram);
  return absl::OkStatus();
}

void LossyEgress::Queue(const Arrival& arrival, size_t to, absl::Span<const uint8_t> datagram) {
  if (heap_.size() >= options_.datagrams_max) {
    ++counters_.overflowed;
    return;
  }
  const uint32_t slot = TakeSlot();
  uint8_t* bytes = Slot(slot);
  if (!datagram.empty()) std::memcpy(bytes, datagram.data(), datagram.size());
  if (arrival.flipped_bit && !datagram.empty()) {
    // The kernel writes good headers of its own, so a flip in a header moves into the payload: the
    // share of corrupt datagrams that the receiver sees is then the one that was asked for.
    const uint64_t bit = *arrival.flipped_bit % (datagram.size() * 8);
    bytes[bit / 8] ^= 1 << (bit % 8);
    ++counters_.flipped;
  }
  heap_.push_back({.at = arrival.at,
                   .sequence = next_sequence_++,
                   .slot = slot,
                   .to = static_cast<uint32_t>(to),
                   .size = datagram.size()});
  std::push_heap(heap_.begin(), heap_.end(), &IsLater);
}

absl::Time LossyEgress::NextDue() const {
  return heap_.empty() ? absl::InfiniteFuture() : heap_.front().at;
}

std::optional<LossyEgress::Due> LossyEgress::PopDue(absl::Time now) {
  if (handed_out_) {
    free_slots_.push_back(*handed_out_);
    handed_out_.reset();
  }
  if (NextDue() > now) return std::nullopt;
  std::pop_heap(heap_.begin(), heap_.end(), &IsLater);
  const Entry entry = heap_.back();
  heap_.pop_back();
  handed_out_ = entry.slot;
  ++counters_.released;
  return Due{.to = entry.to, .bytes = absl::MakeConstSpan(Slot(entry.slot), entry.size)};
}

Channel& LossyEgress::channel(size_t to) {
  PERIGEE_CHECK(to < channels_.size());
  return channels_[to];
}

// For the heap of <algorithm>, whose front is the entry that is later than none.
bool LossyEgress::IsLater(const Entry& a, const Entry& b) {
  return a.at != b.at ? a.at > b.at : a.sequence > b.sequence;
}

uint32_t LossyEgress::TakeSlot() {
  if (free_slots_.empty()) {
    const uint32_t first = static_cast<uint32_t>(slabs_.size() * kSlotsPerSlab);
    slabs_.push_back(std::make_unique<Slab>());
    // Backwards, so that slots are used from the front: fewer pages stay warm.
    for (uint32_t i = kSlotsPerSlab; i > 0; --i) free_slots_.push_back(first + i - 1);
  }
  const uint32_t slot = free_slots_.back();
  free_slots_.pop_back();
  return slot;
}

}  // namespace perigee
