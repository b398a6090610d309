// What will happen in a simulated world: by time, and at one time in the order of scheduling, so
// that equal seeds give equal runs.
//
//   EventQueue<Event> queue;  queue.Push(at, event);
//   while (!queue.empty() && queue.NextTime() <= deadline) Handle(queue.Pop());
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/time/time.h"

namespace perigee {

template <typename T>
class EventQueue {
 public:
  void Push(absl::Time at, T event) {
    heap_.push_back({at, next_sequence_++, std::move(event)});
    std::push_heap(heap_.begin(), heap_.end(), Later);
  }
  // The queue must not be empty.
  absl::Time NextTime() const { return heap_.front().at; }
  T Pop() {
    std::pop_heap(heap_.begin(), heap_.end(), Later);
    T event = std::move(heap_.back().event);
    heap_.pop_back();
    return event;
  }
  bool empty() const { return heap_.empty(); }
  size_t size() const { return heap_.size(); }

 private:
  struct Entry {
    absl::Time at;
    uint64_t sequence;
    T event;
  };
  static bool Later(const Entry& a, const Entry& b) {
    return a.at != b.at ? a.at > b.at : a.sequence > b.sequence;
  }

  std::vector<Entry> heap_;
  uint64_t next_sequence_ = 0;
};

}  // namespace perigee
