#include "bench/linkemu/emulator.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "bench/linkemu/address_plan.h"
#include "transport/base/status.h"

namespace perigee::linkemu {
namespace {

// Durations are whole quarter nanoseconds: rounding of one segment's time stays below this.
constexpr absl::Duration kRounding = absl::Nanoseconds(2);

// Into how many segments a run is cut: equal parts, none longer than `span`.
uint32_t SegmentsPerPiece(uint32_t count, absl::Duration segment_time, absl::Duration span) {
  if (segment_time <= absl::ZeroDuration()) return count;
  const double parts = std::ceil(absl::FDivDuration(count * segment_time, span));
  return std::max(1u, static_cast<uint32_t>(std::ceil(count / std::max(1.0, parts))));
}

}  // namespace

Emulator::Emulator(const Network& network, const Options& options)
    : options_(options),
      node_count_(network.node_count),
      routes_(network),
      pool_(options.memory_bytes_max),
      inbox_(pool_.Take(kFrameBytesMax)) {
  PERIGEE_CHECK(inbox_ != nullptr);
  Rng rng(options.seed);
  links_.reserve(network.links.size());
  for (const LinkSettings& settings : network.links) links_.emplace_back(settings, rng.Fork());
}

bool Emulator::IsLater(const Piece& a, const Piece& b) {
  return a.due != b.due ? a.due > b.due : a.sequence > b.sequence;
}

void Emulator::OnFrame(absl::Time now, int from, size_t frame_bytes) {
  const absl::Span<const uint8_t> frame = Inbox().first(frame_bytes);
  const std::optional<PacketShape> shape = ParsePacket(frame);
  if (!shape) {
    ++counters_.malformed;
    return;
  }
  const std::optional<int> to = DestinationOf(frame.subspan(kVnetBytes), node_count_);
  const int link = to ? routes_.NextLink(from, *to) : RoutingTable::kNoLink;
  if (link == RoutingTable::kNoLink) {
    ++counters_.unroutable;
    return;
  }
  Packet* const packet = TakeFrame(frame_bytes);
  if (packet == nullptr) {
    links_[static_cast<size_t>(link)].counters().overflowed += shape->segment_count;
    return;
  }
  packet->shape = *shape;
  packet->to = *to;
  SendOn(now, from, {.packet = packet, .count = static_cast<uint16_t>(shape->segment_count)});
  pool_.Release(packet);
}

Packet* Emulator::TakeFrame(size_t frame_bytes) {
  Packet* const taken = pool_.Take(frame_bytes);
  if (taken == nullptr) return nullptr;
  if (taken->storage_bytes < inbox_->storage_bytes) {
    std::memcpy(taken->storage.get(), inbox_->storage.get(), frame_bytes);
    return taken;
  }
  std::swap(*taken, *inbox_);  // the storage changes hands, nothing is copied
  taken->frame_bytes = frame_bytes;
  taken->holders = inbox_->holders = 1;
  return taken;
}

void Emulator::SendOn(absl::Time now, int at, const Piece& whole) {
  Packet* const packet = whole.packet;
  const int link_index = routes_.NextLink(at, packet->to);
  PERIGEE_CHECK(link_index != RoutingTable::kNoLink);
  EmulatedLink& link = links_[static_cast<size_t>(link_index)];
  const PacketShape& shape = packet->shape;
  const absl::Duration segment_time = link.WireTime(shape.WireBytes(whole.first));
  const uint32_t size_max = SegmentsPerPiece(whole.count, segment_time, options_.piece_span);
  Piece single = whole;
  single.link = static_cast<uint32_t>(link_index);
  single.count = 1;
  Piece open = single;  // grows while segments follow each other on the wire
  open.count = 0;
  for (uint32_t i = whole.first; i < uint32_t{whole.first} + whole.count; ++i) {
    single.first = static_cast<uint16_t>(i);
    bool joined = false;
    for (const perigee::Arrival& arrival : link.Send(now, shape.WireBytes(i))) {
      single.due = arrival.at;
      const absl::Duration after = arrival.at - open.due;
      if (arrival.flipped_bit) {
        PushFlipped(single, *arrival.flipped_bit);
      } else if (joined) {
        Push(single);  // a duplicate
      } else if (open.count > 0 && open.count < size_max && open.first + open.count == i &&
                 after >= absl::ZeroDuration() && after <= segment_time + kRounding) {
        ++open.count;
        open.due = arrival.at;
        joined = true;
      } else {
        if (open.count > 0) Push(open);
        open = single;
        joined = true;
      }
    }
  }
  if (open.count > 0) Push(open);
}

void Emulator::Push(Piece piece) {
  pool_.Hold(piece.packet);
  piece.sequence = next_sequence_++;
  heap_.push_back(piece);
  std::push_heap(heap_.begin(), heap_.end(), IsLater);
}

void Emulator::PushFlipped(const Piece& piece, uint64_t flipped_bit) {
  const Packet& whole = *piece.packet;
  const std::vector<uint8_t> frame =
      FlippedSegment(whole.frame(), whole.shape, piece.first, flipped_bit, options_.flip_mode);
  Packet* const packet = pool_.Take(frame.size());
  if (packet == nullptr) {
    ++links_[piece.link].counters().overflowed;
    return;
  }
  std::memcpy(packet->storage.get(), frame.data(), frame.size());
  // Not parsed again: the flip may have hit what a router would look at.
  packet->shape = {.ip_version = whole.shape.ip_version,
                   .packet_bytes = static_cast<uint32_t>(frame.size() - kVnetBytes)};
  packet->to = whole.to;
  Piece flipped = piece;
  flipped.packet = packet;
  flipped.first = 0;
  Push(flipped);
  pool_.Release(packet);
}

absl::Time Emulator::NextTimeout() const {
  return heap_.empty() ? absl::InfiniteFuture() : heap_.front().due;
}

std::optional<Emulator::Arrival> Emulator::NextArrival(absl::Time now) {
  LetGo();
  while (!heap_.empty() && heap_.front().due <= now) {
    std::pop_heap(heap_.begin(), heap_.end(), IsLater);
    const Piece piece = heap_.back();
    heap_.pop_back();
    handed_out_ = piece.packet;
    const int at = links_[piece.link].to();
    if (at == piece.packet->to) return MakeArrival(piece);
    // It left the last link when it was due, however late that is noticed.
    SendOn(piece.due, at, piece);
    LetGo();
  }
  return std::nullopt;
}

Emulator::Arrival Emulator::MakeArrival(const Piece& piece) {
  const Packet& packet = *piece.packet;
  Arrival arrival{.to = packet.to, .due = piece.due};
  if (piece.count == packet.shape.segment_count) {
    arrival.head = packet.frame();
    return arrival;
  }
  head_ = HeadOfPiece(packet.frame(), packet.shape, piece.first, piece.count);
  arrival.head = head_.bytes();
  arrival.payload = PayloadOfPiece(packet.frame(), packet.shape, piece.first, piece.count);
  return arrival;
}

void Emulator::LetGo() {
  if (handed_out_ != nullptr) pool_.Release(std::exchange(handed_out_, nullptr));
}

absl::Status Emulator::Change(absl::Time now, int from, int to, const LinkChange& change) {
  bool found = false;
  for (EmulatedLink& link : links_) {
    if ((from != kAny && link.from() != from) || (to != kAny && link.to() != to)) continue;
    PERIGEE_RETURN_IF_ERROR(link.Change(now, change));
    found = true;
  }
  if (found) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat("there is no link from ",
                                          from == kAny ? "*" : absl::StrCat(from), " to ",
                                          to == kAny ? "*" : absl::StrCat(to)));
}

}  // namespace perigee::linkemu
