// Two endpoints in virtual time, joined by two channels: the smallest world in which the transport
// runs.
//
//   EndpointWorld world(settings, settings, seed);
//   world.end(1).PostReceive(world.now(), world.node(0), key, region);
//   world.end(0).Send(world.now(), world.node(1), key, data, TrafficClass::kCollective);
//   world.RunUntil(deadline, [&] { return world.delivered(1) == 1; });
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "transport/base/rng.h"
#include "transport/endpoint.h"
#include "transport/sim/channel.h"

namespace perigee {

class EndpointWorld {
 public:
  // forth: end 0 to end 1. The ends are told the channels' links as the plan. The world starts at
  // the epoch of Unix plus one hour.
  EndpointWorld(const ChannelSettings& forth, const ChannelSettings& back, uint64_t seed,
                Endpoint::Options options = {});

  Endpoint& end(int i) { return *ends_[i]; }
  NodeId node(int i) const { return NodeId(static_cast<uint32_t>(i)); }
  absl::Time now() const { return now_; }
  Channel& channel(int from) { return channels_[from]; }

  // Called for every event of either end, in order.
  std::function<void(int end, const TransportEvent&)> on_event;
  // While false, nobody takes the events, and the endpoints' queues fill.
  bool takes_events = true;

  // Runs until `done` holds (true) or the time is `deadline` (false).
  bool RunUntil(absl::Time deadline, absl::FunctionRef<bool()> done);
  bool RunFor(absl::Duration duration) {
    return RunUntil(now_ + duration, [] { return false; });
  }

  // Restarts end `i`: a new endpoint of a new incarnation, known to the other one after
  // `learns_after`. Packets on the way stay on the way.
  void Restart(int i);
  // Lets the other end know about the present incarnation of `i`.
  void Introduce(int i);

  uint64_t packets() const { return packets_; }  // delivered datagrams, for benchmarks

 private:
  struct Flight {
    absl::Time at;
    uint64_t order;
    uint32_t buffer;
    uint16_t size;
    uint8_t to;
  };
  static bool Later(const Flight& a, const Flight& b) {
    return a.at != b.at ? a.at > b.at : a.order > b.order;
  }

  void MakeEnd(int i);
  void Transmit(int from);
  void DrainEvents(int i);
  void Deliver(const Flight& flight);
  uint32_t NewBuffer();

  Endpoint::Options options_;
  Rng rng_;
  absl::Time now_;
  std::array<std::unique_ptr<Endpoint>, 2> ends_;
  std::array<Incarnation, 2> incarnations_;
  std::array<Channel, 2> channels_;  // by the sending end
  std::vector<Flight> flights_;      // heap, earliest first
  uint64_t order_ = 0;
  uint64_t packets_ = 0;
  std::vector<std::vector<uint8_t>> buffers_;
  std::vector<uint32_t> free_buffers_;
};

}  // namespace perigee
