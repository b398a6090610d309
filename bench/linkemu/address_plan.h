// The addresses of the emulated nodes: node i is 10.77.(i / 250).(i % 250 + 1) and
// fd77::(i + 1). Each lives in a namespace of its own, so these never meet the host's. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/types/span.h"

namespace perigee::linkemu {

inline constexpr int kIp4PrefixBits = 16;
inline constexpr int kIp6PrefixBits = 64;

std::array<uint8_t, 4> NodeIp4(int node);
std::array<uint8_t, 16> NodeIp6(int node);
std::string NodeAddress(int node);  // IPv4, dotted

// The node that a packet is for; nothing for multicast and everything else that is no node.
std::optional<int> DestinationOf(absl::Span<const uint8_t> packet, int node_count);

}  // namespace perigee::linkemu
