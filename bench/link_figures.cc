#include "bench/link_figures.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "transport/base/status.h"
#include "transport/wire.h"

namespace perigee {
namespace {

constexpr double kWireBytes = wire::kPacketBytesMax + wire::kIpUdpBytes;
constexpr double kSymbolBytes = wire::kSegmentBytes;
constexpr double kBitsPerByte = 8;
constexpr double kMillisecondsPerSecond = 1e3;

double UsefulRate(const LinkModel& model) {
  return (1 - model.loss) * model.link.bytes_per_second * kSymbolBytes / kWireBytes;
}

std::optional<double> Seconds(const std::optional<absl::Duration>& duration) {
  if (!duration) return std::nullopt;
  return absl::ToDoubleSeconds(*duration);
}

void SetGoodput(const LinkTraffic& traffic, const LinkModel& model, const LinkRun& run,
                LinkFigures& figures) {
  const auto end = run.delivered_at.begin() + traffic.messages;
  const absl::Time last = *std::max_element(run.delivered_at.begin(), end);
  const absl::Duration took = last - run.offered_at.front() - model.link.delay;
  const double bytes = static_cast<double>(traffic.messages) * static_cast<double>(traffic.bytes);
  const double rate = bytes / absl::ToDoubleSeconds(took);
  figures.goodput_bps = rate * kBitsPerByte;
  if (model.link.bytes_per_second > 0) figures.goodput_fraction = rate / UsefulRate(model);
}

void SetExtra(const LinkTraffic& traffic, const LinkModel& model, const LinkRun& run,
              LinkFigures& figures) {
  const absl::Duration round_trip = 2 * model.link.delay;
  if (model.link.bytes_per_second <= 0 || round_trip <= absl::ZeroDuration()) return;
  const absl::Duration ideal = IdealCompletion(model, traffic.bytes);
  std::vector<double> extra;
  for (uint64_t i = traffic.messages; i < traffic.message_count(); ++i) {
    const absl::Duration took = run.delivered_at[i] - run.offered_at[i];
    extra.push_back(absl::FDivDuration(took - ideal, round_trip));
  }
  std::sort(extra.begin(), extra.end());
  const auto rank = static_cast<size_t>(std::ceil(0.99 * static_cast<double>(extra.size())));
  figures.extra_rtt_p99 = extra[std::max<size_t>(rank, 1) - 1];
  figures.extra_rtt_mean =
      std::accumulate(extra.begin(), extra.end(), 0.0) / static_cast<double>(extra.size());
}

}  // namespace

absl::Duration IdealCompletion(const LinkModel& model, uint64_t bytes) {
  return absl::Seconds(static_cast<double>(bytes) / UsefulRate(model)) + model.link.delay;
}

LinkFigures ComputeFigures(const LinkTraffic& traffic, const LinkModel& model, const LinkRun& run) {
  PERIGEE_CHECK(run.offered_at.size() == traffic.message_count());
  PERIGEE_CHECK(run.delivered_at.size() == traffic.message_count());
  LinkFigures figures;
  SetGoodput(traffic, model, run, figures);
  SetExtra(traffic, model, run, figures);

  const auto messages = static_cast<double>(traffic.message_count());
  const double useful = messages * static_cast<double>(traffic.bytes);
  figures.wire_overhead =
      static_cast<double>(run.sender.data_bytes_sent) * (1 - model.loss) / useful;
  const auto repeated = static_cast<double>(run.sender.segments_retransmitted);
  const double segments = messages * wire::SegmentCount(traffic.bytes) + repeated;
  figures.retransmitted_fraction = repeated / segments;
  figures.spurious_retransmit_fraction =
      static_cast<double>(run.receiver.duplicates_received) / segments;
  if (run.link_up && run.first_data) {
    figures.resume_ms =
        absl::ToDoubleSeconds(*run.first_data - *run.link_up) * kMillisecondsPerSecond;
  }
  figures.intact = run.intact;
  figures.cpu_seconds_send = Seconds(run.cpu_send);
  figures.cpu_seconds_receive = Seconds(run.cpu_receive);
  return figures;
}

}  // namespace perigee
