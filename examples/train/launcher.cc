#include "examples/train/launcher.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "examples/char_lm/char_lm_task.h"
#include "examples/train/display.h"
#include "examples/train/job_run.h"
#include "runtime/cli/report.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

// Two dark intervals with a return after each, and a kill, take this long.
constexpr absl::Duration kSceneLength = absl::Seconds(32);

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  auto middle = values.begin() + static_cast<ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// The pause that a share `q` of the faults does not exceed; seconds.
double Pause(const std::vector<FaultRecord>& faults, double q) {
  std::vector<double> pauses;
  for (const FaultRecord& record : faults) {
    if (record.pause) pauses.push_back(absl::ToDoubleSeconds(*record.pause));
  }
  if (pauses.empty()) return 0;
  std::sort(pauses.begin(), pauses.end());
  return pauses[static_cast<size_t>(q * static_cast<double>(pauses.size() - 1))];
}

// How long the run should take, from the cost of a microbatch on this machine and the formula of
// the ring. Only places the dark intervals of the demo inside the run.
absl::StatusOr<absl::Duration> PredictLength(const TrainOptions& options) {
  PERIGEE_ASSIGN_OR_RETURN(
      const std::unique_ptr<char_lm::CharLmTask> task,
      char_lm::CharLmTask::Create(
          {.text_path = options.text, .seed = options.seed, .steps = options.steps}));
  std::vector<float> gradient(task->GradientSize());
  constexpr uint32_t kSamples = 4;
  const absl::Time begin = absl::Now();
  for (uint32_t m = 0; m < kSamples; ++m) {
    PERIGEE_RETURN_IF_ERROR(
        task->ComputeGradient(StepId(0), MicrobatchId(m), absl::MakeSpan(gradient)).status());
  }
  const absl::Duration microbatch = (absl::Now() - begin) / kSamples;
  const double n = options.nodes;
  const double cores = std::min<double>(n, static_cast<double>(sysconf(_SC_NPROCESSORS_ONLN)));
  const absl::Duration compute = microbatch * (options.microbatches / cores);
  const double bytes = 8.0 * static_cast<double>(gradient.size());
  const absl::Duration allreduce =
      2 * (n - 1) * options.delay +
      absl::Seconds(2 * (n - 1) / n * bytes / options.rate_bytes_per_second);
  return static_cast<int64_t>(options.steps) * (compute + allreduce);
}

std::string Tells(const std::string& faults) {
  if (faults == "demo") return ", with dark intervals and a kill";
  if (faults == "churn") return ", with faults at random moments";
  if (faults == "coordinator") return ", perigeed killed again and again";
  if (faults == "blackout") return ", dark as a whole for a while";
  return "";
}

struct Check {
  std::string what;
  bool holds = false;
};

bool AllEqual(const std::map<uint32_t, std::string>& digests) {
  return std::all_of(digests.begin(), digests.end(),
                     [&](const auto& entry) { return entry.second == digests.begin()->second; });
}

std::vector<Check> Compare(const TrainOptions& options, const Scene& scene, const JobResult& faults,
                           const JobResult& clean) {
  std::vector<Check> checks = {
      {"all members end with the same digest",
       faults.digests.size() == options.nodes && AllEqual(faults.digests)},
      {"no step was lost", faults.steps_lost == 0 && clean.steps_lost == 0},
      {"no sample was lost", faults.samples_lost == 0 && clean.samples_lost == 0},
      {"all members saw the same losses", faults.losses_agree && clean.losses_agree},
      {"the loss fell", faults.losses.back() < faults.losses.front()},
  };
  const std::string contradiction =
      faults.contradictions.empty() ? "" : absl::StrCat(": ", faults.contradictions.front());
  checks.push_back({absl::StrCat("all tell of the same views", contradiction),
                    faults.contradictions.empty() && clean.contradictions.empty()});
  if (options.faults == "none") return checks;
  checks.push_back({"the final parameters are those of the run without faults, bit for bit",
                    AllEqual(clean.digests) && !clean.digests.empty() &&
                        clean.digests.begin()->second == faults.digests.begin()->second});
  if (scene.power_follows_plan) {
    checks.push_back(
        {absl::StrCat("all members slept (", faults.slept.size(), " of ", options.nodes,
                      ") and woke up with their own state (", faults.rejoins, " fetched one)"),
         faults.slept.size() == options.nodes && faults.rejoins == 0});
    return checks;
  }
  if (scene.coordinator) {
    checks.push_back({"perigeed was killed, and members were drained and came back",
                      faults.coordinator_kills > 0 && faults.departures > 0});
    return checks;
  }
  checks.push_back(
      {absl::StrCat("the others went on after every fault (", faults.faults.size(), ")"),
       !faults.faults.empty() &&
           std::all_of(faults.faults.begin(), faults.faults.end(),
                       [](const FaultRecord& record) { return record.pause; })});
  if (scene.churn) return checks;
  checks.push_back({absl::StrCat("the scene took place: dark ", scene.dark.size(), " times (seen ",
                                 faults.dark_count, "), killed ", scene.kills.size(),
                                 " times (seen ", faults.kills, ")"),
                    faults.dark_count >= scene.dark.size() && faults.kills == scene.kills.size()});
  return checks;
}

void Fill(Report& report, const TrainOptions& options, const JobResult& faults,
          const JobResult& clean) {
  auto& parameters = report.parameters();
  parameters["nodes"] = options.nodes;
  parameters["steps"] = options.steps;
  parameters["microbatches"] = options.microbatches;
  parameters["text"] = options.text.empty() ? "default" : options.text;
  parameters["faults"] = options.faults;
  parameters["rate_bps"] = options.rate_bytes_per_second * 8;
  parameters["delay_seconds"] = absl::ToDoubleSeconds(options.delay);
  parameters["loss"] = options.loss;
  auto& fields = report.fields();
  fields["steps"] = options.steps - faults.steps_lost;
  fields["members"] = options.nodes;
  fields["samples_lost"] = faults.samples_lost;
  fields["steps_lost"] = faults.steps_lost;
  fields["loss_first"] = faults.losses.front();
  fields["loss_last"] = faults.losses.back();
  fields["losses"] = faults.losses;
  fields["digests"] = nlohmann::ordered_json::object();
  for (const auto& [node, digest] : faults.digests) fields["digests"][absl::StrCat(node)] = digest;
  fields["digest"] = AllEqual(faults.digests)
                         ? nlohmann::ordered_json(faults.digests.begin()->second)
                         : nlohmann::ordered_json(nullptr);
  fields["digest_without_faults"] = clean.digests.begin()->second;
  fields["kills"] = faults.kills;
  fields["faults"] = nlohmann::ordered_json::array();
  for (const FaultRecord& record : faults.faults) {
    fields["faults"].push_back(
        {{"what", ToString(record.fault)},
         {"step", record.step},
         {"pause_seconds", record.pause
                               ? nlohmann::ordered_json(absl::ToDoubleSeconds(*record.pause))
                               : nlohmann::ordered_json(nullptr)}});
  }
  fields["coordinator_kills"] = faults.coordinator_kills;
  fields["departures"] = faults.departures;
  fields["views_known"] = faults.views_known;
  fields["views_stored"] = faults.views_stored;
  fields["longest_step_seconds"] = absl::ToDoubleSeconds(faults.longest_step);
  fields["dark"] = faults.dark_count;
  fields["slept"] = faults.slept;
  fields["rejoins"] = faults.rejoins;
  fields["packets_lost"] = faults.packets_lost;
  fields["packets_repaired"] = faults.packets_repaired;
  fields["views"] = faults.views;
  fields["step_seconds_p50"] = Median(clean.step_seconds);
  fields["step_seconds_faults_p50"] = options.faults == "none"
                                          ? nlohmann::ordered_json(nullptr)
                                          : nlohmann::ordered_json(Median(faults.step_seconds));
  const auto of_faults = [&](absl::Duration duration) {
    return options.faults == "none" ? nlohmann::ordered_json(nullptr)
                                    : nlohmann::ordered_json(absl::ToDoubleSeconds(duration));
  };
  fields["training_seconds"] = absl::ToDoubleSeconds(clean.training);
  fields["training_seconds_faults"] = of_faults(faults.training);
  fields["wall_seconds"] = absl::ToDoubleSeconds(clean.wall);
  fields["wall_seconds_faults"] = of_faults(faults.wall);
}

void PrintSummary(Display& display, const TrainOptions& options, const JobResult& faults,
                  const JobResult& clean) {
  display.Line("== result");
  for (const auto& [node, digest] : faults.digests) {
    display.Line(absl::StrCat("node ", node, "  digest ", digest));
  }
  if (options.faults != "none") {
    display.Line(absl::StrCat("without faults: digest ", clean.digests.begin()->second));
  }
  display.Line(
      absl::StrFormat("steps lost %d, samples lost %d", faults.steps_lost, faults.samples_lost));
  display.Line(absl::StrFormat("loss %.4f -> %.4f", faults.losses.front(), faults.losses.back()));
  display.Line(absl::StrFormat("packets lost %d, repaired %d", faults.packets_lost,
                               faults.packets_repaired));
  if (!faults.faults.empty()) {
    display.Line(
        absl::StrFormat("faults %d; without a finished step for at most %.2f s (median %.2f)",
                        faults.faults.size(), Pause(faults.faults, 1), Pause(faults.faults, 0.5)));
  }
  if (faults.coordinator_kills > 0) {
    display.Line(absl::StrFormat(
        "perigeed killed %d times, %d departures, %d views (%d of members, in the store too)",
        faults.coordinator_kills, faults.departures, faults.views_known, faults.views_stored));
  }
  display.Line(absl::StrFormat("longest time between two steps: %.2f s, without faults %.2f s",
                               absl::ToDoubleSeconds(faults.longest_step),
                               absl::ToDoubleSeconds(clean.longest_step)));
  display.Line(absl::StrFormat(
      "time per step: median %.3f s without faults, %.3f s with; whole run %.1f s and %.1f s",
      Median(clean.step_seconds), Median(faults.step_seconds), absl::ToDoubleSeconds(clean.wall),
      absl::ToDoubleSeconds(faults.wall)));
}

}  // namespace

absl::Status RunLauncher(const TrainOptions& asked) {
  TrainOptions options = asked;
  Report report("example-train", options.seed);
  Display display(options.json_path == "-");
  Scene scene;
  if (options.faults == "demo" || options.faults == "blackout") {
    PERIGEE_ASSIGN_OR_RETURN(absl::Duration length, PredictLength(options));
    if (length < kSceneLength) {
      options.steps = static_cast<uint64_t>(
          std::ceil(static_cast<double>(asked.steps) * absl::FDivDuration(kSceneLength, length)));
      display.Line(absl::StrCat(options.steps, " steps instead of ", asked.steps,
                                ": on this machine the scene needs them"));
      length = kSceneLength;
    }
    scene =
        options.faults == "demo" ? Scene::Demo(options, length) : Scene::Blackout(options, length);
  }
  scene.churn = options.faults == "churn";
  scene.coordinator = options.faults == "coordinator";
  const std::string job = absl::StrCat(options.nodes, " members, ", options.steps, " steps, ",
                                       options.loss * 100, " % loss");
  display.Begin(job + Tells(options.faults));
  PERIGEE_ASSIGN_OR_RETURN(const JobResult faults, JobRun(options, scene, display).Run());
  display.End();
  JobResult clean = faults;
  if (options.faults != "none") {
    display.Begin(absl::StrCat(job, ", without faults"));
    PERIGEE_ASSIGN_OR_RETURN(clean, JobRun(options, Scene(), display).Run());
    display.End();
  }
  PrintSummary(display, options, faults, clean);
  Fill(report, options, faults, clean);
  PERIGEE_RETURN_IF_ERROR(report.Write(options.json_path));
  std::vector<std::string> broken;
  for (const Check& check : Compare(options, scene, faults, clean)) {
    display.Line(absl::StrCat(check.holds ? "[ok]     " : "[FAILED] ", check.what));
    if (!check.holds) broken.push_back(check.what);
  }
  if (broken.empty()) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("does not hold: ", absl::StrJoin(broken, "; ")));
}

}  // namespace perigee
