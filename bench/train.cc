#include "bench/train.h"

#include <cstdio>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "runtime/cli/child_process.h"
#include "runtime/cli/quantity.h"
#include "runtime/cli/report.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

// Two runs of example-train; it ends by itself when no step is finished for 90 s.
constexpr absl::Duration kPointDeadline = absl::Hours(1);

std::vector<std::string> Arguments(const TrainSweepOptions& options, const std::string& loss) {
  std::vector<std::string> argv = {SiblingProgram("example-train"),
                                   "--json",
                                   "-",
                                   "--nodes",
                                   absl::StrCat(options.nodes),
                                   "--steps",
                                   absl::StrCat(options.steps),
                                   "--microbatches",
                                   absl::StrCat(options.microbatches),
                                   "--rate",
                                   options.rate,
                                   "--delay",
                                   options.delay,
                                   "--burst-ms",
                                   absl::StrCat(options.burst_ms),
                                   "--loss",
                                   loss,
                                   "--faults",
                                   options.faults,
                                   "--seed",
                                   absl::StrCat(options.seed)};
  if (options.netns) argv.push_back("--netns");
  return argv;
}

// The job's own JSON. Its checks (same bits, nothing lost) decide over its exit status.
absl::StatusOr<nlohmann::json> RunJob(const TrainSweepOptions& options, const std::string& loss) {
  PERIGEE_ASSIGN_OR_RETURN(ChildProcess job, ChildProcess::Start(Arguments(options, loss)));
  const std::string output = ReadOutput(job, absl::Now() + kPointDeadline);
  const int code = job.Wait(absl::Seconds(10));
  nlohmann::json json = nlohmann::json::parse(output, nullptr, /*allow_exceptions=*/false);
  if (code != 0 || !json.is_object()) {
    return absl::AbortedError(
        absl::StrCat("example-train at loss ", loss, " ended with code ", code, ": see above"));
  }
  return json;
}

// A sample is a microbatch. Nothing when the run was too short to tell.
nlohmann::ordered_json SamplesPerSecond(const nlohmann::json& job, const char* seconds) {
  const double samples =
      (job.at("steps").get<double>() - 1) * job.at("parameters").at("microbatches").get<double>();
  const nlohmann::json& training = job.at(seconds);
  if (!training.is_number() || training.get<double>() <= 0) return nullptr;
  return samples / training.get<double>();
}

nlohmann::ordered_json Point(double loss, const nlohmann::json& job) {
  const auto clean = SamplesPerSecond(job, "training_seconds");
  const auto faults = SamplesPerSecond(job, "training_seconds_faults");
  return {{"loss", loss},
          {"samples_per_second", faults.is_null() ? clean : faults},
          {"samples_per_second_fault_free", clean},
          {"samples_lost", job.at("samples_lost")},
          {"steps_lost", job.at("steps_lost")},
          {"steps", job.at("steps")},
          {"faults", job.at("faults")},
          {"dark", job.at("dark")},
          {"step_seconds_p50", job.at("step_seconds_p50")},
          {"step_seconds_faults_p50", job.at("step_seconds_faults_p50")},
          {"loss_last", job.at("loss_last")},
          {"digest", job.at("digest")}};
}

void Print(const nlohmann::ordered_json& point, double first) {
  const double clean = point["samples_per_second_fault_free"].get<double>();
  std::printf("%6.2f %%  %9.1f  %9.1f  %6.3f  %8.3f  %7s  %s\n", point["loss"].get<double>() * 100,
              point["samples_per_second"].get<double>(), clean, clean / first,
              point["step_seconds_p50"].get<double>(), point["samples_lost"].dump().c_str(),
              point["digest"].get<std::string>().c_str());
  std::fflush(stdout);
}

absl::Status RunTrainSweep(const TrainSweepOptions& options) {
  std::vector<double> losses;
  for (const std::string& text : options.losses) {
    PERIGEE_ASSIGN_OR_RETURN(const double loss, ParseProbability(text));
    losses.push_back(loss);
  }
  Report report("train", options.seed);
  report.parameters() = {{"faults", options.faults},     {"nodes", options.nodes},
                         {"steps", options.steps},       {"microbatches", options.microbatches},
                         {"rate", options.rate},         {"delay", options.delay},
                         {"burst_ms", options.burst_ms}, {"netns", options.netns}};
  auto& points = report.fields()["points"] = nlohmann::ordered_json::array();
  if (options.json != "-") {
    std::printf("  loss    samples/s  no faults  of first  step s   lost     digest\n");
  }
  for (size_t i = 0; i < losses.size(); ++i) {
    PERIGEE_ASSIGN_OR_RETURN(const nlohmann::json job, RunJob(options, options.losses[i]));
    points.push_back(Point(losses[i], job));
    if (options.json != "-") {
      Print(points.back(), points.front()["samples_per_second_fault_free"].get<double>());
    }
    // Bits do not depend on loss, nor on faults, as long as the steps are the same.
    if (points.back()["steps"] == points.front()["steps"] &&
        points.back()["digest"] != points.front()["digest"]) {
      return absl::DataLossError(absl::StrCat("at loss ", options.losses[i],
                                              " the parameters differ from those at loss ",
                                              options.losses.front()));
    }
  }
  return report.Write(options.json);
}

}  // namespace

void AddTrainCommand(Program& program, TrainSweepOptions& options) {
  CLI::App& app =
      program.AddCommand("train", "Samples per second of a training job against loss and faults.",
                         "perigee-bench train --loss 0,0.1%,1%,5%\n"
                         "perigee-bench train --faults churn --loss 1% --json train.json",
                         [&options] { return RunTrainSweep(options); });
  app.add_option("--loss", options.losses, "packets lost on each link; several, comma separated")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--faults", options.faults, "as of example-train")
      ->check(CLI::IsMember({"none", "demo", "churn"}))
      ->capture_default_str();
  app.add_option("--nodes", options.nodes, "members of the job")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  app.add_option("--steps", options.steps, "training steps of each run")
      ->check(CLI::Range(2, 1000000))
      ->capture_default_str();
  app.add_option("--microbatches", options.microbatches, "per step; a sample is a microbatch")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app.add_option("--rate", options.rate, "capacity of each directed link")->capture_default_str();
  app.add_option("--delay", options.delay, "one way per link")->capture_default_str();
  app.add_option("--burst-ms", options.burst_ms, "mean length of loss bursts; 0: independent")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_flag("--netns", options.netns, "over perigee-linkemu, in network namespaces");
  app.add_option("--seed", options.seed, "of parameters and data order")->capture_default_str();
  app.add_option("--json", options.json, "write one JSON object to PATH, or - for stdout");
}

}  // namespace perigee
