#include "bench/peers/tcp_lane.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

constexpr size_t kStagingBytes = 128 << 10;

void Add(absl::Span<const char> bytes, char* to) {
  auto* sum = reinterpret_cast<float*>(to);
  const auto* addend = reinterpret_cast<const float*>(bytes.data());
  for (size_t i = 0; i < bytes.size() / sizeof(float); ++i) sum[i] += addend[i];
}

}  // namespace

TcpLane::TcpLane(const LanePlace& place, int to_right, int from_left)
    : place_(place), to_right_(to_right), from_left_(from_left), staging_(kStagingBytes) {}

TcpLane::TcpLane(TcpLane&& other) noexcept
    : place_(other.place_),
      to_right_(std::exchange(other.to_right_, -1)),
      from_left_(std::exchange(other.from_left_, -1)),
      staging_(std::move(other.staging_)) {}

TcpLane::~TcpLane() {
  if (to_right_ >= 0) close(to_right_);
  if (from_left_ >= 0) close(from_left_);
}

// The vector is cut into nodes * lanes pieces whose sizes differ by one element at most.
absl::Span<float> TcpLane::Slice(uint32_t chunk) const {
  const uint64_t pieces = uint64_t{place_.nodes} * place_.lanes;
  const uint64_t piece = uint64_t{chunk} * place_.lanes + place_.lane;
  const uint64_t begin = data_.size() * piece / pieces;
  return data_.subspan(begin, data_.size() * (piece + 1) / pieces - begin);
}

// In step s a member sends chunk `first_chunk` - s, and receives the one before that.
TcpLane::Place TcpLane::At(size_t position, uint32_t first_chunk) const {
  for (size_t step = 0; step < steps(); ++step) {
    const uint32_t chunk = (first_chunk + 2 * place_.nodes - step) % place_.nodes;
    const absl::Span<float> slice = Slice(chunk);
    const size_t size = slice.size() * sizeof(float);
    if (position < size) {
      return {step, reinterpret_cast<char*>(slice.data()), size, position};
    }
    position -= size;
  }
  return {.step = steps()};
}

void TcpLane::Begin(absl::Span<float> data) {
  data_ = data;
  sent_ = received_ = send_end_ = receive_end_ = 0;
  for (size_t step = 0; step < steps(); ++step) {
    const uint32_t chunk = (place_.rank + 2 * place_.nodes - step) % place_.nodes;
    send_end_ += Slice(chunk).size() * sizeof(float);
    receive_end_ += Slice((chunk + place_.nodes - 1) % place_.nodes).size() * sizeof(float);
  }
  first_size_ = Slice(place_.rank).size() * sizeof(float);
}

absl::Status TcpLane::Advance() {
  // Each may let the other go on.
  for (;;) {
    const size_t before = sent_ + received_;
    PERIGEE_RETURN_IF_ERROR(Receive());
    PERIGEE_RETURN_IF_ERROR(Send());
    if (sent_ + received_ == before) return absl::OkStatus();
  }
}

absl::Status TcpLane::Send() {
  while (writable_) {
    const size_t limit = std::min(send_end_, first_size_ + received_);
    if (sent_ >= limit) return absl::OkStatus();
    const Place place = At(sent_, place_.rank);
    const size_t size = std::min(place.size - place.offset, limit - sent_);
    const ssize_t count = send(to_right_, place.begin + place.offset, size, MSG_NOSIGNAL);
    if (count >= 0) {
      sent_ += static_cast<size_t>(count);
    } else if (errno == EAGAIN) {
      writable_ = false;
    } else if (errno != EINTR) {
      return absl::UnavailableError(
          absl::StrCat("sending to the right neighbour: ", std::strerror(errno)));
    }
  }
  return absl::OkStatus();
}

absl::Status TcpLane::Receive() {
  while (readable_ && received_ < receive_end_) {
    const Place place = At(received_, (place_.rank + place_.nodes - 1) % place_.nodes);
    const size_t before = received_ + staged_;
    PERIGEE_RETURN_IF_ERROR(place.step < place_.nodes - 1 ? ReceiveReduce(place)
                                                          : ReceiveCopy(place));
    if (received_ + staged_ == before) return absl::OkStatus();
  }
  return absl::OkStatus();
}

absl::Status TcpLane::ReceiveReduce(const Place& place) {
  const size_t size = std::min(place.size - place.offset, staging_.size()) - staged_;
  size_t got = 0;
  PERIGEE_RETURN_IF_ERROR(Read(staging_.data() + staged_, size, &got));
  const size_t whole = (staged_ + got) / sizeof(float) * sizeof(float);
  Add(absl::MakeConstSpan(staging_).first(whole), place.begin + place.offset);
  received_ += whole;
  staged_ = staged_ + got - whole;
  std::memmove(staging_.data(), staging_.data() + whole, staged_);
  return absl::OkStatus();
}

absl::Status TcpLane::ReceiveCopy(const Place& place) {
  size_t got = 0;
  PERIGEE_RETURN_IF_ERROR(Read(place.begin + place.offset, place.size - place.offset, &got));
  received_ += got;
  return absl::OkStatus();
}

absl::Status TcpLane::Read(char* to, size_t size, size_t* got) {
  ssize_t count;
  do {
    count = recv(from_left_, to, size, 0);
  } while (count < 0 && errno == EINTR);
  if (count > 0) {
    *got = static_cast<size_t>(count);
    return absl::OkStatus();
  }
  if (count < 0 && errno == EAGAIN) {
    readable_ = false;
    return absl::OkStatus();
  }
  return absl::UnavailableError(
      absl::StrCat("receiving from the left neighbour: ",
                   count == 0 ? "connection closed" : std::strerror(errno)));
}

}  // namespace perigee
