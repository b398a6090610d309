#include <cstdlib>
#include <functional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "bench/peers/peer.h"
#include "bench/peers/peer_loop.h"
#include "runtime/cli/flags.h"
#include "runtime/cli/quantity.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

constexpr uint32_t kNodesMax = 16;  // PeersInSum

struct Texts {
  std::string addresses;
  std::string sizes = "1MiB";
  std::string iterations = "10";
};

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

absl::Status ParseLists(const Texts& texts, PeerOptions& options) {
  options.addresses = absl::StrSplit(texts.addresses, ',', absl::SkipEmpty());
  options.sizes.clear();
  for (absl::string_view text : absl::StrSplit(texts.sizes, ',')) {
    PERIGEE_ASSIGN_OR_RETURN(const uint64_t bytes, ParseSize(text));
    if (bytes % sizeof(float) != 0 || bytes < 4096) {
      return absl::InvalidArgumentError(
          absl::StrCat("--sizes: ", text, " must be a multiple of 4, at least 4KiB"));
    }
    options.sizes.push_back(bytes);
  }
  options.iterations.clear();
  for (absl::string_view text : absl::StrSplit(texts.iterations, ',')) {
    uint64_t count = 0;
    if (!absl::SimpleAtoi(text, &count) || count == 0) {
      return absl::InvalidArgumentError(absl::StrCat("--iterations: ", text, " is not a count"));
    }
    options.iterations.push_back(count);
  }
  if (options.nodes() < 2 || options.nodes() > kNodesMax || options.rank >= options.nodes()) {
    return absl::InvalidArgumentError(
        absl::StrCat("rank ", options.rank, " of ", options.nodes(), " addresses: 2 to ", kNodesMax,
                     " addresses, comma separated, in --addresses or PERIGEE_ADDRESSES"));
  }
  return absl::OkStatus();
}

void AddFlags(CLI::App& app, PeerOptions& options, Texts& texts) {
  app.add_option("--rank", options.rank, "of this member; default: PERIGEE_RANK");
  app.add_option("--addresses", texts.addresses, "of all members; default: PERIGEE_ADDRESSES");
  app.add_option("--port", options.port, "a member that listens takes this one + its rank");
  app.add_option("--sizes", texts.sizes, "of the vectors, ascending")->capture_default_str();
  app.add_option("--iterations", texts.iterations, "timed, per size")->capture_default_str();
  app.add_option("--warmup", options.warmup, "ops before them")->capture_default_str();
  AddTime(app, "--budget", &options.budget, "a size that has taken so long ends");
  AddTime(app, "--op-limit", &options.op_limit, "a size whose ops would take longer is left out");
  app.add_option("--seed", options.seed, "of the content")->capture_default_str();
  app.add_flag(
      "--barrier", options.barrier,
      "wait for all before each op, and agree when to end a size, in a file of --rendezvous");
  app.add_option("--algorithm", options.algorithm, "of gloo: ring or halving-doubling");
  app.add_option("--connections", options.connections, "of tcp-pool and pccl, per neighbour")
      ->check(CLI::Range(1, 256));
  app.add_option("--congestion", options.congestion, "of tcp-pool: bbr or cubic");
  app.add_option("--rendezvous", options.rendezvous, "a folder that all members see");
  AddRate(app, "--rate", &options.bytes_per_second, "of each directed link; perigee paces by it");
  AddTime(app, "--delay", &options.delay, "one way per link, for perigee");
}

absl::Status RunPeer(const PeerOptions& options, CollectiveFactory factory) {
  PERIGEE_ASSIGN_OR_RETURN(const std::unique_ptr<Collective> collective, factory(options));
  absl::Status status = PeerLoop(options, *collective).Run();
  if (status.ok()) collective->Close();
  return status;
}

}  // namespace

int PeerMain(int argc, char** argv, const char* name, CollectiveFactory factory) {
  PeerOptions options;
  Texts texts;
  Program program(
      name, "Allreduces of one member of a comparison.",
      absl::StrCat(name, " --rank 0 --addresses 127.0.0.1,127.0.0.1 --sizes 1MiB,16MiB"));
  AddFlags(program.app(), options, texts);
  if (const std::string rank = Environment("PERIGEE_RANK"); !rank.empty()) {
    if (!absl::SimpleAtoi(rank, &options.rank)) return kExitUsage;
  }
  texts.addresses = Environment("PERIGEE_ADDRESSES");
  return program.Run(argc, argv, [&]() -> absl::Status {
    PERIGEE_RETURN_IF_ERROR(ParseLists(texts, options));
    return RunPeer(options, factory);
  });
}

}  // namespace perigee
