#include "transport/sim/channel.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

constexpr size_t kQueueBytesMin = size_t{128} * 1024;
constexpr double kQueueBandwidthDelayProducts = 2;
// Bad periods that one silence may pass over one by one. After a longer silence the state is drawn
// afresh: its correlation with the last period is gone by then.
constexpr int kPeriodsSkippedMax = 10'000;

size_t QueueBytesMax(const ChannelSettings& settings) {
  if (settings.queue_bytes_max > 0) return settings.queue_bytes_max;
  const double round_trip_seconds = 2 * absl::ToDoubleSeconds(settings.link.delay);
  const double bytes =
      kQueueBandwidthDelayProducts * settings.link.bytes_per_second * round_trip_seconds;
  return std::max(kQueueBytesMin, static_cast<size_t>(std::ceil(bytes)));
}

absl::Status ValidateProbability(double value, const char* name) {
  if (value >= 0 && value <= 1) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("channel: ", name, " is ", value, ", must be within [0, 1]"));
}

absl::Status ValidateDuration(absl::Duration value, const char* name) {
  if (value >= absl::ZeroDuration() && value < absl::InfiniteDuration()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "channel: ", name, " is ", absl::FormatDuration(value), ", must be finite and not negative"));
}

absl::Status ValidateBurst(const ChannelSettings& settings) {
  PERIGEE_RETURN_IF_ERROR(ValidateDuration(settings.burst_mean, "burst_mean"));
  if (settings.burst_mean == absl::ZeroDuration()) return absl::OkStatus();
  if (settings.burst_loss <= 0 || settings.loss > settings.burst_loss) {
    return absl::InvalidArgumentError(absl::StrCat(
        "channel: burst_loss is ", settings.burst_loss, ", must be positive and at least loss (",
        settings.loss, "): losses happen in bursts only"));
  }
  return absl::OkStatus();
}

absl::Status ValidateDown(const ChannelSettings& settings) {
  absl::Time last_end = absl::InfinitePast();
  for (size_t i = 0; i < settings.down.size(); ++i) {
    const auto& [begins, ends] = settings.down[i];
    if (begins >= ends || (i > 0 && begins < last_end)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "channel: down[", i, "] from ", absl::FormatTime(begins, absl::UTCTimeZone()), " to ",
          absl::FormatTime(ends, absl::UTCTimeZone()),
          i > 0 && begins < last_end ? " begins before the window in front of it ends"
                                     : " is empty"));
    }
    last_end = ends;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Validate(const ChannelSettings& settings) {
  const double rate = settings.link.bytes_per_second;
  if (!(rate >= 0) || std::isinf(rate)) {
    return absl::InvalidArgumentError(absl::StrCat("channel: link.bytes_per_second is ", rate,
                                                   ", must be positive, or 0 for unlimited"));
  }
  PERIGEE_RETURN_IF_ERROR(ValidateDuration(settings.link.delay, "link.delay"));
  PERIGEE_RETURN_IF_ERROR(ValidateDuration(settings.reorder_delay_max, "reorder_delay_max"));
  PERIGEE_RETURN_IF_ERROR(ValidateProbability(settings.loss, "loss"));
  PERIGEE_RETURN_IF_ERROR(ValidateProbability(settings.burst_loss, "burst_loss"));
  PERIGEE_RETURN_IF_ERROR(ValidateProbability(settings.reorder, "reorder"));
  PERIGEE_RETURN_IF_ERROR(ValidateProbability(settings.duplicate, "duplicate"));
  PERIGEE_RETURN_IF_ERROR(ValidateProbability(settings.bit_flip, "bit_flip"));
  PERIGEE_RETURN_IF_ERROR(ValidateBurst(settings));
  return ValidateDown(settings);
}

Channel::Channel(ChannelSettings settings, Rng rng)
    : settings_(std::move(settings)),
      rng_(rng),
      burst_rng_(rng_.Fork()),
      queue_bytes_max_(QueueBytesMax(settings_)) {
  PERIGEE_CHECK(Validate(settings_).ok());
}

absl::InlinedVector<Arrival, 2> Channel::Send(absl::Time now, size_t wire_bytes) {
  absl::InlinedVector<Arrival, 2> arrivals;
  const double rate = settings_.link.bytes_per_second;
  const absl::Time on_wire = std::max(now, wire_free_);
  absl::Time leaves = on_wire;
  if (rate > 0) {
    const double waiting_bytes = absl::ToDoubleSeconds(on_wire - now) * rate;
    // A packet that finds the wire idle does not wait, whatever the queue holds.
    if (waiting_bytes > 0 && waiting_bytes + wire_bytes > queue_bytes_max_) {
      ++packets_lost_;
      ++packets_dropped_;
      return arrivals;
    }
    leaves += absl::Seconds(wire_bytes / rate);
  }
  if (IsDown(now, leaves)) {
    ++packets_lost_;
    return arrivals;
  }
  wire_free_ = leaves;
  if (IsLost(on_wire)) {
    ++packets_lost_;
    return arrivals;
  }
  const absl::Time arrives = leaves + settings_.link.delay;
  arrivals.push_back(DrawArrival(arrives, wire_bytes));
  if (settings_.duplicate > 0 && rng_.Bernoulli(settings_.duplicate)) {
    arrivals.push_back(DrawArrival(arrives, wire_bytes));
  }
  return arrivals;
}

Arrival Channel::DrawArrival(absl::Time at, size_t wire_bytes) {
  Arrival arrival{.at = at, .flipped_bit = std::nullopt};
  if (settings_.reorder > 0 && rng_.Bernoulli(settings_.reorder)) {
    arrival.at += rng_.Unit() * settings_.reorder_delay_max;
  }
  if (settings_.bit_flip > 0 && wire_bytes > 0 && rng_.Bernoulli(settings_.bit_flip)) {
    arrival.flipped_bit = rng_.Below(uint64_t{8} * wire_bytes);
  }
  return arrival;
}

bool Channel::IsDown(absl::Time now, absl::Time leaves) {
  if (forced_down_) return true;
  const auto& down = settings_.down;
  while (down_index_ < down.size() && down[down_index_].second <= now) ++down_index_;
  if (down_index_ == down.size()) return false;
  const absl::Time begins = down[down_index_].first;
  return begins <= now || begins < leaves;
}

bool Channel::IsLost(absl::Time on_wire) {
  if (settings_.loss <= 0) return false;
  if (settings_.burst_mean == absl::ZeroDuration()) return rng_.Bernoulli(settings_.loss);
  return IsBad(on_wire) && rng_.Bernoulli(settings_.burst_loss);
}

// An alternating renewal process of exponential good and bad periods, which take shares of the time
// so that the mean loss is settings_.loss.
bool Channel::IsBad(absl::Time on_wire) {
  const double bad_share = settings_.loss / settings_.burst_loss;
  const double bad_mean = absl::ToDoubleSeconds(settings_.burst_mean);
  const double good_mean = bad_mean * (1 / bad_share - 1);
  const auto Draw = [this](double mean) { return absl::Seconds(burst_rng_.Exponential(mean)); };
  for (int skipped = 0; bad_until_ <= on_wire && skipped < kPeriodsSkippedMax; ++skipped) {
    if (bad_until_ == absl::InfinitePast()) break;
    bad_from_ = bad_until_ + Draw(good_mean);
    bad_until_ = bad_from_ + Draw(bad_mean);
  }
  if (bad_until_ <= on_wire) {
    // The first packet, or one after a very long silence: exponential periods have no memory, so
    // the stationary shares say which state it meets, and that state lasts for a whole mean.
    bad_from_ = on_wire;
    if (!burst_rng_.Bernoulli(bad_share)) bad_from_ += Draw(good_mean);
    bad_until_ = bad_from_ + Draw(bad_mean);
  }
  return bad_from_ <= on_wire && on_wire < bad_until_;
}

}  // namespace perigee
