#include "transport/control_stream.h"

#include "absl/strings/str_cat.h"

namespace perigee {

absl::StatusOr<uint64_t> ControlStream::Queue(absl::Span<const uint8_t> bytes) {
  if (bytes.size() > Endpoint::kControlBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat("control message of ", bytes.size(),
                                                   " bytes; at most ", Endpoint::kControlBytesMax));
  }
  if (unacked_count_ >= unacked_max_ || outgoing_.size() >= kSpanMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat(unacked_count_, " control messages are unacknowledged"));
  }
  ++unacked_count_;
  const uint64_t id = outgoing_.end_number();
  Outgoing& outgoing = outgoing_.PushBack({});
  outgoing.bytes.assign(bytes.begin(), bytes.end());
  return id;
}

std::optional<wire::MessageFrame> ControlStream::FrameFor(uint64_t id) const {
  if (!outgoing_.Has(id) || outgoing_[id].is_acked) return std::nullopt;
  return wire::MessageFrame{id, outgoing_.begin_number(), outgoing_[id].bytes};
}

void ControlStream::OnAcked(uint64_t id) {
  if (!outgoing_.Has(id) || outgoing_[id].is_acked) return;
  outgoing_[id].is_acked = true;
  --unacked_count_;
  while (!outgoing_.empty() && outgoing_.front().is_acked) outgoing_.PopFront();
}

bool ControlStream::IsBeyondWindow(const wire::MessageFrame& frame) const {
  return frame.id - frame.floor >= kSpanMax || frame.bytes.size() > Endpoint::kControlBytesMax;
}

bool ControlStream::IsNew(const wire::MessageFrame& frame) {
  received_.RaiseFloor(frame.floor);
  return received_.Add(frame.id);
}

}  // namespace perigee
