// The datagrams of a simulated cluster: one Channel per directed pair, made when it is first used,
// and the packets that are on their way. Knows nothing of nodes or time to come: the caller
// schedules the arrivals.
//
//   for (const Flight& flight : network.Send(now, from, to, bytes)) queue.Push(flight.at,
//   flight.packet);
//   ... node.OnDatagram(now, network.bytes(packet));  network.Release(packet);
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "transport/base/ids.h"
#include "transport/contact_plan.h"
#include "transport/sim/channel.h"

namespace perigee {

using ChannelOf = std::function<ChannelSettings(NodeId from, NodeId to)>;

// Where the plan has contacts for the pair, the channel takes the first one's link and is down
// outside of all of them; else the settings stay as they are.
ChannelSettings FollowContacts(ChannelSettings settings, const ContactPlan& plan, NodeId from,
                               NodeId to);

class DatagramNetwork {
 public:
  // IPv4 and UDP headers: what a datagram weighs on the wire beside its payload.
  static constexpr size_t kHeaderBytes = 28;
  using PacketId = uint32_t;
  struct Flight {
    absl::Time at;
    PacketId packet = 0;
  };

  // A channel's fate depends on `seed` and its pair only, not on which other channels are used.
  DatagramNetwork(uint64_t seed, ChannelOf channel_of);

  absl::InlinedVector<Flight, 2> Send(absl::Time now, NodeId from, NodeId to,
                                      absl::Span<const uint8_t> payload);
  absl::Span<const uint8_t> bytes(PacketId packet) const { return packets_[packet]; }
  void Release(PacketId packet) { free_.push_back(packet); }

  void SetDown(NodeId from, NodeId to, bool down) { ChannelTo(from, to).SetDown(down); }
  // Replaces the model of one directed pair; what is on its way still arrives.
  void SetChannel(NodeId from, NodeId to, const ChannelSettings& settings);
  uint64_t packets_sent() const { return packets_sent_; }
  uint64_t packets_lost() const { return packets_lost_; }

 private:
  Channel& ChannelTo(NodeId from, NodeId to);
  PacketId Store(absl::Span<const uint8_t> payload);
  Rng RngOf(NodeId from, NodeId to) const;

  uint64_t seed_;
  ChannelOf channel_of_;
  std::map<std::pair<NodeId, NodeId>, std::unique_ptr<Channel>> channels_;
  // Slots are reused, so that a steady state does not allocate.
  std::vector<std::vector<uint8_t>> packets_;
  std::vector<PacketId> free_;
  uint64_t packets_sent_ = 0;
  uint64_t packets_lost_ = 0;
};

}  // namespace perigee
