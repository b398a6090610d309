// Background traffic: full-sized probes at a steady rate on many links at a time, from a thread of
// its own. For every super-packet a small one goes back, as TCP's acknowledgements do: they cost
// the emulator a third of its time.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "bench/linkemu/probes.h"

namespace perigee::linkemu {

class LoadGenerator {
 public:
  struct Settings {
    std::vector<std::pair<int, int>> links;  // both directions of each
    double bytes_per_second = 0;             // of IP packets, on each link
    uint32_t packet_bytes = 1500;
    uint32_t burst = 43;  // packets in a super-packet
    // What the thread missed while it did not run is made up for, up to this.
    absl::Duration catch_up_max = absl::InfiniteDuration();
  };

  // Begins to send. Borrows the sockets.
  LoadGenerator(const ProbeSockets& sockets, Settings settings);
  ~LoadGenerator() { Stop().IgnoreError(); }

  // Ends it; the first error that a send had.
  absl::Status Stop();
  // After Stop: of both kinds.
  uint64_t packets_per_link() const { return rounds_ * (settings_.burst + 1); }
  // By how much the last round was later than the rate asks for.
  absl::Duration behind() const { return behind_; }

 private:
  void Run();

  const ProbeSockets& sockets_;
  const Settings settings_;
  std::atomic<bool> stop_ = false;
  uint64_t rounds_ = 0;
  absl::Duration behind_;
  absl::Status status_;
  std::thread thread_;
};

// Every directed link of a network, and those of them that do not join `a` and `b`.
std::vector<std::pair<int, int>> LinksOf(const Network& network);
std::vector<std::pair<int, int>> LinksBut(const Network& network, int a, int b);

}  // namespace perigee::linkemu
