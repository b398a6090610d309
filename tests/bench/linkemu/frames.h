// Packets for tests, made field by field from the RFCs: the wire packets that a sender without
// offloads would send, and the super-packet that stands for all of them. Shares no code with the
// emulator.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "transport/base/rng.h"

namespace perigee::linkemu {

// A stream of segments from one node to another.
struct Flow {
  bool ip6 = false;
  bool tcp = true;
  int from = 0;
  int to = 1;
  uint16_t id = 7;           // IPv4 identification of the first packet
  uint32_t sequence = 1000;  // TCP sequence number of the first byte
  uint8_t flags = 0x10;      // TCP flags of the whole: FIN, PSH, CWR go where they belong
  int option_words = 0;      // of TCP
  int ip_option_words = 0;   // IPv4
  uint32_t segment_bytes = 100;
  std::vector<uint8_t> payload;

  uint32_t segment_count() const {
    return static_cast<uint32_t>((payload.size() + segment_bytes - 1) / segment_bytes);
  }
};

// Anything that can be: both IP versions and transports, options, flags, sizes.
Flow RandomFlow(Rng& rng);

// The complete IP packet of segment `index`, with complete checksums.
std::vector<uint8_t> WirePacket(const Flow& flow, uint32_t index);
// What a TUN device with offloads hands over: vnet header, then one IP packet without its checksum.
std::vector<uint8_t> SuperFrame(const Flow& flow);

// Takes a frame apart as the receiving kernel does: a super-packet into wire packets, each with
// complete checksums, bytes without a vnet header.
std::vector<std::vector<uint8_t>> WirePacketsOf(const std::vector<uint8_t>& frame);

// "" when every checksum of the packet is right.
std::string ChecksumError(const std::vector<uint8_t>& packet);

}  // namespace perigee::linkemu
