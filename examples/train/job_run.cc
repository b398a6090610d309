#include "examples/train/job_run.h"

#include <signal.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "runtime/control/certificate_authority.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

constexpr absl::Duration kTurn = absl::Milliseconds(100);
constexpr absl::Duration kStall = absl::Seconds(90);
constexpr absl::Duration kStopFor = absl::Seconds(3);
constexpr absl::Duration kStatesEvery = absl::Seconds(2);
constexpr absl::Duration kCertificatesLast = absl::Hours(24 * 7);

std::string Seconds(absl::Duration duration) {
  return absl::StrFormat("%gs", absl::ToDoubleSeconds(duration));
}

}  // namespace

JobRun::JobRun(const TrainOptions& options, Scene scene, Display& display)
    : options_(options),
      scene_(std::move(scene)),
      display_(display),
      script_(scene_, options),
      workers_(options.nodes) {
  result_.losses.resize(options.steps);
  if (scene_.coordinator) departures_.emplace(options.nodes, options.steps, Rng(options.seed + 1));
}

absl::StatusOr<JobResult> JobRun::Run() {
  char folder[] = "/tmp/perigee-train-XXXXXX";
  if (mkdtemp(folder) == nullptr) return absl::ErrnoToStatus(errno, "cannot make a folder in /tmp");
  folder_ = folder;
  start_ = last_progress_ = absl::Now();
  next_states_ = start_ + kStatesEvery;
  if (options_.netns) {
    PERIGEE_ASSIGN_OR_RETURN(network_, LossyNetwork::Start(options_));
    address_ = absl::StrCat(network_->address(options_.nodes), ":7000");
    start_ = last_progress_ = absl::Now();
  }
  PERIGEE_RETURN_IF_ERROR(WritePlan());
  PERIGEE_RETURN_IF_ERROR(ChooseTrust());
  PERIGEE_RETURN_IF_ERROR(StartCoordinator());
  display_.Line(absl::StrCat("perigeed on ", address_, ", ", absl::StrJoin(trust_, " "),
                             ", logs in ", folder_));
  for (uint32_t node = 0; node < options_.nodes; ++node) {
    PERIGEE_RETURN_IF_ERROR(StartWorker(node));
  }
  while (!AllFinished()) PERIGEE_RETURN_IF_ERROR(Turn());
  result_.wall = absl::Now() - start_;
  result_.training = last_progress_ - first_step_at_;
  result_.faults = log_.records();
  for (uint64_t step = 0; step < options_.steps; ++step) {
    auto it = contributions_.find(step);
    if (it == contributions_.end()) {
      ++result_.steps_lost;
      result_.samples_lost += options_.microbatches;
    } else {
      result_.samples_lost += options_.microbatches - it->second;
    }
  }
  PERIGEE_RETURN_IF_ERROR(EndCoordinator());
  std::error_code error;
  std::filesystem::remove_all(folder_, error);
  return result_;
}

// ---- Starting. ----

absl::Status JobRun::WritePlan() {
  if (scene_.dark.empty()) return absl::OkStatus();
  std::ofstream file(absl::StrCat(folder_, "/plan.textproto"));
  file << "# Who is dark when; times in milliseconds after the epoch.\n"
       << "epoch_unix_ms: " << absl::ToUnixMillis(start_) << "\n";
  for (const Scene::Dark& dark : scene_.dark) {
    file << "dark { node: " << dark.node << " begins_ms: " << absl::ToInt64Milliseconds(dark.begins)
         << " ends_ms: " << absl::ToInt64Milliseconds(dark.ends) << " }\n";
    display_.Line(absl::StrCat("plan: node ", dark.node, " is dark from ", Seconds(dark.begins),
                               " to ", Seconds(dark.ends)));
  }
  file.close();
  return file.good() ? absl::OkStatus()
                     : absl::InternalError(absl::StrCat("cannot write the plan into ", folder_));
}

absl::Status JobRun::ChooseTrust() {
  if (options_.insecure) return absl::OkStatus();
  trust_ = {"--certs", folder_ + "/certs"};
  return MakeCertificates(trust_.back(), start_, kCertificatesLast);
}

absl::Status JobRun::StartWorker(uint32_t node) {
  std::vector<std::string> argv = {SiblingProgram("example-train"),
                                   "--member",
                                   absl::StrCat(node),
                                   "--coordinator",
                                   address_,
                                   "--nodes",
                                   absl::StrCat(options_.nodes),
                                   "--steps",
                                   absl::StrCat(options_.steps),
                                   "--microbatches",
                                   absl::StrCat(options_.microbatches),
                                   "--seed",
                                   absl::StrCat(options_.seed),
                                   "--rate",
                                   absl::StrFormat("%.0fbit", options_.rate_bytes_per_second * 8),
                                   "--delay",
                                   Seconds(options_.delay),
                                   "--loss",
                                   absl::StrCat(options_.loss),
                                   "--burst-ms",
                                   absl::StrCat(options_.burst_ms)};
  argv.insert(argv.end(), trust_.begin(), trust_.end());
  if (scene_.power_follows_plan) argv.insert(argv.end(), {"--state-dir", folder_});
  if (!options_.text.empty()) argv.insert(argv.end(), {"--text", options_.text});
  if (network_) {
    argv.insert(argv.end(),
                {"--listen", absl::StrCat(network_->address(node), ":0"), "--real-links"});
  }
  Worker& worker = workers_[node];
  PERIGEE_ASSIGN_OR_RETURN(
      worker.process,
      ChildProcess::Start(Inside(node, argv), absl::StrCat(folder_, "/member-", node, ".log")));
  worker.restart_at = absl::InfiniteFuture();
  return absl::OkStatus();
}

std::vector<std::string> JobRun::Inside(uint32_t node, const std::vector<std::string>& argv) const {
  return network_ ? network_->Inside(node, argv) : argv;
}

// ---- Running. ----

bool JobRun::AllFinished() const {
  return std::all_of(workers_.begin(), workers_.end(),
                     [](const Worker& worker) { return worker.finished; });
}

absl::Status JobRun::Turn() {
  std::vector<ChildProcess*> children;
  for (Worker& worker : workers_) children.push_back(worker.process ? &*worker.process : nullptr);
  ReadLines(children, std::min(absl::Now() + kTurn, script_.due()),
            [this](size_t node, const std::string& line) {
              OnLine(static_cast<uint32_t>(node), line);
              return true;
            });
  // Without any output to wait for, ReadLines returns at once.
  if (std::none_of(children.begin(), children.end(),
                   [](ChildProcess* child) { return child != nullptr && child->fd() >= 0; })) {
    absl::SleepFor(absl::Milliseconds(20));
  }
  PERIGEE_RETURN_IF_ERROR(CheckWorkers());
  PERIGEE_RETURN_IF_ERROR(Restart());
  CutPower();
  PERIGEE_RETURN_IF_ERROR(AskForDepartures());
  if (const auto fault = script_.Next(absl::Now(), State())) Strike(*fault);
  const absl::Time now = absl::Now();
  if (now >= next_states_ && !scene_.coordinator) {
    ReadStates();
    next_states_ = now + kStatesEvery;
  }
  if (now - last_progress_ < kStall) return absl::OkStatus();
  return absl::DeadlineExceededError(
      absl::StrCat("no step for ", Seconds(kStall), "; perigeed", LastWords("perigeed")));
}

absl::Status JobRun::CheckWorkers() {
  for (uint32_t node = 0; node < workers_.size(); ++node) {
    Worker& worker = workers_[node];
    if (!worker.process || worker.finished || worker.process->fd() >= 0) continue;
    const int code = worker.process->Wait(absl::Seconds(2));
    if (code == 128 + SIGKILL && worker.restart_at != absl::InfiniteFuture()) {
      worker.process.reset();
    } else if (code == 0 && result_.digests.contains(node)) {
      worker.finished = true;
    } else {
      return absl::AbortedError(absl::StrCat("node ", node, " ended with code ", code,
                                             LastWords(absl::StrCat("member-", node))));
    }
  }
  return absl::OkStatus();
}

absl::Status JobRun::Restart() {
  const absl::Time now = absl::Now();
  for (uint32_t node = 0; node < workers_.size(); ++node) {
    Worker& worker = workers_[node];
    if (now >= worker.continue_at) {
      display_.Line(absl::StrCat("node ", node, " gets SIGCONT"));
      worker.process->Signal(SIGCONT);
      worker.continue_at = absl::InfiniteFuture();
    }
    if (worker.process || now < worker.restart_at) continue;
    display_.Line(absl::StrCat("node ", node, " is started again"));
    PERIGEE_RETURN_IF_ERROR(StartWorker(node));
  }
  return now < coordinator_restart_at_ ? absl::OkStatus() : RestartCoordinator();
}

void JobRun::CutPower() {
  if (!scene_.power_follows_plan) return;
  const absl::Duration now = absl::Now() - start_;
  for (const Scene::Dark& dark : scene_.dark) {
    Worker& worker = workers_[dark.node];
    if (now < dark.begins || now >= dark.ends || !worker.process || worker.finished) continue;
    worker.process->Signal(SIGKILL);
    worker.restart_at = start_ + dark.ends;
    connected_.erase(dark.node);
  }
}

JobState JobRun::State() const {
  JobState state;
  if (!contributions_.empty()) state.step = contributions_.rbegin()->first;
  state.members = members_;
  state.coordinator_up = coordinator_restart_at_ == absl::InfiniteFuture();
  state.whole =
      members_ == workers_.size() && connected_.size() == workers_.size() && state.coordinator_up;
  for (const Worker& worker : workers_) {
    state.whole = state.whole && worker.process && !worker.finished &&
                  worker.continue_at == absl::InfiniteFuture();
  }
  return state;
}

void JobRun::Strike(const Fault& fault) {
  const absl::Time now = absl::Now();
  if (fault.kind == Fault::Kind::kKillCoordinator) {
    KillCoordinator(fault);
    if (scene_.coordinator) return;
  } else {
    Worker& worker = workers_[fault.node];
    if (!worker.process || worker.finished) return;
    if (fault.kind == Fault::Kind::kKill) {
      worker.process->Signal(SIGKILL);
      worker.restart_at = now + fault.away;
      connected_.erase(fault.node);
      ++result_.kills;
    } else {
      worker.process->Signal(SIGSTOP);
      worker.continue_at = now + kStopFor;
    }
  }
  display_.Line(absl::StrCat(ToString(fault), " after step ", State().step.value_or(0)));
  log_.OnFault(now, fault, State());
  // Until a view has everybody again.
  if (fault.kind != Fault::Kind::kKillCoordinator) members_ = 0;
}

void JobRun::Show(const FaultRecord* record) {
  if (record == nullptr) return;
  const bool coordinator = record->fault.kind == Fault::Kind::kKillCoordinator;
  display_.Line(absl::StrFormat(
      "%s: %s %.2f s", ToString(record->fault),
      coordinator ? "perigeed is back, longest time between two steps" : "the others went on after",
      absl::ToDoubleSeconds(*record->pause)));
}

std::string JobRun::LastWords(const std::string& name) const {
  std::ifstream file(absl::StrCat(folder_, "/", name, ".log"));
  std::string line, last;
  while (std::getline(file, line)) {
    if (!line.empty()) last = line;
  }
  return absl::StrCat(last.empty() ? "" : absl::StrCat(": ", last), " (logs in ", folder_, ")");
}

}  // namespace perigee
