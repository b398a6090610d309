#include "bench/control.h"

#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "runtime/cli/perigeed_process.h"
#include "runtime/cli/report.h"
#include "runtime/host/communicator.h"
#include "transport/base/rng.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

constexpr absl::Duration kStartDeadline = absl::Seconds(60);
constexpr absl::Duration kViewDeadline = absl::Seconds(60);

// The same clock in all processes of a machine.
double Monotonic() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// A member that computes nothing and says when it has a new view, one line each.
absl::Status RunWorker(const ControlOptions& options) {
  PERIGEE_ASSIGN_OR_RETURN(
      const std::unique_ptr<Communicator> comm,
      Communicator::Create({.node = NodeId(static_cast<uint32_t>(options.worker)),
                            .coordinator = options.coordinator,
                            .insecure = true,
                            .start_members = options.start_members}));
  for (;;) {
    const std::optional<MemberChange> change = comm->WaitForChange(absl::Minutes(10));
    if (!change) return absl::DeadlineExceededError("nothing happened for 10 minutes");
    if (std::holds_alternative<LeftView>(*change)) return absl::OkStatus();
    const auto* changed = std::get_if<ViewChanged>(&*change);
    if (changed == nullptr) continue;
    nlohmann::json voters = nlohmann::json::array();
    for (const Member& member : changed->proposal.view.members) {
      if (member.votes > 0) voters.push_back(member.node.value());
    }
    const nlohmann::json line = {{"at", Monotonic()}, {"voters", voters}};
    std::printf("%s\n", line.dump().c_str());
    std::fflush(stdout);
  }
}

// The processes of one job, and what they said last.
class Job {
 public:
  static absl::StatusOr<std::unique_ptr<Job>> Start(const ControlOptions& options);
  // Waits until every member of `voters` has the view in which exactly these vote; when the last
  // one got it. DeadlineExceeded names one that has not.
  absl::StatusOr<double> WaitForView(const std::set<uint32_t>& voters);
  absl::Status StartMember(uint32_t node, uint32_t start_members);
  void Kill(uint32_t node);
  void KillCoordinator() { perigeed_.child.Signal(SIGKILL); }

 private:
  explicit Job(PerigeedProcess perigeed) : perigeed_(std::move(perigeed)) {}
  struct Said {
    double at = 0;
    std::set<uint32_t> voters;
  };
  PerigeedProcess perigeed_;
  std::map<uint32_t, ChildProcess> members_;
  std::map<uint32_t, Said> said_;
};

absl::StatusOr<std::unique_ptr<Job>> Job::Start(const ControlOptions& options) {
  PERIGEE_ASSIGN_OR_RETURN(
      PerigeedProcess perigeed,
      StartPerigeed({SiblingProgram("perigeed"), "--listen", "127.0.0.1:0", "--insecure"},
                    "/dev/null", kStartDeadline));
  std::unique_ptr<Job> job(new Job(std::move(perigeed)));
  for (uint32_t node = 0; node < options.nodes; ++node) {
    PERIGEE_RETURN_IF_ERROR(job->StartMember(node, options.nodes));
  }
  return job;
}

absl::Status Job::StartMember(uint32_t node, uint32_t start_members) {
  PERIGEE_ASSIGN_OR_RETURN(
      ChildProcess member,
      ChildProcess::Start({SiblingProgram("perigee-bench"), "control", "--worker",
                           absl::StrCat(node), "--coordinator", perigeed_.address,
                           "--start-members", absl::StrCat(start_members)}));
  said_.erase(node);
  members_.insert_or_assign(node, std::move(member));
  return absl::OkStatus();
}

void Job::Kill(uint32_t node) {
  members_.at(node).Signal(SIGKILL);
  said_.erase(node);
}

absl::StatusOr<double> Job::WaitForView(const std::set<uint32_t>& voters) {
  std::vector<ChildProcess*> children;
  std::vector<uint32_t> nodes;
  for (auto& [node, member] : members_) {
    children.push_back(&member);
    nodes.push_back(node);
  }
  const auto lacks = [&](uint32_t node) { return said_[node].voters != voters; };
  ReadLines(children, absl::Now() + kViewDeadline, [&](size_t index, const std::string& line) {
    const nlohmann::json json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (json.is_object() && json.contains("voters")) {
      said_[nodes[index]] = {json["at"].get<double>(), json["voters"].get<std::set<uint32_t>>()};
    }
    return std::any_of(voters.begin(), voters.end(), lacks);
  });
  const auto missing = std::find_if(voters.begin(), voters.end(), lacks);
  if (missing != voters.end()) {
    return absl::DeadlineExceededError(absl::StrCat("node ", *missing, " did not get the view of ",
                                                    voters.size(), " voters within ",
                                                    absl::FormatDuration(kViewDeadline)));
  }
  double last = 0;
  for (uint32_t node : voters) last = std::max(last, said_[node].at);
  return last;
}

absl::StatusOr<std::vector<double>> MeasureKills(const ControlOptions& options) {
  PERIGEE_ASSIGN_OR_RETURN(const std::unique_ptr<Job> job, Job::Start(options));
  std::set<uint32_t> voters;
  for (uint32_t node = 0; node < options.nodes; ++node) voters.insert(node);
  PERIGEE_RETURN_IF_ERROR(job->WaitForView(voters).status());
  if (options.coordinator_away) job->KillCoordinator();
  Rng rng(options.seed);
  std::vector<double> milliseconds;
  for (uint32_t i = 0; i < options.kills; ++i) {
    // A random moment between two beats.
    absl::SleepFor(absl::Milliseconds(500 + rng.Below(200)));
    const uint32_t victim = *std::next(voters.begin(), static_cast<int>(rng.Below(voters.size())));
    voters.erase(victim);
    const double killed = Monotonic();
    job->Kill(victim);
    PERIGEE_ASSIGN_OR_RETURN(const double adopted, job->WaitForView(voters));
    milliseconds.push_back(1e3 * (adopted - killed));
    // Nobody can join while there is no coordinator.
    if (options.coordinator_away) continue;
    voters.insert(victim);
    PERIGEE_RETURN_IF_ERROR(job->StartMember(victim, /*start_members=*/0));
    PERIGEE_RETURN_IF_ERROR(job->WaitForView(voters).status());
  }
  return milliseconds;
}

absl::Status RunControl(const ControlOptions& options) {
  if (options.worker >= 0) return RunWorker(options);
  if (options.coordinator_away && options.kills + 2 > options.nodes) {
    return absl::InvalidArgumentError(
        absl::StrCat("--kills: ", options.kills, " of ", options.nodes,
                     " members with --coordinator-away, where none comes back: leave two"));
  }
  Report report("control", options.seed);
  report.parameters() = {{"nodes", options.nodes},
                         {"kills", options.kills},
                         {"coordinator_away", options.coordinator_away}};
  PERIGEE_ASSIGN_OR_RETURN(const std::vector<double> milliseconds, MeasureKills(options));
  report.fields()["adopted_ms"] = milliseconds;
  report.fields()["adopted_ms_p50"] = Quantile(milliseconds, 0.5);
  report.fields()["adopted_ms_p99"] = Quantile(milliseconds, 0.99);
  if (options.json != "-") {
    std::printf("%u members, %s: death to view at all others, %u kills: p50 %.0f ms, p99 %.0f ms\n",
                options.nodes, options.coordinator_away ? "no coordinator" : "with a coordinator",
                options.kills, Quantile(milliseconds, 0.5), Quantile(milliseconds, 0.99));
  }
  return report.Write(options.json);
}

}  // namespace

void AddControlCommand(Program& program, ControlOptions& options) {
  CLI::App& app = program.AddCommand(
      "control", "How long after a member's death the others have a view without it.",
      "perigee-bench control --nodes 64\nperigee-bench control --coordinator-away --kills 6",
      [&options] { return RunControl(options); });
  app.add_option("--nodes", options.nodes, "members, each a process")
      ->check(CLI::Range(3, 256))
      ->capture_default_str();
  app.add_option("--kills", options.kills, "members that are killed, one after the other")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  app.add_flag("--coordinator-away", options.coordinator_away,
               "the coordinator is killed first: the members agree by themselves");
  app.add_option("--seed", options.seed, "of who is killed and when")->capture_default_str();
  app.add_option("--json", options.json, "write one JSON object to PATH, or - for stdout");
  app.add_option("--worker", options.worker)->group("");
  app.add_option("--coordinator", options.coordinator)->group("");
  app.add_option("--start-members", options.start_members)->group("");
}

}  // namespace perigee
