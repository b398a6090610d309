// The coordinator of a run: started, killed, asked, and compared with what the members know.
#include <signal.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "examples/train/job_run.h"
#include "runtime/cli/perigeed_process.h"
#include "runtime/control/sqlite_store.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

constexpr absl::Duration kStartDeadline = absl::Seconds(20);
constexpr absl::Duration kStopDeadline = absl::Seconds(5);
constexpr absl::Duration kAskDeadline = absl::Seconds(10);
constexpr char kDarkLead[] = "4s";

}  // namespace

std::string JobRun::StorePath() const { return absl::StrCat(folder_, "/perigee.db"); }

std::vector<std::string> JobRun::CoordinatorCommand() const {
  std::vector<std::string> argv = {SiblingProgram("perigeed"), "--listen",
                                   address_.empty() ? "127.0.0.1:0" : address_, "--dark-lead",
                                   kDarkLead};
  argv.insert(argv.end(), trust_.begin(), trust_.end());
  if (!scene_.dark.empty()) {
    argv.insert(argv.end(), {"--contacts", absl::StrCat(folder_, "/plan.textproto")});
  }
  if (scene_.coordinator) argv.insert(argv.end(), {"--store", StorePath()});
  return Inside(options_.nodes, argv);
}

absl::Status JobRun::StartCoordinator() {
  absl::StatusOr<PerigeedProcess> perigeed =
      StartPerigeed(CoordinatorCommand(), absl::StrCat(folder_, "/perigeed.log"), kStartDeadline);
  if (absl::IsUnavailable(perigeed.status())) {
    return absl::UnavailableError(absl::StrCat("perigeed does not start", LastWords("perigeed")));
  }
  if (!perigeed.ok()) return perigeed.status();
  coordinator_ = std::move(perigeed->child);
  address_ = std::move(perigeed->address);
  return absl::OkStatus();
}

void JobRun::KillCoordinator(const Fault& fault) {
  coordinator_->Signal(SIGKILL);
  coordinator_->Wait(kStopDeadline);  // its port and its store are free
  ++result_.coordinator_kills;
  coordinator_restart_at_ = absl::Now() + fault.away;
  start_killed_after_ = fault.start_killed_after;
  connected_.clear();
}

absl::Status JobRun::RestartCoordinator() {
  if (const auto after = std::exchange(start_killed_after_, std::nullopt)) {
    PERIGEE_ASSIGN_OR_RETURN(
        coordinator_,
        ChildProcess::Start(CoordinatorCommand(), absl::StrCat(folder_, "/perigeed.log")));
    absl::SleepFor(*after);
    KillCoordinator({.away = absl::ZeroDuration()});
    return absl::OkStatus();
  }
  if (!scene_.coordinator) display_.Line("perigeed is started again");
  coordinator_restart_at_ = absl::InfiniteFuture();
  return StartCoordinator();
}

absl::Status JobRun::EndCoordinator() {
  result_.views = AskCoordinator("views");
  coordinator_->Signal(SIGTERM);
  coordinator_->Wait(kStopDeadline);
  if (departures_) result_.departures = departures_->count();
  if (scene_.coordinator) {
    PERIGEE_ASSIGN_OR_RETURN(const StoreSummary store, CheckStore(StorePath()));
    known_views_.OnStored(store.snapshot.views);
    result_.contradictions = store.problems;
  }
  result_.views_known = known_views_.count();
  result_.views_stored = known_views_.stored_count();
  const std::vector<std::string>& more = known_views_.contradictions();
  result_.contradictions.insert(result_.contradictions.end(), more.begin(), more.end());
  return absl::OkStatus();
}

// One question at a time, by perigeectl, which fails where the coordinator is not there.
absl::Status JobRun::AskForDepartures() {
  if (!departures_) return absl::OkStatus();
  const absl::Time now = absl::Now();
  if (operator_) {
    const std::optional<int> code = operator_->Poll();
    if (!code) return absl::OkStatus();
    departures_->OnAnswer(now, *code == 0);
    operator_.reset();
  }
  const std::optional<DrainRequest> request = departures_->Next(now, State());
  if (!request) return absl::OkStatus();
  std::vector<std::string> argv = {SiblingProgram("perigeectl"), "--address", address_,
                                   request->drain ? "drain" : "undrain",
                                   absl::StrCat(request->node)};
  argv.insert(argv.end(), trust_.begin(), trust_.end());
  PERIGEE_ASSIGN_OR_RETURN(operator_, ChildProcess::Start(Inside(options_.nodes, argv),
                                                          absl::StrCat(folder_, "/drain.log")));
  return absl::OkStatus();
}

nlohmann::ordered_json JobRun::AskCoordinator(const std::string& what) {
  std::vector<std::string> argv = {
      SiblingProgram("perigeectl"), "--address", address_, "-o", "json", what};
  argv.insert(argv.end(), trust_.begin(), trust_.end());
  absl::StatusOr<ChildProcess> ctl =
      ChildProcess::Start(Inside(options_.nodes, argv), absl::StrCat(folder_, "/perigeectl.log"));
  if (!ctl.ok()) return nullptr;
  const std::string output = ReadOutput(*ctl, absl::Now() + kAskDeadline);
  ctl->Wait(absl::Seconds(1));
  nlohmann::ordered_json json =
      nlohmann::ordered_json::parse(output, nullptr, /*allow_exceptions=*/false);
  return json.is_discarded() ? nlohmann::ordered_json(nullptr) : json;
}

void JobRun::ReadStates() {
  const nlohmann::ordered_json reply = AskCoordinator("nodes");
  const nlohmann::ordered_json& nodes =
      reply.is_object() && reply.contains("nodes") ? reply["nodes"] : reply;
  if (!nodes.is_array()) return;
  std::string states;
  for (const auto& node : nodes) {
    if (!node.is_object() || !node.contains("node") || !node.contains("state")) continue;
    const std::string state = node["state"].is_string() ? node["state"].get<std::string>() : "?";
    absl::StrAppend(&states, states.empty() ? "" : "  ", node["node"].dump(), " ", state);
  }
  display_.SetStates(states);
}

}  // namespace perigee
