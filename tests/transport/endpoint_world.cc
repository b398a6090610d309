#include "tests/transport/endpoint_world.h"

#include <algorithm>

#include "transport/base/status.h"

namespace perigee {
namespace {

// Steps that may happen at one time: more means that an endpoint asks to be called again for
// nothing.
constexpr int kStepsAtOneTimeMax = 1'000'000;

}  // namespace

EndpointWorld::EndpointWorld(const ChannelSettings& forth, const ChannelSettings& back,
                             uint64_t seed, Endpoint::Options options)
    : options_(options),
      rng_(seed),
      now_(absl::UnixEpoch() + absl::Hours(1)),
      channels_{Channel(forth, rng_.Fork()), Channel(back, rng_.Fork())} {
  PERIGEE_CHECK(Validate(forth).ok() && Validate(back).ok());
  for (int i : {0, 1}) MakeEnd(i);
  for (int i : {0, 1}) Introduce(i);
}

void EndpointWorld::MakeEnd(int i) {
  incarnations_[i] = rng_.NextIncarnation();
  options_.self = node(i);
  options_.incarnation = incarnations_[i];
  ends_[i] = std::make_unique<Endpoint>(options_, rng_.Fork());
}

void EndpointWorld::Introduce(int i) {
  const int other = 1 - i;
  PERIGEE_CHECK(ends_[other]
                    ->AddPeer(now_, {node(i), incarnations_[i], channels_[other].settings().link})
                    .ok());
}

void EndpointWorld::Restart(int i) {
  MakeEnd(i);
  Introduce(1 - i);
}

uint32_t EndpointWorld::NewBuffer() {
  if (free_buffers_.empty()) {
    free_buffers_.push_back(static_cast<uint32_t>(buffers_.size()));
    buffers_.emplace_back(Endpoint::kDatagramBytesMax);
  }
  const uint32_t buffer = free_buffers_.back();
  free_buffers_.pop_back();
  return buffer;
}

void EndpointWorld::Transmit(int from) {
  constexpr size_t kIpUdpBytes = 28;
  uint32_t buffer = NewBuffer();
  while (auto sent = ends_[from]->NextTransmit(now_, absl::MakeSpan(buffers_[buffer]))) {
    const auto arrivals = channels_[from].Send(now_, sent->size + kIpUdpBytes);
    for (size_t i = 0; i < arrivals.size(); ++i) {
      const uint32_t carrier = i + 1 == arrivals.size() ? buffer : NewBuffer();
      if (carrier != buffer) buffers_[carrier] = buffers_[buffer];
      flights_.push_back({arrivals[i].at, order_++, carrier, static_cast<uint16_t>(sent->size),
                          static_cast<uint8_t>(1 - from)});
      std::push_heap(flights_.begin(), flights_.end(), Later);
      if (arrivals[i].flipped_bit.has_value()) {
        // Bits of the IP and UDP headers hit the checksum there: the packet is as good as lost.
        const uint64_t bit = *arrivals[i].flipped_bit % (sent->size * 8);
        buffers_[carrier][bit / 8] ^= static_cast<uint8_t>(1 << (bit % 8));
      }
    }
    if (!arrivals.empty()) buffer = NewBuffer();
  }
  free_buffers_.push_back(buffer);
}

void EndpointWorld::DrainEvents(int i) {
  while (takes_events) {
    const std::optional<TransportEvent> event = ends_[i]->NextEvent();
    if (!event.has_value()) return;
    if (on_event) on_event(i, *event);
  }
}

void EndpointWorld::Deliver(const Flight& flight) {
  ++packets_;
  ends_[flight.to]->OnDatagram(now_, {buffers_[flight.buffer].data(), flight.size});
  free_buffers_.push_back(flight.buffer);
}

bool EndpointWorld::RunUntil(absl::Time deadline, absl::FunctionRef<bool()> done) {
  int steps_at_one_time = 0;
  for (int i : {0, 1}) Transmit(i);
  for (int i : {0, 1}) DrainEvents(i);
  while (!done()) {
    absl::Time next = std::min(ends_[0]->NextTimeout(), ends_[1]->NextTimeout());
    if (!flights_.empty()) next = std::min(next, flights_.front().at);
    next = std::max(next, now_);
    steps_at_one_time = next == now_ ? steps_at_one_time + 1 : 0;
    PERIGEE_CHECK(steps_at_one_time < kStepsAtOneTimeMax);
    if (next > deadline) {
      now_ = std::max(now_, deadline);
      return false;
    }
    now_ = next;
    std::array<bool, 2> touched = {false, false};
    while (!flights_.empty() && flights_.front().at <= now_) {
      std::pop_heap(flights_.begin(), flights_.end(), Later);
      const Flight flight = flights_.back();
      flights_.pop_back();
      touched[flight.to] = true;
      Deliver(flight);
    }
    for (int i : {0, 1}) {
      if (ends_[i]->NextTimeout() <= now_) {
        ends_[i]->OnTimeout(now_);
        touched[i] = true;
      }
      if (!touched[i]) continue;
      DrainEvents(i);
      Transmit(i);
      DrainEvents(i);
    }
  }
  return true;
}

}  // namespace perigee
