#include "bench/linkemu/emulated_link.h"

#include <algorithm>
#include <utility>

#include "transport/base/status.h"

namespace perigee::linkemu {
namespace {

template <typename From, typename To>
void Assign(const std::optional<From>& from, To* to) {
  if (from) *to = *from;
}

ChannelSettings Changed(ChannelSettings settings, const LinkChange& change) {
  Assign(change.bytes_per_second, &settings.link.bytes_per_second);
  Assign(change.delay, &settings.link.delay);
  Assign(change.loss, &settings.loss);
  Assign(change.burst_mean, &settings.burst_mean);
  Assign(change.burst_loss, &settings.burst_loss);
  Assign(change.reorder, &settings.reorder);
  Assign(change.duplicate, &settings.duplicate);
  Assign(change.bit_flip, &settings.bit_flip);
  Assign(change.queue_bytes_max, &settings.queue_bytes_max);
  return settings;
}

bool ChangesChannel(const LinkChange& change) {
  return change.bytes_per_second || change.delay || change.loss || change.burst_mean ||
         change.burst_loss || change.reorder || change.duplicate || change.bit_flip ||
         change.queue_bytes_max;
}

}  // namespace

EmulatedLink::EmulatedLink(LinkSettings settings, Rng rng)
    : settings_(std::move(settings)), rng_(rng) {
  MakeChannel();
}

void EmulatedLink::MakeChannel() {
  ChannelSettings settings = settings_.channel;
  if (window_ < settings_.windows.size()) {
    const LinkWindow& window = settings_.windows[window_];
    settings.link = window.link;
    // What is on the wire when the window closes is lost with it.
    if (window.closes < absl::InfiniteFuture()) {
      settings.down = {{window.closes, absl::InfiniteFuture()}};
    }
  }
  channel_.emplace(std::move(settings), rng_.Fork());
  channel_start_ = wire_free_;
}

bool EmulatedLink::EnterWindow(absl::Time now) {
  const std::vector<LinkWindow>& windows = settings_.windows;
  if (windows.empty()) return true;
  const size_t before = window_;
  while (window_ < windows.size() && windows[window_].closes <= now) ++window_;
  if (window_ == windows.size()) return false;
  if (window_ != before) {
    // What waited when the last window closed was lost, so the wire is free.
    wire_free_ = std::min(wire_free_, windows[window_].opens);
    MakeChannel();
  }
  return windows[window_].opens <= now;
}

absl::InlinedVector<Arrival, 2> EmulatedLink::Send(absl::Time now, size_t wire_bytes) {
  last_send_ = now = std::max(now, last_send_);
  ++counters_.packets;
  counters_.bytes += wire_bytes;
  if (!EnterWindow(now) || down_) {
    ++counters_.down_dropped;
    return {};
  }
  const uint64_t dropped_before = channel_->packets_dropped();
  auto arrivals = channel_->Send(std::max(now, channel_start_), wire_bytes);
  if (arrivals.empty()) {
    const bool found_queue_full = channel_->packets_dropped() != dropped_before;
    ++(found_queue_full ? counters_.queue_dropped : counters_.lost);
    return arrivals;
  }
  wire_free_ = std::max(wire_free_, arrivals.front().at - channel_->settings().link.delay);
  counters_.duplicated += arrivals.size() - 1;
  for (const Arrival& arrival : arrivals) counters_.flipped += arrival.flipped_bit.has_value();
  return arrivals;
}

absl::Status EmulatedLink::Change(absl::Time now, const LinkChange& change) {
  if (ChangesChannel(change)) {
    const ChannelSettings changed = Changed(settings_.channel, change);
    PERIGEE_RETURN_IF_ERROR(Validate(changed));
    EnterWindow(std::max(now, last_send_));
    settings_.channel = changed;
    for (LinkWindow& window : settings_.windows) {
      Assign(change.bytes_per_second, &window.link.bytes_per_second);
      Assign(change.delay, &window.link.delay);
    }
    MakeChannel();
  }
  Assign(change.down, &down_);
  return absl::OkStatus();
}

absl::Duration EmulatedLink::WireTime(size_t wire_bytes) const {
  const double rate = channel_->settings().link.bytes_per_second;
  return rate > 0 ? absl::Seconds(static_cast<double>(wire_bytes) / rate) : absl::ZeroDuration();
}

}  // namespace perigee::linkemu
