#include "bench/linkemu/run_report.h"

#include <cstdio>

#include "bench/linkemu/address_plan.h"
#include "transport/base/status.h"

namespace perigee::linkemu {
namespace {

constexpr absl::Duration kLatenessMax = absl::Milliseconds(1);

nlohmann::ordered_json LinkFields(const LinkSettings& link, const LinkCounters& counters) {
  return {{"from", link.from},
          {"to", link.to},
          {"packets", counters.packets},
          {"bytes", counters.bytes},
          {"lost", counters.lost},
          {"queue_dropped", counters.queue_dropped},
          {"down_dropped", counters.down_dropped},
          {"duplicated", counters.duplicated},
          {"flipped", counters.flipped},
          {"overflowed", counters.overflowed}};
}

nlohmann::ordered_json NodeFields(const RunFigures& figures, size_t index) {
  const Supervisor::Node& node = (*figures.nodes)[index];
  const absl::StatusOr<uint64_t> drops = DeviceDrops((*figures.namespaces)[index]);
  nlohmann::ordered_json fields = {{"name", node.name},
                                   {"address", NodeAddress(static_cast<int>(index))},
                                   {"pid", node.process.pid()},
                                   {"exit_code", nullptr},
                                   {"device_dropped", nullptr}};
  if (node.exit_code) fields["exit_code"] = *node.exit_code;
  if (drops.ok()) fields["device_dropped"] = *drops;
  return fields;
}

// Null before the first packet.
nlohmann::ordered_json Microseconds(const DurationHistogram& lateness, absl::Duration value) {
  if (lateness.count() == 0) return nullptr;
  return absl::ToDoubleMicroseconds(value);
}

}  // namespace

void WarnIfInexact(const RunFigures& figures) {
  uint64_t lost = figures.emulator.write_errors;
  for (const LinkCounters& link : figures.emulator.links) lost += link.overflowed;
  for (const NodeNamespace& node : *figures.namespaces) lost += DeviceDrops(node).value_or(0);
  const absl::Duration late = figures.emulator.lateness.Quantile(0.99);
  if (lost == 0 && late <= kLatenessMax) return;
  std::fprintf(stderr,
               "perigee-linkemu: warning: this machine was too busy for the network: 1 in 100 "
               "arrivals was over %.1f ms late, %llu packets were lost outside the links\n",
               absl::ToDoubleMilliseconds(late), static_cast<unsigned long long>(lost));
}

RunReport::RunReport(const RunOptions& options)
    : path_(options.json), report_("linkemu run", options.seed), start_(EmulatorNow()) {
  report_.parameters() = {
      {"topology", nullptr},
      {"contacts", nullptr},
      {"rate_bps", options.channel.link.bytes_per_second * 8},
      {"delay_seconds", absl::ToDoubleSeconds(options.channel.link.delay)},
      {"loss", options.channel.loss},
      {"burst_ms", options.burst_ms},
      {"burst_loss", options.channel.burst_loss},
      {"reorder", options.channel.reorder},
      {"duplicate", options.channel.duplicate},
      {"bit_flip", options.channel.bit_flip},
      {"flip_mode", options.flip_mode},
      {"queue_bytes", options.queue_bytes},
      {"congestion", options.congestion},
      {"time_scale", options.time_scale},
      {"at", options.at},
      {"coordinator", options.coordinator},
      {"run", options.command},
  };
  if (!options.contacts.empty()) {
    report_.parameters()["contacts"] = options.contacts;
  } else {
    report_.parameters()["topology"] = options.topology.empty() ? "mesh" : options.topology;
  }
}

nlohmann::ordered_json RunReport::Fields(const RunFigures& figures) {
  const EmulatorFigures& emulator = figures.emulator;
  const DurationHistogram& lateness = emulator.lateness;
  nlohmann::ordered_json links = nlohmann::ordered_json::array();
  for (size_t i = 0; i < emulator.links.size(); ++i) {
    links.push_back(LinkFields(figures.network->links[i], emulator.links[i]));
  }
  nlohmann::ordered_json nodes = nlohmann::ordered_json::array();
  for (size_t i = 0; i < figures.nodes->size(); ++i) nodes.push_back(NodeFields(figures, i));
  return {{"emulator_cpu_seconds", emulator.cpu_seconds},
          {"lateness_us_p50", Microseconds(lateness, lateness.Quantile(0.5))},
          {"lateness_us_p99", Microseconds(lateness, lateness.Quantile(0.99))},
          {"lateness_us_max", Microseconds(lateness, lateness.max())},
          {"arrivals", lateness.count()},
          {"write_errors", emulator.write_errors},
          {"malformed", emulator.frames.malformed},
          {"unroutable", emulator.frames.unroutable},
          {"nodes", nodes},
          {"links", links}};
}

absl::Status RunReport::Write(const RunFigures& figures) {
  if (path_.empty()) return absl::OkStatus();
  report_.fields() = Fields(figures);
  report_.fields()["wall_seconds"] = absl::ToDoubleSeconds(EmulatorNow() - start_);
  return report_.Write(path_);
}

}  // namespace perigee::linkemu
