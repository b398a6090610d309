// One end of an ordered stream of control messages between a member and a deputy, over the
// transport's control messages, which are small and unordered: long messages go in pieces, pieces
// that overtook others wait.
//
//   PeerStream stream(life, /*up=*/true);
//   for (PartMessage& part : stream.Split(Encode(message))) Send(part);
//   PERIGEE_ASSIGN_OR_RETURN(auto messages, stream.OnPart(part));   // whole ones, in order
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/peer_message.h"

namespace perigee {

class PeerStream {
 public:
  static constexpr size_t kMessageBytesMax = size_t{1} << 20;
  // The transport has at most so many on their way (Endpoint::Options::controls_max).
  static constexpr size_t kHeldMax = 1024;

  // `up`: this end sends towards the deputy.
  PeerStream(uint32_t life, bool up) : life_(life), up_(up) {}

  std::vector<PartMessage> Split(const std::vector<uint8_t>& message);
  // ResourceExhausted past the bounds: the stream is of no use any more.
  absl::StatusOr<std::vector<std::vector<uint8_t>>> OnPart(PartMessage part);

 private:
  uint32_t life_ = 0;
  bool up_ = true;
  uint32_t next_sent_ = 0;
  uint32_t next_received_ = 0;
  std::map<uint32_t, PartMessage> held_;
  std::vector<uint8_t> begun_;  // the pieces of the next message that are here
};

}  // namespace perigee
