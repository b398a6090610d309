// One of the K connections of a TCP pool's ring, and the part of the vector that it carries.
//
// Each lane runs a ring allreduce of its own over its slice of every chunk: a reduce-scatter, then
// an allgather, 2(N-1) steps. What is sent in a step is what was received in the step before, so a
// lane is two byte streams: a byte may leave as soon as the same byte of the step before has
// arrived and has been added. Nothing waits for a step to end.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace perigee {

struct LanePlace {
  uint32_t rank = 0;
  uint32_t nodes = 0;
  uint32_t lane = 0;
  uint32_t lanes = 1;
};

class TcpLane {
 public:
  // Takes both sockets: to the right neighbour and from the left one; they do not block.
  TcpLane(const LanePlace& place, int to_right, int from_left);
  TcpLane(TcpLane&& other) noexcept;
  TcpLane& operator=(TcpLane&&) = delete;
  ~TcpLane();

  int to_right() const { return to_right_; }
  int from_left() const { return from_left_; }
  // The socket has become ready (edge-triggered: it stays so until a call would block).
  void SetWritable() { writable_ = true; }
  void SetReadable() { readable_ = true; }

  // A new sum over `data`, in place.
  void Begin(absl::Span<float> data);
  // Moves what can be moved now. Unavailable when a neighbour's connection has ended.
  absl::Status Advance();
  bool done() const { return sent_ == send_end_ && received_ == receive_end_; }

 private:
  struct Place {
    size_t step = 0;
    char* begin = nullptr;  // of the step's slice
    size_t size = 0;
    size_t offset = 0;  // inside it
  };

  absl::Span<float> Slice(uint32_t chunk) const;
  Place At(size_t position, uint32_t first_chunk) const;
  absl::Status Send();
  absl::Status Receive();
  absl::Status ReceiveReduce(const Place& place);
  absl::Status ReceiveCopy(const Place& place);
  // Bytes read; 0 when none are there.
  absl::Status Read(char* to, size_t size, size_t* got);
  size_t steps() const { return size_t{2} * (place_.nodes - 1); }

  LanePlace place_;
  int to_right_ = -1;
  int from_left_ = -1;
  bool writable_ = true;
  bool readable_ = true;
  absl::Span<float> data_;
  size_t first_size_ = 0;  // of the slice that is sent in the first step
  size_t sent_ = 0, send_end_ = 0;
  size_t received_ = 0, receive_end_ = 0;  // added or in place
  std::vector<char> staging_;
  size_t staged_ = 0;  // bytes of an element that has not arrived whole
};

}  // namespace perigee
