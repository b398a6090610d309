// What members say to each other beside the data, as control messages of the transport: small,
// exactly once, unordered. One byte of type, then fixed little-endian fields; texts are cut to
// kPeerTextBytesMax.
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
constexpr size_t kPartBytesMax = 1100;

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
// "While the coordinator is away I act for it" (deputy.h), said every beat interval.
struct SummonsMessage {
  uint32_t life = 0;      // counts how often this member has begun to act; messages overtake
  bool has_view = false;  // a majority has registered with it
};
// A piece of the control stream between a member and a deputy (peer_stream.h).
struct PartMessage {
  uint32_t life = 0;  // of the deputy
  bool up = true;     // to the deputy, or from it
  uint32_t sequence = 0;
  bool last = false;           // of its control message
  std::vector<uint8_t> bytes;  // at most kPartBytesMax
};
using PeerMessage =
    std::variant<CallMessage, DoneMessage, FailMessage, SummonsMessage, PartMessage>;

std::vector<uint8_t> Encode(const PeerMessage& message);
// Whether an encoded message belongs to the agreement on views, not to the data of one.
bool IsAboutViews(absl::Span<const uint8_t> bytes);
// InvalidArgument for anything that Encode does not make.
absl::StatusOr<PeerMessage> DecodePeerMessage(absl::Span<const uint8_t> bytes);

}  // namespace perigee
