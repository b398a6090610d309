// A queue indexed by a running number: the first item ever pushed is number 0 (or what Reset was
// given), and an item keeps its number until it is popped. Grows by doubling, never shrinks, so
// that a steady state does not allocate. Packet numbers index it directly.
//
//   RingBuffer<SentPacket> sent;  sent.PushBack(packet);  sent[number].state = ...;
//   sent.PopFront();
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "transport/base/status.h"

namespace perigee {

template <typename T>
class RingBuffer {
 public:
  explicit RingBuffer(uint64_t first_number = 0) : begin_(first_number), end_(first_number) {}

  uint64_t begin_number() const { return begin_; }
  uint64_t end_number() const { return end_; }  // the number that the next item gets
  size_t size() const { return static_cast<size_t>(end_ - begin_); }
  bool empty() const { return begin_ == end_; }
  bool Has(uint64_t number) const { return number >= begin_ && number < end_; }

  T& operator[](uint64_t number) { return items_[number & mask_]; }
  const T& operator[](uint64_t number) const { return items_[number & mask_]; }
  T& front() { return items_[begin_ & mask_]; }
  const T& front() const { return items_[begin_ & mask_]; }

  T& PushBack(T item) {
    if (size() == items_.size()) Grow();
    T& place = items_[end_++ & mask_];
    place = std::move(item);
    return place;
  }
  void PopFront() {
    PERIGEE_CHECK(!empty());
    ++begin_;
  }
  void Clear() { begin_ = end_; }

 private:
  void Grow() {
    std::vector<T> larger(items_.empty() ? 16 : items_.size() * 2);
    const uint64_t mask = larger.size() - 1;
    for (uint64_t n = begin_; n != end_; ++n) larger[n & mask] = std::move(items_[n & mask_]);
    items_ = std::move(larger);
    mask_ = mask;
  }

  std::vector<T> items_;
  uint64_t mask_ = 0;
  uint64_t begin_;
  uint64_t end_;
};

}  // namespace perigee
