#include "bench/allreduce.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runtime/cli/quantity.h"
#include "runtime/cli/report.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

constexpr uint64_t kBytesMax = uint64_t{1} << 30;
constexpr double kVirtualRate = 125e6;

absl::Status CheckOptions(const AllReduceOptions& options) {
  if (options.bytes % sizeof(float) != 0 || options.bytes > kBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--bytes: ", options.bytes, " must be a multiple of 4, at most ", FormatSize(kBytesMax)));
  }
  if (options.dtype != "f32") {
    return absl::InvalidArgumentError(
        absl::StrCat("--dtype ", options.dtype, ": the benchmark has f32 only so far"));
  }
  if (options.algorithm != "auto" && options.algorithm != "ring") {
    return absl::InvalidArgumentError(absl::StrCat(
        "--algorithm ", options.algorithm, ": there is the ring only so far: say auto or ring"));
  }
  if (options.topology != "mesh") {
    return absl::InvalidArgumentError(
        absl::StrCat("--topology ", options.topology, ": there is the full mesh only so far"));
  }
  if (options.loss >= 1) return absl::InvalidArgumentError("--loss: must be below 1");
  return Validate(options.channel());
}

// Nearest rank.
// An allreduce has ended when its last member has it.
std::vector<double> SlowestPerIteration(const std::vector<AllReduceMember>& members) {
  std::vector<double> slowest(members.front().seconds);
  for (const AllReduceMember& member : members) {
    for (size_t i = 0; i < slowest.size(); ++i) {
      slowest[i] = std::max(slowest[i], member.seconds[i]);
    }
  }
  return slowest;
}

void Fill(Report& report, const AllReduceOptions& options,
          const std::vector<AllReduceMember>& members) {
  auto& parameters = report.parameters();
  parameters["nodes"] = options.nodes;
  parameters["bytes"] = options.bytes;
  parameters["iterations"] = options.iterations;
  parameters["rate_bps"] = options.bytes_per_second * 8;
  parameters["delay_seconds"] = absl::ToDoubleSeconds(options.delay);
  parameters["loss"] = options.loss;
  parameters["burst_ms"] = options.burst_ms;
  parameters["dtype"] = options.dtype;
  parameters["reproducible"] = options.reproducible;
  parameters["algorithm"] = "ring";
  parameters["topology"] = options.topology;
  parameters["clock"] = options.clock;

  const std::vector<double> seconds = SlowestPerIteration(members);
  const double p50 = Quantile(seconds, 0.5);
  const double n = options.nodes;
  uint64_t wire_bytes = 0, retransmitted_bytes = 0;
  double cpu_seconds = 0;
  bool oracle_equal = true, digest_equal = true;
  for (const AllReduceMember& member : members) {
    wire_bytes += member.wire_bytes;
    retransmitted_bytes += member.retransmitted_bytes;
    cpu_seconds += member.cpu_seconds;
    oracle_equal &= member.oracle_equal;
    digest_equal &= member.digest == members.front().digest;
  }
  auto& fields = report.fields();
  fields["iterations"] = seconds.size();
  fields["seconds_p50"] = p50;
  fields["seconds_p99"] = Quantile(seconds, 0.99);
  fields["algbw_bps"] = 8 * static_cast<double>(options.bytes) / p50;
  fields["busbw_bps"] = 8 * static_cast<double>(options.bytes) / p50 * 2 * (n - 1) / n;
  fields["wire_bytes"] = wire_bytes;
  fields["retransmitted_bytes"] = retransmitted_bytes;
  fields["cpu_seconds"] = options.clock == "real" ? nlohmann::ordered_json(cpu_seconds)
                                                  : nlohmann::ordered_json(nullptr);
  fields["oracle_equal"] = oracle_equal;
  fields["digest_equal"] = digest_equal;
  fields["digest"] = digest_equal ? nlohmann::ordered_json(members.front().digest)
                                  : nlohmann::ordered_json(nullptr);
}

absl::Status RunAllReduce(AllReduceOptions options) {
  if (options.clock == "virtual" && options.bytes_per_second <= 0) {
    options.bytes_per_second = kVirtualRate;
  }
  PERIGEE_RETURN_IF_ERROR(CheckOptions(options));
  if (options.worker >= 0) return RunAllReduceWorker(options);
  Report report("allreduce", options.seed);
  PERIGEE_ASSIGN_OR_RETURN(
      const std::vector<AllReduceMember> members,
      options.clock == "real" ? RunAllReduceProcesses(options) : RunAllReduceVirtual(options));
  Fill(report, options, members);
  auto& fields = report.fields();
  if (options.json != "-") {
    for (const auto& [name, value] : fields.items()) {
      std::printf("%-20s %s\n", name.c_str(), value.dump().c_str());
    }
  }
  PERIGEE_RETURN_IF_ERROR(report.Write(options.json));
  if (fields["oracle_equal"].get<bool>() && fields["digest_equal"].get<bool>()) {
    return absl::OkStatus();
  }
  return absl::DataLossError("a result differs from the oracle, or between members");
}

}  // namespace

ChannelSettings AllReduceOptions::channel() const {
  ChannelSettings settings{.link = link(), .loss = loss};
  settings.burst_mean = absl::Milliseconds(burst_ms);
  settings.burst_loss = burst_loss;
  return settings;
}

void AddAllReduceCommand(Program& program, AllReduceOptions& options) {
  CLI::App& app = program.AddCommand(
      "allreduce", "How long an allreduce takes, checked against an oracle.",
      "perigee-bench allreduce --nodes 8 --bytes 16MiB --rate 1Gbit --delay 10ms --loss 1%\n"
      "perigee-bench allreduce --clock real --nodes 4 --bytes 64MiB",
      [&options] { return RunAllReduce(options); });
  app.add_option("--nodes", options.nodes, "members")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  AddSize(app, "--bytes", &options.bytes, "size of the vector");
  app.add_option("--iterations", options.iterations, "allreduces that are timed")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  AddRate(
      app, "--rate", &options.bytes_per_second,
      "capacity per directed link; unlimited: as fast as the machine goes, 1Gbit in virtual time");
  AddTime(app, "--delay", &options.delay, "one way per link");
  AddProbability(app, "--loss", &options.loss, "packets lost per link");
  app.add_option("--burst-ms", options.burst_ms,
                 "mean length of a bad period; 0: independent losses")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  AddProbability(app, "--burst-loss", &options.burst_loss, "loss inside a bad period");
  app.add_flag("--reproducible", options.reproducible, "int64 fixed point instead of f32");
  app.add_option("--dtype", options.dtype, "f32")->capture_default_str();
  app.add_option("--algorithm", options.algorithm, "auto or ring")->capture_default_str();
  app.add_option("--topology", options.topology, "mesh")->capture_default_str();
  app.add_option("--clock", options.clock, "virtual, or real: every node is a process")
      ->check(CLI::IsMember({"virtual", "real"}))
      ->capture_default_str();
  app.add_option("--seed", options.seed, "of content and losses")->capture_default_str();
  app.add_option("--json", options.json, "write one JSON object to PATH, or - for stdout");
  app.add_option("--worker", options.worker)->group("");
  app.add_option("--coordinator", options.coordinator)->group("");
}

}  // namespace perigee
