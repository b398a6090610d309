// The real clock: a perigeed and one process per member, on this machine.
#include <signal.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "bench/allreduce.h"
#include "bench/allreduce_data.h"
#include "runtime/cli/perigeed_process.h"
#include "runtime/cli/report.h"
#include "runtime/host/communicator.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

constexpr absl::Duration kStartDeadline = absl::Seconds(20);
constexpr absl::Duration kOpDeadline = absl::Minutes(2);
constexpr absl::Duration kCloseDeadline = absl::Seconds(5);

std::vector<std::string> WorkerArguments(const AllReduceOptions& options, uint32_t node,
                                         const std::string& coordinator) {
  std::vector<std::string> argv = {SiblingProgram("perigee-bench"),
                                   "allreduce",
                                   "--worker",
                                   absl::StrCat(node),
                                   "--coordinator",
                                   coordinator,
                                   "--nodes",
                                   absl::StrCat(options.nodes),
                                   "--bytes",
                                   absl::StrCat(options.bytes),
                                   "--iterations",
                                   absl::StrCat(options.iterations),
                                   "--rate",
                                   options.bytes_per_second > 0
                                       ? absl::StrFormat("%.0fbit", options.bytes_per_second * 8)
                                       : "unlimited",
                                   "--delay",
                                   absl::StrFormat("%gs", absl::ToDoubleSeconds(options.delay)),
                                   "--loss",
                                   absl::StrFormat("%.9f", options.loss),
                                   "--burst-ms",
                                   absl::StrFormat("%g", options.burst_ms),
                                   "--burst-loss",
                                   absl::StrFormat("%.9f", options.burst_loss),
                                   "--seed",
                                   absl::StrCat(options.seed)};
  if (options.reproducible) argv.push_back("--reproducible");
  return argv;
}

AllReduceMember FromJson(const nlohmann::json& json) {
  return {.seconds = json.at("seconds").get<std::vector<double>>(),
          .digest = json.at("digest").get<std::string>(),
          .oracle_equal = json.at("oracle_equal").get<bool>(),
          .wire_bytes = json.at("wire_bytes").get<uint64_t>(),
          .retransmitted_bytes = json.at("retransmitted_bytes").get<uint64_t>(),
          .cpu_seconds = json.at("cpu_seconds").get<double>()};
}

}  // namespace

absl::Status RunAllReduceWorker(const AllReduceOptions& options) {
  const auto node = static_cast<uint32_t>(options.worker);
  CommunicatorOptions communicator{.node = NodeId(node),
                                   .coordinator = options.coordinator,
                                   .insecure = true,
                                   .start_members = options.nodes,
                                   .default_link = options.link()};
  if (options.emulates()) communicator.emulate = options.channel();
  PERIGEE_ASSIGN_OR_RETURN(const std::unique_ptr<Communicator> comm,
                           Communicator::Create(communicator));
  AllReduceData data(options, node);
  AllReduceMember member;
  double checking = 0;
  const double cpu_before = OwnCpuSeconds();
  // The first one warms up memory and meets the others; it is checked like the rest, but not timed.
  for (uint64_t i = 0; i <= options.iterations; ++i) {
    double mark = OwnCpuSeconds();
    const CollectiveRequest request = data.Request(i);
    checking += OwnCpuSeconds() - mark;
    const absl::Time begin = absl::Now();
    PERIGEE_ASSIGN_OR_RETURN(const OpId op, comm->Start(request));
    PERIGEE_RETURN_IF_ERROR(comm->Wait(op, kOpDeadline).status());
    if (i > 0) member.seconds.push_back(absl::ToDoubleSeconds(absl::Now() - begin));
    mark = OwnCpuSeconds();
    data.Check(i);
    checking += OwnCpuSeconds() - mark;
  }
  member.cpu_seconds = OwnCpuSeconds() - cpu_before - checking;
  const SessionCounters counters = comm->counters();
  const nlohmann::json row = {{"seconds", member.seconds},
                              {"digest", data.digest()},
                              {"oracle_equal", data.oracle_equal()},
                              {"wire_bytes", counters.wire_bytes_sent},
                              {"retransmitted_bytes", counters.retransmitted_bytes},
                              {"cpu_seconds", member.cpu_seconds}};
  std::printf("%s\n", row.dump().c_str());
  std::fflush(stdout);
  comm->Close(kCloseDeadline).IgnoreError();
  return absl::OkStatus();
}

absl::StatusOr<std::vector<AllReduceMember>> RunAllReduceProcesses(
    const AllReduceOptions& options) {
  PERIGEE_ASSIGN_OR_RETURN(
      PerigeedProcess perigeed,
      StartPerigeed({SiblingProgram("perigeed"), "--listen", "127.0.0.1:0", "--insecure"},
                    "/dev/null", kStartDeadline));
  std::vector<ChildProcess> workers;
  std::vector<ChildProcess*> children;
  for (uint32_t node = 0; node < options.nodes; ++node) {
    PERIGEE_ASSIGN_OR_RETURN(ChildProcess worker,
                             ChildProcess::Start(WorkerArguments(options, node, perigeed.address)));
    workers.push_back(std::move(worker));
  }
  for (ChildProcess& worker : workers) children.push_back(&worker);
  std::vector<AllReduceMember> members(options.nodes);
  const absl::Time deadline =
      absl::Now() + kStartDeadline + static_cast<int64_t>(options.iterations + 1) * kOpDeadline;
  uint32_t rows = 0;
  ReadLines(children, deadline, [&](size_t node, const std::string& line) {
    const nlohmann::json json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object() || !json.contains("seconds")) return true;
    members[node] = FromJson(json);
    return ++rows < options.nodes;
  });
  if (rows < options.nodes) {
    return absl::AbortedError(
        absl::StrCat("only ", rows, " of ", options.nodes, " members finished: see above"));
  }
  for (ChildProcess& worker : workers) worker.Wait(absl::Seconds(10));
  perigeed.child.Signal(SIGTERM);
  perigeed.child.Wait(absl::Seconds(5));
  return members;
}

}  // namespace perigee
