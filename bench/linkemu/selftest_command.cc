#include "bench/linkemu/selftest_command.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "bench/linkemu/ceiling.h"
#include "bench/linkemu/measurements.h"
#include "bench/linkemu/node_namespace.h"
#include "runtime/cli/report.h"
#include "transport/base/status.h"

namespace perigee::linkemu {
namespace {

constexpr double kCeilingMin = 125e6;  // bytes per second: 1 Gbit/s
constexpr double kJitterMaxUs = 1000;
constexpr double kDelayErrorMaxUs = 200;
constexpr double kLossErrorMax = 0.1;
constexpr double kBurstErrorMax = 0.1;
constexpr double kIperfTcpMin = 0.9;
constexpr double kIperfLossErrorMax = 0.15;
constexpr double kLosses[] = {0.001, 0.01, 0.05};
constexpr absl::Duration kBurstMean = absl::Milliseconds(10);
// Of the ceiling; a run that asks for more is warned.
constexpr double kBusyShare = 0.8;

struct Effort {
  CeilingSearch ceiling;
  absl::Duration timing = absl::Seconds(5);
  uint64_t loss_packets = 1'000'000;
  absl::Duration bursts = absl::Seconds(6);
  std::optional<absl::Duration> iperf = absl::Seconds(5);
};

Effort EffortOf(const SelftestOptions& options) {
  if (!options.tiny) return {};
  return {.ceiling = {.trial = absl::Milliseconds(50),
                      .last_bytes_per_second = CeilingSearch().first_bytes_per_second,
                      .refinements = 0},
          .timing = absl::Milliseconds(200),
          .loss_packets = 20'000,
          .bursts = absl::Milliseconds(200),
          .iperf = std::nullopt};
}

struct Figures {
  double ceiling = 0;
  double load = 0;
  TimingFigures idle;
  TimingFigures busy;
  std::vector<LossFigures> losses;
  BurstFigures bursts;
  bool outage_ok = false;
  std::optional<IperfFigures> iperf;
};

double RelativeError(double measured, double asked) { return std::abs(measured / asked - 1); }

double LossError(const Figures& figures) {
  double error = 0;
  for (const LossFigures& loss : figures.losses) {
    error = std::max(error, RelativeError(loss.measured, loss.loss));
  }
  return error;
}

absl::StatusOr<Figures> Measure(const SelftestOptions& options) {
  const Effort effort = EffortOf(options);
  Figures figures;
  PERIGEE_ASSIGN_OR_RETURN(figures.ceiling, MeasureCeiling(effort.ceiling));
  TimingSettings timing{.length = effort.timing, .seed = options.seed};
  PERIGEE_ASSIGN_OR_RETURN(figures.idle, MeasureTiming(timing));
  figures.load = std::min(kCeilingMin, kBusyShare * figures.ceiling);
  timing.load_bytes_per_second = figures.load;
  PERIGEE_ASSIGN_OR_RETURN(figures.busy, MeasureTiming(timing));
  for (const double loss : kLosses) {
    PERIGEE_ASSIGN_OR_RETURN(LossFigures measured,
                             MeasureLoss(loss, effort.loss_packets, options.seed));
    figures.losses.push_back(measured);
  }
  PERIGEE_ASSIGN_OR_RETURN(figures.bursts, MeasureBursts(kBurstMean, effort.bursts, options.seed));
  PERIGEE_ASSIGN_OR_RETURN(figures.outage_ok, MeasureOutage(options.seed));
  if (effort.iperf) {
    PERIGEE_ASSIGN_OR_RETURN(figures.iperf, MeasureWithIperf(*effort.iperf, options.seed));
  }
  return figures;
}

// What missed its bound.
std::vector<std::string> Misses(const SelftestOptions& options, const Figures& figures) {
  std::vector<std::string> misses;
  const auto Want = [&misses](bool ok, absl::string_view what) {
    if (!ok) misses.emplace_back(what);
  };
  Want(figures.outage_ok, "outage");
  for (const LossFigures& loss : figures.losses) {
    Want(loss.counted, absl::StrCat("count of lost packets at ", 100 * loss.loss, " %"));
  }
  if (options.tiny) return misses;
  Want(figures.ceiling >= kCeilingMin, "ceiling below 1 Gbit/s");
  Want(figures.busy.jitter_us_p99 <= kJitterMaxUs, "jitter above 1 ms");
  Want(std::abs(figures.idle.delay_error_us) <= kDelayErrorMaxUs, "delay off by over 0.2 ms");
  Want(std::abs(figures.busy.delay_error_us) <= kDelayErrorMaxUs,
       "delay under load off by over 0.2 ms");
  Want(LossError(figures) <= kLossErrorMax, "loss off by over 10 %");
  Want(RelativeError(absl::FDivDuration(figures.bursts.measured, figures.bursts.asked), 1) <=
           kBurstErrorMax,
       "burst length off by over 10 %");
  if (figures.iperf) {
    Want(figures.iperf->tcp_fraction >= kIperfTcpMin, "TCP of iperf3 below 90 %");
    Want(RelativeError(figures.iperf->udp_loss, figures.iperf->loss_asked) <= kIperfLossErrorMax,
         "loss of iperf3 off by over 15 %");
  }
  return misses;
}

nlohmann::ordered_json TimingFields(const TimingFigures& timing) {
  return {{"probes", timing.probes},
          {"delay_error_us", timing.delay_error_us},
          {"jitter_us_p50", timing.jitter_us_p50},
          {"jitter_us_p99", timing.jitter_us_p99},
          {"jitter_us_max", timing.jitter_us_max}};
}

void SetFields(const SelftestOptions& options, const Figures& figures,
               const std::vector<std::string>& misses, Report& report) {
  nlohmann::ordered_json losses = nlohmann::ordered_json::array();
  for (const LossFigures& loss : figures.losses) {
    losses.push_back({{"loss", loss.loss}, {"measured", loss.measured}, {"packets", loss.packets}});
  }
  report.fields() = {
      {"ceiling_bps_per_link", 8 * figures.ceiling},
      {"jitter_us_p50", figures.busy.jitter_us_p50},
      {"jitter_us_p99", figures.busy.jitter_us_p99},
      {"loss_error_relative", LossError(figures)},
      {"burst_ms_measured", absl::ToDoubleMilliseconds(figures.bursts.measured)},
      {"outage_ok", figures.outage_ok},
      {"delay_error_us", figures.busy.delay_error_us},
      {"load_bps_per_link", 8 * figures.load},
      {"idle", TimingFields(figures.idle)},
      {"busy", TimingFields(figures.busy)},
      {"losses", losses},
      {"burst_ms_asked", absl::ToDoubleMilliseconds(figures.bursts.asked)},
      {"bursts", figures.bursts.bursts},
      {"iperf_tcp_fraction", nullptr},
      {"iperf_udp_loss", nullptr},
      {"missed", misses},
  };
  // Only one rate was tried.
  if (options.tiny) report.fields()["ceiling_bps_per_link"] = nullptr;
  if (!figures.iperf) return;
  report.fields()["iperf_tcp_fraction"] = figures.iperf->tcp_fraction;
  report.fields()["iperf_udp_loss"] = figures.iperf->udp_loss;
}

void Print(const Figures& figures, bool tiny) {
  std::printf("ceiling     %s%.2f Gbit/s on each of %d links at once\n", tiny ? "at least " : "",
              8e-9 * figures.ceiling, kMeshLinks);
  const auto PrintTiming = [](const char* name, const TimingFigures& timing) {
    std::printf("%s  delay %+.0f us, jitter p50 %.0f us, p99 %.0f us, max %.0f us (%d probes)\n",
                name, timing.delay_error_us, timing.jitter_us_p50, timing.jitter_us_p99,
                timing.jitter_us_max, static_cast<int>(timing.probes));
  };
  PrintTiming("idle      ", figures.idle);
  PrintTiming("busy      ", figures.busy);
  for (const LossFigures& loss : figures.losses) {
    std::printf("loss        %.3f %% measured %.4f %% of %d packets\n", 100 * loss.loss,
                100 * loss.measured, static_cast<int>(loss.packets));
  }
  std::printf("bursts      %.2f ms measured %.2f ms (%d bursts)\n",
              absl::ToDoubleMilliseconds(figures.bursts.asked),
              absl::ToDoubleMilliseconds(figures.bursts.measured),
              static_cast<int>(figures.bursts.bursts));
  std::printf("outage      %s\n", figures.outage_ok ? "ok" : "WRONG");
  if (figures.iperf) {
    std::printf("iperf3      TCP %.1f %% of the link, UDP loss %.3f %% at %.3f %%\n",
                100 * figures.iperf->tcp_fraction, 100 * figures.iperf->udp_loss,
                100 * figures.iperf->loss_asked);
  }
}

}  // namespace

void AddSelftestFlags(CLI::App& app, SelftestOptions& options) {
  app.add_flag("--tiny", options.tiny, "a second; judges only what does not depend on time");
  app.add_option("--seed", options.seed, "of all losses")->capture_default_str();
  app.add_option("--json", options.json, "write JSON to PATH, or to stdout with -")
      ->type_name("PATH");
}

absl::Status RunSelftest(const SelftestOptions& options) {
  PERIGEE_RETURN_IF_ERROR(PrepareNamespaces());
  Report report("linkemu selftest", options.seed);
  report.parameters() = {{"tiny", options.tiny}};
  PERIGEE_ASSIGN_OR_RETURN(const Figures figures, Measure(options));
  if (!options.tiny && figures.ceiling > 0) RememberCeiling(figures.ceiling);
  const std::vector<std::string> misses = Misses(options, figures);
  SetFields(options, figures, misses, report);
  if (options.json != "-") Print(figures, options.tiny);
  PERIGEE_RETURN_IF_ERROR(report.Write(options.json));
  if (misses.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("missed: ", absl::StrJoin(misses, ", "),
                                                    "; is the machine busy with other work?"));
}

}  // namespace perigee::linkemu
