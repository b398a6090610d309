#include "bench/compare_faults.h"

#include <signal.h>

#include <algorithm>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "bench/compare_fault_watch.h"
#include "bench/compare_launch.h"
#include "bench/compare_report.h"
#include "runtime/cli/quantity.h"
#include "runtime/cli/report.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

using Json = nlohmann::ordered_json;

constexpr absl::Duration kBound = absl::Seconds(90);
constexpr absl::Duration kStartDeadline = absl::Seconds(60);
// Shorter than any peer's timeout: what it costs is what the peer makes of it.
constexpr absl::Duration kOutage = absl::Milliseconds(3600);
constexpr uint64_t kEndlessOps = 100000;

double UnixNow() { return absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch()); }

// One scene of one row: everything between its start and its end.
class FaultRun {
 public:
  FaultRun(const CompareOptions& options, std::string scene)
      : options_(options),
        scene_(std::move(scene)),
        victim_(options.nodes / 2),
        watch_(options.nodes, victim_, scene_ == "outage") {}

  absl::StatusOr<Json> Run(const CompareRow& row, const CompareGrid& grid);

 private:
  absl::Status RunToStrike();
  absl::Status Strike();
  absl::Status SetLinks(const std::string& change);
  void RunToEnd();
  bool Read(absl::Duration time) {
    return launch_->Read(absl::Now() + time, [&](const nlohmann::json& event) {
      if (event.contains("control")) control_ = event.at("control");
      watch_.OnEvent(event);
    });
  }

  const CompareOptions& options_;
  std::string scene_;
  uint32_t victim_;
  FaultWatch watch_;
  std::unique_ptr<Launch> launch_;
  std::string control_;
  pid_t victim_pid_ = 0;
  absl::Time struck_;
};

absl::StatusOr<Json> FaultRun::Run(const CompareRow& row, const CompareGrid& grid) {
  LaunchSpec spec{.row = row,
                  .point = {.round_trip = grid.points.front().round_trip},
                  .nodes = options_.nodes,
                  .bytes_per_second = options_.bytes_per_second,
                  .loopback = options_.loopback,
                  .survives_members = true,
                  .seed = options_.seed,
                  .flags = {"--sizes", absl::StrCat(grid.sizes.back()), "--iterations",
                            absl::StrCat(kEndlessOps), "--budget", "3600s"}};
  PERIGEE_ASSIGN_OR_RETURN(launch_, Launch::Start(spec));
  PERIGEE_RETURN_IF_ERROR(RunToStrike());
  PERIGEE_RETURN_IF_ERROR(Strike());
  RunToEnd();
  const double ended = UnixNow();
  if (victim_pid_ > 0) kill(victim_pid_, SIGKILL);
  launch_->Stop();
  return watch_.ToJson(ended);
}

absl::Status FaultRun::RunToStrike() {
  const absl::Time begin = absl::Now();
  while (!watch_.ReadyToStrike(UnixNow())) {
    if (Interrupted() || !Read(absl::Milliseconds(5)) || absl::Now() - begin > kStartDeadline) {
      return absl::AbortedError(
          absl::StrCat("no op to strike after ", absl::FormatDuration(absl::Now() - begin), ", ",
                       watch_.ready(), " members ready: ", launch_->ErrorTail()));
    }
  }
  return absl::OkStatus();
}

absl::Status FaultRun::Strike() {
  victim_pid_ = launch_->MemberPid(victim_);
  if (victim_pid_ == 0) return absl::NotFoundError("the member to strike is not there");
  struck_ = absl::Now();
  watch_.Struck(UnixNow());
  if (scene_ == "kill") {
    kill(victim_pid_, SIGKILL);
    victim_pid_ = 0;
  } else if (scene_ == "stop") {
    kill(victim_pid_, SIGSTOP);
  } else {
    return SetLinks("down");
  }
  return absl::OkStatus();
}

absl::Status FaultRun::SetLinks(const std::string& change) {
  PERIGEE_ASSIGN_OR_RETURN(
      ChildProcess set,
      ChildProcess::Start({"/usr/bin/env", absl::StrCat("PERIGEE_LINKEMU=", control_),
                           SiblingProgram("perigee-linkemu"), "set", "node", absl::StrCat(victim_),
                           change}));
  if (set.Wait(absl::Seconds(5)) == 0) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("perigee-linkemu set node ", victim_, " ", change, " failed"));
}

void FaultRun::RunToEnd() {
  bool is_down = scene_ == "outage";
  while (absl::Now() - struck_ < kBound) {
    if (is_down && absl::Now() - struck_ >= kOutage) {
      is_down = !SetLinks("up").ok();
    }
    if (Interrupted() || !Read(absl::Milliseconds(20)) || (!is_down && watch_.Settled())) return;
  }
}

absl::StatusOr<std::vector<std::string>> ParseScenes(const CompareOptions& options) {
  std::vector<std::string> scenes = absl::StrSplit(options.scenes, ',');
  for (const std::string& scene : scenes) {
    if (scene != "kill" && scene != "stop" && scene != "blackhole" && scene != "outage") {
      return absl::InvalidArgumentError(
          absl::StrCat("--scenes ", scene, ": there are kill, stop, blackhole and outage"));
    }
    if (options.loopback && (scene == "blackhole" || scene == "outage")) {
      return absl::InvalidArgumentError(
          absl::StrCat("--scenes ", scene, ": needs the emulator, not --loopback"));
    }
  }
  return scenes;
}

// "0.4 - 0.9 s", over the survivors; ">90 s" where some have none.
std::string Range(const Json& survivors, const char* field) {
  double least = 1e9, most = 0;
  size_t missing = 0;
  for (const auto& survivor : survivors) {
    if (survivor[field].is_null()) {
      ++missing;
      continue;
    }
    least = std::min(least, survivor[field].get<double>());
    most = std::max(most, survivor[field].get<double>());
  }
  if (missing == survivors.size()) return "-";
  const std::string range = absl::StrFormat("%.2f - %.2f s", least, most);
  return missing == 0 ? range : absl::StrCat(range, ", ", missing, " never");
}

std::string Outcomes(const Json& survivors) {
  std::vector<std::string> outcomes;
  for (const auto& survivor : survivors) {
    const std::string outcome = survivor["outcome"];
    if (std::find(outcomes.begin(), outcomes.end(), outcome) == outcomes.end()) {
      outcomes.push_back(outcome);
    }
  }
  return absl::StrJoin(outcomes, ", ");
}

void PrintScene(const Json& scene) {
  std::printf("%-10s %-16s ", scene["scene"].get<std::string>().c_str(),
              scene["name"].get<std::string>().c_str());
  if (!scene["failure"].is_null()) {
    std::printf("%s\n", scene["failure"].get<std::string>().c_str());
    return;
  }
  const Json& survivors = scene["survivors"];
  std::printf("%-24s %-24s %-20s %.60s\n", Range(survivors, "noticed_seconds").c_str(),
              Range(survivors, "goes_on_seconds").c_str(), Outcomes(survivors).c_str(),
              survivors[0]["error"].get<std::string>().c_str());
}

Json RunScene(const CompareOptions& options, const CompareGrid& grid, const CompareRow& row,
              const std::string& scene) {
  Json json = {{"scene", scene},
               {"peer", row.peer.name},
               {"congestion", row.congestion.empty() ? Json(nullptr) : Json(row.congestion)},
               {"name", row.name()},
               {"failure", nullptr}};
  if (!row.peer.missing.empty()) {
    json["failure"] = row.peer.missing;
    return json;
  }
  const absl::StatusOr<Json> result = FaultRun(options, scene).Run(row, grid);
  if (result.ok()) {
    json.update(*result);
  } else {
    json["failure"] = result.status().ToString();
  }
  return json;
}

}  // namespace

absl::Status RunFaults(const CompareOptions& options, const std::vector<CompareRow>& rows,
                       const CompareGrid& grid) {
  PERIGEE_ASSIGN_OR_RETURN(const std::vector<std::string> scenes, ParseScenes(options));
  Report report("compare", options.seed);
  auto& parameters = report.parameters();
  parameters["run"] = CommandLine();
  parameters["nodes"] = options.nodes;
  parameters["rate_bps"] = options.bytes_per_second * 8;
  parameters["round_trip_seconds"] = absl::ToDoubleSeconds(grid.points.front().round_trip);
  parameters["bytes"] = grid.sizes.back();
  parameters["bound_seconds"] = absl::ToDoubleSeconds(kBound);
  parameters["outage_seconds"] = absl::ToDoubleSeconds(kOutage);
  parameters["links"] = options.loopback ? "loopback" : "emulated";
  auto& fields = report.fields();
  fields["mode"] = "faults";
  fields["scenes"] = Json::array();
  const bool print = options.json != "-";
  if (print) {
    std::printf("%-10s %-16s %-24s %-24s %-20s %s\n", "scene", "peer", "noticed after",
                "goes on after", "outcome", "error");
  }
  uint64_t wrong = 0, failed = 0;
  for (const std::string& scene : scenes) {
    for (const CompareRow& row : rows) {
      if (Interrupted()) return absl::CancelledError("interrupted");
      Json json = RunScene(options, grid, row, scene);
      if (print) PrintScene(json);
      std::fflush(stdout);
      if (json.contains("survivors")) {
        for (const auto& survivor : json["survivors"])
          wrong += survivor["outcome"] == "wrong result";
      }
      failed += row.peer.missing.empty() && !json["failure"].is_null();
      fields["scenes"].push_back(std::move(json));
    }
  }
  PERIGEE_RETURN_IF_ERROR(report.Write(options.json));
  if (wrong > 0) return absl::DataLossError(absl::StrCat(wrong, " survivors got wrong results"));
  if (failed > 0) return absl::AbortedError(absl::StrCat(failed, " scenes could not be played"));
  return absl::OkStatus();
}

}  // namespace perigee
