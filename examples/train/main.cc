// example-train: trains a small character-level language model on real text with several processes
// whose links lose packets and whose members leave and come back, and shows that nothing is lost.
#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "examples/train/launcher.h"
#include "examples/train/member.h"
#include "runtime/cli/flags.h"

namespace perigee {
namespace {

absl::Status Run(const TrainOptions& options) {
  if (options.device != "cpu") {
    return absl::InvalidArgumentError(absl::StrCat(
        "--device ", options.device, ": this version computes on the CPU only: use --device cpu"));
  }
  if (options.stages != 1) {
    return absl::InvalidArgumentError(
        "--stages: pipeline parallelism is not in this version: use --stages 1");
  }
  if (options.nodes > options.microbatches) {
    return absl::InvalidArgumentError(
        absl::StrCat("--microbatches ", options.microbatches, " leaves some of ", options.nodes,
                     " members without work: give at least one each"));
  }
  if (options.member >= 0) return RunMember(options);
  if (options.faults != "none" && options.nodes < 4) {
    return absl::InvalidArgumentError(
        "--faults takes members out: give at least 4 --nodes, or --faults none");
  }
  return RunLauncher(options);
}

// What only a member of a job takes, not the launcher of all.
void AddMemberFlags(CLI::App& app, TrainOptions& options) {
  app.add_option("--member", options.member, "Run as this member of a job instead of starting one")
      ->check(CLI::Range(0, 63));
  app.add_option("--coordinator", options.coordinator, "Of --member: address of perigeed")
      ->capture_default_str();
  app.add_option("--certs", options.certs,
                 "Of --member: folder with its certificate (perigeectl cert init)")
      ->type_name("DIR");
  app.add_flag("--insecure", options.insecure, "No TLS between perigeed and the members");
  app.add_option("--listen", options.listen, "Of --member: where peers reach it, HOST:PORT")
      ->capture_default_str();
  app.add_option("--flight-records", options.flight_records,
                 "Of --member: folder for what it knows when a step stands still for a minute")
      ->type_name("DIR")
      ->check(CLI::ExistingDirectory);
  app.add_option("--state-dir", options.state_dir,
                 "Of --member: folder for what it goes on with when the whole job was dark")
      ->type_name("DIR")
      ->check(CLI::ExistingDirectory);
  app.add_flag("--real-links", options.real_links,
               "Of --member: --rate and --delay say what the links can do; nothing is emulated");
}

int Main(int argc, char** argv) {
  TrainOptions options;
  Program program("example-train",
                  "Trains a character-level language model across members that come and go.",
                  "example-train --nodes 6 --steps 100\n"
                  "example-train --text /usr/share/common-licenses/GPL-3 --faults none --loss 5%\n"
                  "example-train --netns --faults churn --steps 120\n"
                  "example-train --member 2 --coordinator 10.0.0.1:7000 --certs certs --nodes 3 "
                  "--listen 10.0.0.3:7100 --real-links");
  CLI::App& app = program.app();
  app.add_option("--nodes", options.nodes, "Members of the job")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  AddInputFile(app, "--text", &options.text,
               "Text file to learn; default: one that every Debian has");
  app.add_option("--steps", options.steps, "Training steps")
      ->check(CLI::Range(2, 1000000))
      ->capture_default_str();
  app.add_option("--microbatches", options.microbatches, "Microbatches per step, over all members")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app.add_option("--seed", options.seed, "Seed of parameters and data order")
      ->capture_default_str();
  app.add_option(
         "--faults", options.faults,
         "demo: two dark intervals and a kill; churn: members and perigeed killed, members "
         "stopped, at random moments by the seed; blackout: all lose their power at once, by "
         "plan; coordinator: perigeed with a store killed all the time, while members are drained "
         "and taken back; all are compared with a run without; or none")
      ->check(CLI::IsMember({"demo", "churn", "blackout", "coordinator", "none"}))
      ->capture_default_str();
  AddRate(app, "--rate", &options.rate_bytes_per_second, "Capacity of each directed link");
  AddTime(app, "--delay", &options.delay, "One-way delay of each link");
  AddProbability(app, "--loss", &options.loss, "Packets lost on each link");
  app.add_option("--burst-ms", options.burst_ms,
                 "Mean length of loss bursts; 0: independent losses")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_flag("--netns", options.netns,
               "Each process in a network namespace of its own, links by perigee-linkemu");
  app.add_option("--json", options.json_path,
                 "Write the result as one JSON object to PATH, or - for stdout");
  app.add_option("--stages", options.stages, "Pipeline stages")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--device", options.device, "Where to compute: cpu")->capture_default_str();
  AddMemberFlags(app, options);
  return program.Run(argc, argv, [&] { return Run(options); });
}

}  // namespace
}  // namespace perigee

int main(int argc, char** argv) { return perigee::Main(argc, argv); }
