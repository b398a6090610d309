#include "runtime/sim/datagram_network.h"

#include <utility>

namespace perigee {

ChannelSettings FollowContacts(ChannelSettings settings, const ContactPlan& plan, NodeId from,
                               NodeId to) {
  absl::Time down_from = absl::InfinitePast();
  bool found = false;
  for (const Contact& contact : plan.contacts()) {
    if (contact.from != from || contact.to != to) continue;
    if (!found) settings.link = contact.link;
    found = true;
    if (down_from < contact.opens) settings.down.emplace_back(down_from, contact.opens);
    down_from = contact.closes;
  }
  if (found && down_from < absl::InfiniteFuture()) {
    settings.down.emplace_back(down_from, absl::InfiniteFuture());
  }
  return settings;
}

DatagramNetwork::DatagramNetwork(uint64_t seed, ChannelOf channel_of)
    : seed_(seed), channel_of_(std::move(channel_of)) {}

absl::InlinedVector<DatagramNetwork::Flight, 2> DatagramNetwork::Send(
    absl::Time now, NodeId from, NodeId to, absl::Span<const uint8_t> payload) {
  absl::InlinedVector<Flight, 2> flights;
  ++packets_sent_;
  for (const Arrival& arrival : ChannelTo(from, to).Send(now, payload.size() + kHeaderBytes)) {
    // The network's own checksum finds what happens to the headers.
    if (arrival.flipped_bit.has_value() && *arrival.flipped_bit < 8 * kHeaderBytes) continue;
    const PacketId packet = Store(payload);
    if (arrival.flipped_bit.has_value()) {
      const uint64_t bit = *arrival.flipped_bit - 8 * kHeaderBytes;
      packets_[packet][bit / 8] ^= static_cast<uint8_t>(1u << (bit % 8));
    }
    flights.push_back({arrival.at, packet});
  }
  if (flights.empty()) ++packets_lost_;
  return flights;
}

void DatagramNetwork::SetChannel(NodeId from, NodeId to, const ChannelSettings& settings) {
  channels_[{from, to}] = std::make_unique<Channel>(settings, RngOf(from, to));
}

Channel& DatagramNetwork::ChannelTo(NodeId from, NodeId to) {
  std::unique_ptr<Channel>& channel = channels_[{from, to}];
  if (channel == nullptr) {
    channel = std::make_unique<Channel>(channel_of_(from, to), RngOf(from, to));
  }
  return *channel;
}

Rng DatagramNetwork::RngOf(NodeId from, NodeId to) const {
  return Rng(seed_ ^ (uint64_t{from.value()} << 32 | to.value()));
}

DatagramNetwork::PacketId DatagramNetwork::Store(absl::Span<const uint8_t> payload) {
  if (free_.empty()) {
    packets_.emplace_back();
    free_.push_back(static_cast<PacketId>(packets_.size() - 1));
  }
  const PacketId packet = free_.back();
  free_.pop_back();
  packets_[packet].assign(payload.begin(), payload.end());
  return packet;
}

}  // namespace perigee
