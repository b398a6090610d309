// What all peers of `perigee-bench compare` have in common: one command line, one loop of
// allreduces, one kind of line on stdout. A peer is a Collective and three lines of main:
//
//   int main(int argc, char** argv) {
//     return perigee::PeerMain(argc, argv, "peer-gloo", &perigee::MakeGloo);
//   }
//
// The same program runs once per member. Rank and addresses come from the environment that
// perigee-linkemu sets (PERIGEE_RANK, PERIGEE_ADDRESSES) or from flags. bench/peers/README.md has
// the lines; pccl_peer.py is the same in Python.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"

namespace perigee {

struct PeerOptions {
  uint32_t rank = 0;
  std::vector<std::string> addresses;  // of all members, by rank
  uint32_t port = 29500;               // a member that listens takes port + rank
  std::vector<uint64_t> sizes = {uint64_t{1} << 20};
  std::vector<uint64_t> iterations = {10};  // per size; the last one holds for the rest
  uint64_t warmup = 1;
  absl::Duration budget = absl::Seconds(6);
  absl::Duration op_limit = absl::Seconds(20);
  uint64_t seed = 1;
  bool barrier = false;  // wait for all before each op, and agree when a size ends (peer_barrier.h)
  // Each peer reads what it knows.
  std::string algorithm = "ring";
  uint32_t connections = 1;
  std::string congestion;                       // empty: what the system says
  std::string rendezvous;                       // a folder that all members see
  double bytes_per_second = 125e6;              // of each directed link
  absl::Duration delay = absl::ZeroDuration();  // one way

  uint32_t nodes() const { return static_cast<uint32_t>(addresses.size()); }
  const std::string& address() const { return addresses[rank]; }
};

class Collective {
 public:
  virtual ~Collective() = default;
  // What is measured, for the report: name and version.
  virtual std::string version() const = 0;
  // With true, `input` and `output` of the calls below are the same memory.
  virtual bool in_place() const = 0;
  // Once per size, before its first op; not timed.
  virtual absl::Status Prepare(absl::Span<float> input, absl::Span<float> output) {
    return absl::OkStatus();
  }
  // The sum over all members, or over those that are left; `output` has it on success.
  virtual absl::Status AllReduce(absl::Span<const float> input, absl::Span<float> output) = 0;
  virtual void Close() {}
};

using CollectiveFactory = absl::StatusOr<std::unique_ptr<Collective>> (*)(const PeerOptions&);

// Connects, runs every size, prints. The exit code of the program.
int PeerMain(int argc, char** argv, const char* name, CollectiveFactory factory);

// One line of JSON on stdout, in one write: lines of several members do not mix. "notice" is for
// what a peer learns of a fault outside of an op's result.
void PrintNotice(uint32_t rank, const std::string& message);

}  // namespace perigee
