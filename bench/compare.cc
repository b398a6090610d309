#include "bench/compare.h"

#include <algorithm>
#include <cstdio>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "bench/compare_faults.h"
#include "bench/compare_launch.h"
#include "bench/compare_peers.h"
#include "bench/compare_report.h"
#include "bench/compare_sweep.h"
#include "runtime/cli/quantity.h"
#include "runtime/cli/report.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

template <typename T>
absl::StatusOr<std::vector<T>> ParseList(absl::string_view text,
                                         absl::StatusOr<T> (*parse)(absl::string_view)) {
  std::vector<T> values;
  for (absl::string_view part : absl::StrSplit(text, ',')) {
    PERIGEE_ASSIGN_OR_RETURN(T value, parse(part));
    values.push_back(std::move(value));
  }
  return values;
}

absl::StatusOr<uint64_t> ParseCount(absl::string_view text) {
  uint64_t count = 0;
  if (absl::SimpleAtoi(text, &count) && count > 0) return count;
  return absl::InvalidArgumentError(absl::StrCat("'", text, "' is not a count, such as 10"));
}

absl::StatusOr<CompareGrid> ParseGrid(const CompareOptions& options) {
  CompareGrid grid;
  PERIGEE_ASSIGN_OR_RETURN(const auto losses, ParseList<double>(options.loss, &ParseProbability));
  PERIGEE_ASSIGN_OR_RETURN(const auto round_trips,
                           ParseList<absl::Duration>(options.round_trip, &ParseTime));
  PERIGEE_ASSIGN_OR_RETURN(grid.sizes, ParseList<uint64_t>(options.sizes, &ParseSize));
  PERIGEE_ASSIGN_OR_RETURN(grid.iterations, ParseList<uint64_t>(options.iterations, &ParseCount));
  for (const absl::Duration round_trip : round_trips) {
    for (const double loss : losses) {
      if (loss >= 1) return absl::InvalidArgumentError("--loss: must be below 1");
      grid.points.push_back({.loss = loss, .round_trip = round_trip});
    }
  }
  if (!std::is_sorted(grid.sizes.begin(), grid.sizes.end())) {
    return absl::InvalidArgumentError(
        absl::StrCat("--bytes ", options.sizes, ": ascending, please"));
  }
  for (const uint64_t bytes : grid.sizes) {
    if (bytes % sizeof(float) != 0 || bytes < 4096 || bytes > uint64_t{1} << 30) {
      return absl::InvalidArgumentError(
          absl::StrCat("--bytes: ", bytes, " must be a multiple of 4, from 4 KiB to 1 GiB"));
    }
  }
  grid.iterations.resize(grid.sizes.size(), grid.iterations.back());
  return grid;
}

void FillParameters(nlohmann::ordered_json& parameters, const CompareOptions& options) {
  parameters["run"] = CommandLine();
  parameters["nodes"] = options.nodes;
  parameters["rate_bps"] = options.bytes_per_second * 8;
  parameters["loss"] = options.loss;
  parameters["round_trip"] = options.round_trip;
  parameters["bytes"] = options.sizes;
  parameters["iterations"] = options.iterations;
  parameters["rounds"] = options.rounds;
  parameters["peers"] = options.peers;
  parameters["congestion"] = options.congestion;
  parameters["limit_seconds"] = absl::ToDoubleSeconds(options.limit);
  parameters["budget_seconds"] = absl::ToDoubleSeconds(options.budget);
  parameters["links"] = options.loopback ? "loopback" : "emulated";
}

absl::Status CheckCells(const nlohmann::ordered_json& cells) {
  uint64_t wrong = 0, failed = 0;
  for (const auto& cell : cells) {
    wrong += cell["results_right"] == false || cell["bits_equal"] == false;
    failed += cell["status"] == "failed";
  }
  if (wrong > 0) return absl::DataLossError(absl::StrCat(wrong, " cells have wrong results"));
  if (failed > 0) {
    return absl::AbortedError(absl::StrCat(failed, " cells failed: their reasons are in the JSON"));
  }
  return absl::OkStatus();
}

// Once per row and point: the sizes of a launch fail together.
void PrintReasons(const nlohmann::ordered_json& cells) {
  std::set<std::string> printed;
  for (const auto& cell : cells) {
    if (cell["status"] != "failed") continue;
    const std::string line = absl::StrFormat(
        "failed: %s %s at %g %% loss, %g ms: %s", cell["peer"].get<std::string>(),
        cell["congestion"].is_null() ? "" : cell["congestion"].get<std::string>(),
        cell["loss"].get<double>() * 100, cell["round_trip_seconds"].get<double>() * 1e3,
        cell["reason"].get<std::string>());
    if (printed.insert(line).second) std::printf("%s\n", line.c_str());
  }
}

absl::Status RunSweep(const CompareOptions& options, const std::vector<CompareRow>& rows,
                      const CompareGrid& grid) {
  Report report("compare", options.seed);
  FillParameters(report.parameters(), options);
  CompareSweep sweep(options, rows, grid);
  PERIGEE_RETURN_IF_ERROR(sweep.Run());
  auto& fields = report.fields();
  fields["mode"] = "sweep";
  fields["versions"] = sweep.versions();
  fields["is_complete"] = !sweep.ran_out_of_time();
  fields["cells"] = CellsJson(sweep);
  fields["launches"] = sweep.launches();
  if (options.json != "-") {
    std::printf("%s", CompareTable(sweep, options.limit).c_str());
    std::printf("median / worst op; nodes %u, %s per directed link%s\n", options.nodes,
                FormatRate(options.bytes_per_second).c_str(),
                options.loopback ? "; LOOPBACK: no rate, delay or loss is emulated" : "");
    std::printf("%s", LatenessLegend(sweep).c_str());
    if (sweep.ran_out_of_time()) std::printf("cut short: the time limit was reached\n");
    PrintReasons(fields["cells"]);
  }
  PERIGEE_RETURN_IF_ERROR(report.Write(options.json));
  return CheckCells(fields["cells"]);
}

// What was given on the command line stays.
void MakeTiny(CompareOptions& options) {
  const CompareOptions usual;
  const auto set = [](auto& value, const auto& if_usual, const auto& tiny) {
    if (value == if_usual) value = tiny;
  };
  set(options.loss, usual.loss, "0,1%");
  set(options.round_trip, usual.round_trip, "4ms");
  set(options.sizes, usual.sizes, "64KiB,1MiB");
  set(options.iterations, usual.iterations, "3,2");
  set(options.rounds, usual.rounds, uint64_t{1});
  set(options.bytes_per_second, usual.bytes_per_second, 12.5e6);
}

absl::Status RunCompare(CompareOptions options) {
  if (options.tiny) MakeTiny(options);
  PERIGEE_ASSIGN_OR_RETURN(const CompareGrid grid, ParseGrid(options));
  PERIGEE_ASSIGN_OR_RETURN(const std::vector<ComparePeer> peers, FindPeers(options.peers));
  PERIGEE_ASSIGN_OR_RETURN(const std::vector<CompareRow> rows, MakeRows(peers, options.congestion));
  HoldInterrupts();
  if (!options.loopback) PERIGEE_RETURN_IF_ERROR(CanEmulate());
  return options.faults ? RunFaults(options, rows, grid) : RunSweep(options, rows, grid);
}

void AddGridFlags(CLI::App& app, CompareOptions& options) {
  app.add_option("--loss", options.loss, "packets lost per link, a list")->capture_default_str();
  app.add_option("--round-trip", options.round_trip, "of every link, a list")
      ->capture_default_str();
  app.add_option("--bytes", options.sizes, "of the vectors, an ascending list")
      ->capture_default_str();
  app.add_option("--iterations", options.iterations, "timed ops per size and launch, a list")
      ->capture_default_str();
  app.add_option("--rounds", options.rounds, "launches of every row at every point")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  AddTime(app, "--limit", &options.limit, "an op that takes longer is cut");
  AddTime(app, "--budget", &options.budget, "a size that has taken so long in a launch ends");
  AddTime(app, "--time-limit", &options.time_limit, "no launch begins later");
}

}  // namespace

void AddCompareCommand(Program& program, CompareOptions& options) {
  CLI::App& app = program.AddCommand(
      "compare", "Perigee beside its peers, over the same emulated links.",
      "perigee-bench compare --peers perigee,gloo-hd,tcp-8 --congestion bbr --loss 0,1%\n"
      "perigee-bench compare --faults --json faults.json",
      [&options] { return RunCompare(options); });
  app.add_option("--peers", options.peers,
                 "all, or a list of perigee, gloo-ring, gloo-hd, tcp-1, tcp-8, tcp-64, pccl")
      ->capture_default_str();
  app.add_option("--congestion", options.congestion, "of the peers over TCP, a list")
      ->capture_default_str();
  app.add_option("--nodes", options.nodes, "members")
      ->check(CLI::Range(2, 16))
      ->capture_default_str();
  AddRate(app, "--rate", &options.bytes_per_second, "capacity per directed link");
  AddGridFlags(app, options);
  app.add_flag("--tiny", options.tiny, "a small grid at 100Mbit, to see that everything works");
  app.add_flag("--loopback", options.loopback, "without the emulator: no rate, delay or loss");
  app.add_flag("--faults", options.faults, "what each peer makes of a member that goes");
  app.add_option("--scenes", options.scenes, "of --faults, a list")->capture_default_str();
  app.add_option("--seed", options.seed, "of content and losses")->capture_default_str();
  app.add_option("--json", options.json, "write one JSON object to PATH, or - for stdout");
}

}  // namespace perigee
