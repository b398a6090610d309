#include "bench/linkemu/packet_pool.h"

#include "transport/base/status.h"

namespace perigee::linkemu {

Packet* PacketPool::Take(size_t frame_bytes) {
  size_t size_class = 0;
  while (size_class < kClasses.size() && kClasses[size_class] < frame_bytes) ++size_class;
  PERIGEE_CHECK(size_class < kClasses.size());
  std::vector<Packet*>& free = free_[size_class];
  if (free.empty()) {
    const size_t bytes = kClasses[size_class];
    if (bytes_allocated_ + bytes > bytes_max_) return nullptr;
    bytes_allocated_ += bytes;
    packets_.push_back(std::make_unique<Packet>());
    packets_.back()->storage = std::make_unique<uint8_t[]>(bytes);
    packets_.back()->storage_bytes = bytes;
    free.push_back(packets_.back().get());
  }
  Packet* const packet = free.back();
  free.pop_back();
  packet->frame_bytes = frame_bytes;
  packet->holders = 1;
  return packet;
}

void PacketPool::Release(Packet* packet) {
  PERIGEE_CHECK(packet->holders > 0);
  if (--packet->holders > 0) return;
  for (size_t i = 0; i < kClasses.size(); ++i) {
    if (kClasses[i] == packet->storage_bytes) free_[i].push_back(packet);
  }
}

}  // namespace perigee::linkemu
