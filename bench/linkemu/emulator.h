// The emulated network itself, without sockets or clocks: frames that nodes send come in, pieces of
// them that arrive at nodes come out when they are due.
//
//   Emulator emulator(network, {.seed = 7});
//   ssize_t size = read(tun[0], emulator.Inbox().data(), emulator.Inbox().size());
//   emulator.OnFrame(now, 0, size);
//   ... wait until emulator.NextTimeout() ...
//   while (auto arrival = emulator.NextArrival(now)) writev(tun[arrival->to], ...);
//
// A frame goes over the links segment by segment: each is one packet to the channel, which draws
// its fate by its number. Neighbours that survive together stay together, as one piece that is due
// with its last segment; a piece never spans more than Options::piece_span of wire time, so that
// its first segment is late by at most that. Deterministic: same frames at the same times, same
// arrivals. Thread-compatible.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "bench/linkemu/emulated_link.h"
#include "bench/linkemu/network.h"
#include "bench/linkemu/packet_pool.h"
#include "bench/linkemu/segment_split.h"

namespace perigee::linkemu {

class Emulator {
 public:
  struct Options {
    uint64_t seed = 1;
    FlipMode flip_mode = FlipMode::kDetected;
    // At 1 Gbit/s a full super-packet of 44 segments stays whole; at 100 Mbit/s pieces have 5.
    absl::Duration piece_span = absl::Microseconds(600);
    // Frames under way on all links together; what comes on top is lost and counted.
    size_t memory_bytes_max = size_t{2} << 30;
  };
  struct Arrival {
    int to = 0;
    absl::Time due;
    // The frame, in two parts; valid until the next call.
    absl::Span<const uint8_t> head;
    absl::Span<const uint8_t> payload;
  };
  // Frames that belong to no link.
  struct Counters {
    uint64_t malformed = 0;
    uint64_t unroutable = 0;  // not for a node (multicast), or no path leads there
  };

  Emulator(const Network& network, const Options& options);

  // Where the next frame is to be read to: kFrameBytesMax bytes.
  absl::Span<uint8_t> Inbox() { return {inbox_->storage.get(), kFrameBytesMax}; }
  // The first `frame_bytes` of the inbox are a frame that node `from` sends.
  void OnFrame(absl::Time now, int from, size_t frame_bytes);

  // When the next piece is due; InfiniteFuture when nothing is under way.
  absl::Time NextTimeout() const;
  // The next arrival due by `now`, in order of time, then of sending. Pieces that are due at a node
  // on their way are sent on here.
  std::optional<Arrival> NextArrival(absl::Time now);

  // Changes the links from `from` to `to`; kAny stands for every node. NotFound when there is no
  // such link; InvalidArgument when a link would become invalid (those before it have changed).
  static constexpr int kAny = -1;
  absl::Status Change(absl::Time now, int from, int to, const LinkChange& change);

  const std::vector<EmulatedLink>& links() const { return links_; }
  const Counters& counters() const { return counters_; }
  size_t pieces_under_way() const { return heap_.size(); }

 private:
  // Segments [first, first + count) of a packet on a link.
  struct Piece {
    absl::Time due;
    uint64_t sequence = 0;
    Packet* packet = nullptr;
    uint32_t link = 0;
    uint16_t first = 0;
    uint16_t count = 0;
  };
  static bool IsLater(const Piece& a, const Piece& b);

  // The inbox, or a copy of it that takes less room, held once; nullptr when memory is full.
  Packet* TakeFrame(size_t frame_bytes);
  // Sends the segments of `piece` over the link that leads on from `at`. The caller holds the
  // packet.
  void SendOn(absl::Time now, int at, const Piece& piece);
  void Push(Piece piece);
  void PushFlipped(const Piece& piece, uint64_t flipped_bit);
  Arrival MakeArrival(const Piece& piece);
  void LetGo();

  Options options_;
  int node_count_;
  RoutingTable routes_;
  std::vector<EmulatedLink> links_;
  PacketPool pool_;
  Packet* inbox_;            // as large as any
  std::vector<Piece> heap_;  // ordered by IsLater: the first due is in front
  uint64_t next_sequence_ = 0;
  Packet* handed_out_ = nullptr;  // the packet of the last Arrival
  PieceHead head_;
  Counters counters_;
};

}  // namespace perigee::linkemu
