// A FIFO with a named bound. Pushing to a full queue is an ordinary result that the caller handles.
//
//   BoundedQueue<Event> events(kEventsMax);
//   PERIGEE_RETURN_IF_ERROR(events.Push(std::move(event), "endpoint events"));
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace perigee {

template <typename T>
class BoundedQueue {
 public:
  explicit BoundedQueue(size_t size_max) : size_max_(size_max) {}

  // ResourceExhausted, naming `what`, when the queue is full; the item is then not taken.
  absl::Status Push(T item, absl::string_view what) {
    if (items_.size() >= size_max_) {
      return absl::ResourceExhaustedError(
          absl::StrCat(what, ": queue is full (", size_max_, " items)"));
    }
    items_.push_back(std::move(item));
    return absl::OkStatus();
  }

  std::optional<T> Pop() {
    if (items_.empty()) return std::nullopt;
    std::optional<T> item(std::move(items_.front()));
    items_.pop_front();
    return item;
  }

  bool empty() const { return items_.empty(); }
  bool full() const { return items_.size() >= size_max_; }
  size_t size() const { return items_.size(); }
  size_t size_max() const { return size_max_; }

 private:
  size_t size_max_;
  std::deque<T> items_;
};

}  // namespace perigee
