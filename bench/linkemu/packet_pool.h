// The packets that the emulator holds, each once however many pieces of it are under way. Memory
// is kept for the next packet, bounded by bytes. Pure; thread-compatible.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "bench/linkemu/packet.h"

namespace perigee::linkemu {

struct Packet {
  std::unique_ptr<uint8_t[]> storage;
  size_t storage_bytes = 0;
  size_t frame_bytes = 0;  // vnet header and IP packet
  PacketShape shape;
  int to = 0;            // the node that it is for
  uint32_t holders = 0;  // pieces under way

  absl::Span<const uint8_t> frame() const { return {storage.get(), frame_bytes}; }
};

class PacketPool {
 public:
  explicit PacketPool(size_t bytes_max) : bytes_max_(bytes_max) {}

  // A packet with room for `frame_bytes` (at most kFrameBytesMax), held once; nullptr when that
  // would take the pool above its bound.
  Packet* Take(size_t frame_bytes);
  void Hold(Packet* packet) { ++packet->holders; }
  void Release(Packet* packet);
  size_t bytes_allocated() const { return bytes_allocated_; }

 private:
  // Acknowledgements and single wire packets; what congestion control doses; whole super-packets.
  static constexpr std::array<size_t, 4> kClasses = {256, 2048, 16384, kFrameBytesMax};

  size_t bytes_max_;
  size_t bytes_allocated_ = 0;
  std::vector<std::unique_ptr<Packet>> packets_;
  std::array<std::vector<Packet*>, kClasses.size()> free_;
};

}  // namespace perigee::linkemu
