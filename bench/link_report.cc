#include "bench/link_report.h"

#include <cstdio>
#include <string>
#include <utility>

namespace perigee {
namespace {

nlohmann::ordered_json OrNull(const std::optional<double>& value) {
  return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json(nullptr);
}

void PrintTable(const nlohmann::ordered_json& fields) {
  for (const auto& [name, value] : fields.items()) {
    const std::string shown = value.is_null() ? "not measured" : value.dump();
    std::printf("%-30s %s\n", name.c_str(), shown.c_str());
  }
}

}  // namespace

LinkReport::LinkReport(const LinkOptions& options, const LinkCase& link_case)
    : json_(options.json), report_("link", options.seed) {
  auto& parameters = report_.parameters();
  parameters["bytes"] = options.bytes;
  parameters["messages"] = options.messages;
  parameters["rate_bps"] = options.bytes_per_second * 8;
  parameters["delay_seconds"] = absl::ToDoubleSeconds(options.delay);
  parameters["loss"] = options.loss;
  parameters["burst_ms"] = options.burst_ms;
  parameters["burst_loss"] = options.burst_loss;
  parameters["outage"] = nullptr;
  if (link_case.outage) {
    parameters["outage"] = {{"at_seconds", absl::ToDoubleSeconds(link_case.outage->at)},
                            {"length_seconds", absl::ToDoubleSeconds(link_case.outage->length)}};
  }
  parameters["clock"] = options.clock;
  parameters["coding"] = options.coding;
}

absl::Status LinkReport::Write(const LinkFigures& figures) {
  auto& fields = report_.fields();
  fields["goodput_bps"] = figures.goodput_bps;
  fields["goodput_fraction"] = OrNull(figures.goodput_fraction);
  fields["extra_rtt_mean"] = OrNull(figures.extra_rtt_mean);
  fields["extra_rtt_p99"] = OrNull(figures.extra_rtt_p99);
  fields["wire_overhead"] = figures.wire_overhead;
  fields["spurious_retransmit_fraction"] = figures.spurious_retransmit_fraction;
  fields["retransmitted_fraction"] = figures.retransmitted_fraction;
  fields["resume_ms"] = OrNull(figures.resume_ms);
  fields["intact"] = figures.intact;
  fields["cpu_seconds_send"] = OrNull(figures.cpu_seconds_send);
  fields["cpu_seconds_receive"] = OrNull(figures.cpu_seconds_receive);
  if (json_ != "-") PrintTable(fields);
  return report_.Write(json_);
}

}  // namespace perigee
