#include "bench/linkemu/run_options.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "runtime/orbit/plan_file.h"
#include "transport/base/status.h"

namespace perigee::linkemu {
namespace {

constexpr double kTimeScaleMax = 1e6;

void AddLinkFlags(CLI::App& app, RunOptions& options) {
  AddRate(app, "--rate", &options.channel.link.bytes_per_second, "capacity per directed link");
  AddTime(app, "--delay", &options.channel.link.delay, "one way, per link");
  AddProbability(app, "--loss", &options.channel.loss, "mean loss of wire packets, each way");
  app.add_option("--burst-ms", options.burst_ms,
                 "mean length of a bad period, driven by time; 0: independent losses")
      ->capture_default_str();
  AddProbability(app, "--burst-loss", &options.channel.burst_loss, "loss inside a bad period");
  AddProbability(app, "--reorder", &options.channel.reorder,
                 "packets held back by up to --reorder-delay");
  AddTime(app, "--reorder-delay", &options.channel.reorder_delay_max, "at most this much");
  AddProbability(app, "--duplicate", &options.channel.duplicate, "packets that arrive twice");
  AddProbability(app, "--bit-flip", &options.channel.bit_flip, "packets with one bit flipped");
  app.add_option("--flip-mode", options.flip_mode,
                 "detected: the checksum tells the receiving kernel; silent: the program gets it")
      ->check(CLI::IsMember({"detected", "silent"}))
      ->capture_default_str();
  AddSize(app, "--queue", &options.queue_bytes,
          "bytes that wait for a link; 0: two bandwidth-delay products");
}

void AddNetworkFlags(CLI::App& app, RunOptions& options) {
  app.add_option("--nodes", options.nodes, "how many; may be left out where a file or torus says");
  app.add_option("--topology", options.topology,
                 "mesh (default), ring, star (node 0 in the middle), torusAxB, or a graph file")
      ->type_name("NAME|FILE");
  AddInputFile(app, "--contacts", &options.contacts,
               "contact plan: which links there are, and when");
  app.add_option("--time-scale", options.time_scale, "the plan's time runs so much faster")
      ->capture_default_str();
}

absl::StatusOr<Network> NetworkOfContacts(const RunOptions& options, absl::Time start) {
  if (!options.topology.empty()) {
    return absl::InvalidArgumentError(
        "--contacts and --topology: a contact plan says which links there are; leave one out");
  }
  if (!(options.time_scale > 0 && options.time_scale <= kTimeScaleMax)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--time-scale: must be above 0 and at most ", kTimeScaleMax));
  }
  const absl::Time today = absl::Now();
  PERIGEE_ASSIGN_OR_RETURN(const PlanFile file, LoadPlanFile(options.contacts, today));
  std::vector<NodeId> ids;
  for (const PlanNode& node : file.nodes) ids.push_back(node.id);
  PERIGEE_ASSIGN_OR_RETURN(
      Network network,
      NetworkFromPlan(file.plan, ids, {today, start, options.time_scale}, options.channel));
  if (options.nodes != 0 && options.nodes != network.node_count) {
    return absl::InvalidArgumentError(absl::StrCat("--contacts ", options.contacts, " has ",
                                                   network.node_count, " nodes, but --nodes is ",
                                                   options.nodes));
  }
  return network;
}

}  // namespace

void AddRunFlags(CLI::App& app, RunOptions& options) {
  AddNetworkFlags(app, options);
  AddLinkFlags(app, options);
  app.add_option("--congestion", options.congestion, "TCP congestion control, e.g. bbr or cubic");
  app.add_option("--coordinator", options.coordinator,
                 "one more node with a link to every other; runs this shell command, which is "
                 "ended with the run")
      ->type_name("COMMAND");
  app.add_option("--at", options.at, "change something later: '2s node 1 down' (repeatable)")
      ->type_name("'TIME CHANGE'");
  app.add_option("--until", options.until,
                 "end the run when these ranks have ended, not only when all have")
      ->delimiter(',')
      ->type_name("RANK,...");
  app.add_flag("--keep-going", options.keep_going, "a node that fails does not end the others");
  AddTime(app, "--timeout", &options.timeout, "a run that takes longer fails; 0: no limit");
  app.add_flag("--no-prefix", options.no_prefix, "hand on output as it is, without '[rank] '");
  app.add_flag("--above-ceiling", options.above_ceiling,
               "run even where the links together can carry more than this machine");
  app.add_option("--seed", options.seed, "of all losses")->capture_default_str();
  app.add_option("--json", options.json,
                 "write JSON to PATH, or to stdout with - (output of nodes then goes to stderr)")
      ->type_name("PATH");
}

absl::StatusOr<Network> MakeNetwork(const RunOptions& options, absl::Time start) {
  RunOptions given = options;
  if (!(options.burst_ms >= 0)) {
    return absl::InvalidArgumentError("--burst-ms: must not be negative");
  }
  given.channel.burst_mean = absl::Milliseconds(options.burst_ms);
  given.channel.queue_bytes_max = options.queue_bytes;
  PERIGEE_RETURN_IF_ERROR(Validate(given.channel));
  Network network;
  if (options.contacts.empty()) {
    const std::string topology = options.topology.empty() ? "mesh" : options.topology;
    PERIGEE_ASSIGN_OR_RETURN(network, MakeTopology(topology, options.nodes, given.channel));
  } else {
    PERIGEE_ASSIGN_OR_RETURN(network, NetworkOfContacts(given, start));
  }
  for (const int rank : options.until) {
    if (rank >= 0 && rank < network.node_count) continue;
    return absl::InvalidArgumentError(absl::StrCat("--until: there is no rank ", rank));
  }
  if (!options.coordinator.empty()) AddHub(&network, given.channel);
  return network;
}

FlipMode FlipModeOf(const RunOptions& options) {
  return options.flip_mode == "silent" ? FlipMode::kSilent : FlipMode::kDetected;
}

}  // namespace perigee::linkemu
