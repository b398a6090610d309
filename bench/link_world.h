// Two endpoints and the two directions of one link in virtual time: nothing but a queue of what
// happens next.
//
//   LinkWorld world({.forward = settings, .backward = settings, .start = start, .seed = seed});
//   while (!done) {
//     PERIGEE_RETURN_IF_ERROR(world.Drain(on_event));
//     PERIGEE_RETURN_IF_ERROR(world.Advance(limit));
//   }
//
// Deterministic by seed.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "transport/endpoint.h"
#include "transport/sim/channel.h"

namespace perigee {

class LinkWorld {
 public:
  static constexpr size_t kSender = 0;
  static constexpr size_t kReceiver = 1;

  struct Settings {
    ChannelSettings forward;  // sender to receiver
    ChannelSettings backward;
    absl::Time start;
    uint64_t seed = 0;
  };
  using OnEvent = absl::FunctionRef<absl::Status(size_t node, const TransportEvent& event)>;

  explicit LinkWorld(const Settings& settings);

  absl::Time now() const { return now_; }
  Endpoint& endpoint(size_t node) { return *endpoints_[node]; }
  static NodeId node_id(size_t node) { return NodeId(static_cast<uint32_t>(node)); }

  // Lets both endpoints say and send all they have at now(). The first error of `on_event` ends it.
  absl::Status Drain(OnEvent on_event);
  // Goes to the next arrival or timeout, at most to `limit`. Internal where an endpoint asks to be
  // called at one instant again and again.
  absl::Status Advance(absl::Time limit);

  // When data that was new reached the receiver for the first time at or after `since`; set it
  // before that.
  void WatchForData(absl::Time since) { watch_since_ = since; }
  std::optional<absl::Time> first_data() const { return first_data_; }

 private:
  static constexpr int kCallsPerInstantMax = 1 << 16;

  struct Arriving {
    absl::Time at;
    uint64_t sequence = 0;  // first come, first served at one instant
    size_t to = 0;
    std::vector<uint8_t> bytes;
  };
  static bool IsLater(const Arriving& a, const Arriving& b) {
    return a.at != b.at ? a.at > b.at : a.sequence > b.sequence;
  }

  bool Transmit(size_t from);
  void Deliver(Arriving arriving);

  absl::Time now_;
  Rng rng_;
  std::vector<std::unique_ptr<Endpoint>> endpoints_;
  std::vector<Channel> channels_;   // by sending node
  std::vector<Arriving> arriving_;  // a heap: the first to arrive is in front
  std::vector<std::vector<uint8_t>> free_buffers_;
  std::vector<uint8_t> scratch_;
  uint64_t next_sequence_ = 0;
  int calls_at_now_ = 0;
  absl::Time watch_since_ = absl::InfiniteFuture();
  std::optional<absl::Time> first_data_;
};

}  // namespace perigee
