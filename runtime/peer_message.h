// What members say to each other beside the data, as control messages of the transport: small,
// exactly once, unordered. One byte of type, then fixed little-endian fields; texts are cut to
// kTextBytesMax.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "transport/base/ids.h"

namespace perigee {

constexpr size_t kPeerTextBytesMax = 400;

// "I called this as op N": the neighbour compares, so that different calls end in an error that
// names both.
struct CallMessage {
  OpId op;
  std::string text;  // "allreduce sum of 1000 f32"
};
// Every op up to this one is finished at the sender (acknowledges the last ops when nothing follows
// them).
struct DoneMessage {
  OpId through;
};
// The op failed at the sender and cannot end well anywhere.
struct FailMessage {
  OpId op;
  uint32_t code = 0;  // absl::StatusCode
  std::string text;
};
using PeerMessage = std::variant<CallMessage, DoneMessage, FailMessage>;

std::vector<uint8_t> Encode(const PeerMessage& message);
// InvalidArgument for anything that Encode does not make.
absl::StatusOr<PeerMessage> DecodePeerMessage(absl::Span<const uint8_t> bytes);

}  // namespace perigee
