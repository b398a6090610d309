#include "bench/linkemu/address_plan.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "bench/linkemu/packet.h"

namespace perigee::linkemu {
namespace {

constexpr int kNodesPerByte = 250;
constexpr size_t kIp4Destination = 16;
constexpr size_t kIp6Destination = 24;
constexpr size_t kIp4HeaderBytesMin = 20;
constexpr size_t kIp6HeaderBytes = 40;

std::optional<int> InRange(int node, int node_count) {
  if (node < 0 || node >= node_count) return std::nullopt;
  return node;
}

}  // namespace

std::array<uint8_t, 4> NodeIp4(int node) {
  return {10, 77, static_cast<uint8_t>(node / kNodesPerByte),
          static_cast<uint8_t>(node % kNodesPerByte + 1)};
}

std::array<uint8_t, 16> NodeIp6(int node) {
  std::array<uint8_t, 16> address = {0xfd, 0x77};
  Store16(&address[14], static_cast<uint16_t>(node + 1));
  return address;
}

std::string NodeAddress(int node) {
  const auto bytes = NodeIp4(node);
  return absl::StrCat(bytes[0], ".", bytes[1], ".", bytes[2], ".", bytes[3]);
}

std::optional<int> DestinationOf(absl::Span<const uint8_t> packet, int node_count) {
  if (packet.size() >= kIp4HeaderBytesMin && packet[0] >> 4 == 4) {
    const uint8_t* const to = &packet[kIp4Destination];
    if (to[0] != 10 || to[1] != 77 || to[3] == 0 || to[3] > kNodesPerByte) return std::nullopt;
    return InRange(to[2] * kNodesPerByte + to[3] - 1, node_count);
  }
  if (packet.size() >= kIp6HeaderBytes && packet[0] >> 4 == 6) {
    const auto prefix = NodeIp6(0);
    if (!std::equal(prefix.begin(), prefix.begin() + 14, &packet[kIp6Destination])) {
      return std::nullopt;
    }
    return InRange(Load16(&packet[kIp6Destination + 14]) - 1, node_count);
  }
  return std::nullopt;
}

}  // namespace perigee::linkemu
