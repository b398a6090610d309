#include "bench/link_world.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "bench/link_traffic.h"
#include "transport/base/status.h"
#include "transport/wire.h"

namespace perigee {

LinkWorld::LinkWorld(const Settings& settings)
    : now_(settings.start), rng_(settings.seed), scratch_(Endpoint::kDatagramBytesMax) {
  const Incarnation incarnations[] = {rng_.NextIncarnation(), rng_.NextIncarnation()};
  const ChannelSettings* directions[] = {&settings.forward, &settings.backward};
  for (size_t node : {kSender, kReceiver}) {
    endpoints_.push_back(std::make_unique<Endpoint>(
        Endpoint::Options{.self = node_id(node), .incarnation = incarnations[node]}, rng_.Fork()));
    channels_.emplace_back(*directions[node], rng_.Fork());
  }
  for (size_t node : {kSender, kReceiver}) {
    const size_t peer = 1 - node;
    const absl::Status added = endpoints_[node]->AddPeer(
        now_, {node_id(peer), incarnations[peer], directions[node]->link});
    PERIGEE_CHECK(added.ok());
  }
}

absl::Status LinkWorld::Drain(OnEvent on_event) {
  for (bool is_quiet = false; !is_quiet;) {
    is_quiet = true;
    for (size_t node : {kSender, kReceiver}) {
      while (auto event = endpoints_[node]->NextEvent()) {
        is_quiet = false;
        PERIGEE_RETURN_IF_ERROR(on_event(node, *event));
      }
      while (Transmit(node)) is_quiet = false;
    }
  }
  return absl::OkStatus();
}

bool LinkWorld::Transmit(size_t from) {
  const auto sent = endpoints_[from]->NextTransmit(now_, absl::MakeSpan(scratch_));
  if (!sent) return false;
  for (const Arrival& arrival : channels_[from].Send(now_, sent->size + wire::kIpUdpBytes)) {
    std::vector<uint8_t> bytes;
    if (!free_buffers_.empty()) {
      bytes = std::move(free_buffers_.back());
      free_buffers_.pop_back();
    }
    bytes.assign(scratch_.begin(), scratch_.begin() + sent->size);
    arriving_.push_back({arrival.at, next_sequence_++, 1 - from, std::move(bytes)});
    std::push_heap(arriving_.begin(), arriving_.end(), IsLater);
  }
  return true;
}

absl::Status LinkWorld::Advance(absl::Time limit) {
  absl::Time next = limit;
  if (!arriving_.empty()) next = std::min(next, arriving_.front().at);
  for (const auto& endpoint : endpoints_) next = std::min(next, endpoint->NextTimeout());
  next = std::max(next, now_);
  calls_at_now_ = next == now_ ? calls_at_now_ + 1 : 0;
  if (calls_at_now_ > kCallsPerInstantMax) {
    return absl::InternalError(
        absl::StrCat("an endpoint asks to be called at one instant again and again, at ",
                     absl::FormatTime(now_, absl::UTCTimeZone())));
  }
  now_ = next;
  while (!arriving_.empty() && arriving_.front().at <= now_) {
    std::pop_heap(arriving_.begin(), arriving_.end(), IsLater);
    Arriving arriving = std::move(arriving_.back());
    arriving_.pop_back();
    Deliver(std::move(arriving));
  }
  for (const auto& endpoint : endpoints_) {
    if (endpoint->NextTimeout() <= now_) endpoint->OnTimeout(now_);
  }
  return absl::OkStatus();
}

void LinkWorld::Deliver(Arriving arriving) {
  Endpoint& endpoint = *endpoints_[arriving.to];
  const bool is_watched =
      arriving.to == kReceiver && !first_data_ && now_ >= watch_since_ && IsData(arriving.bytes);
  const uint64_t duplicates = is_watched ? endpoint.CountersTotal().duplicates_received : 0;
  endpoint.OnDatagram(now_, arriving.bytes);
  if (is_watched && endpoint.CountersTotal().duplicates_received == duplicates) first_data_ = now_;
  free_buffers_.push_back(std::move(arriving.bytes));
}

}  // namespace perigee
