// From what a run of `perigee-bench link` saw to the figures that it prints. Pure.
//
// With C the rate, p the loss, T = 2 · delay, and of a full packet `wire` bytes (1452, an IP
// packet) and `symbol` bytes of the message (1376):
//
//   goodput            bytes of the first phase / (last delivery - first offer - T/2): the
//   propagation of the
//                      last byte is no matter of throughput
//   goodput_fraction   goodput / ((1-p) · C · symbol/wire)
//   extra_rtt          (delivery - offer - ideal) / T for each message of the second phase, where
//                      ideal = S · (wire/symbol) / ((1-p) · C) + T/2
//   wire_overhead      bytes of messages that were sent, repeats included, over useful/(1-p); both
//   phases
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "bench/link_traffic.h"
#include "transport/endpoint.h"

namespace perigee {

struct LinkModel {
  Link link;
  double loss = 0;
};

// How long one message of `bytes` takes at best. Not for an unlimited rate.
absl::Duration IdealCompletion(const LinkModel& model, uint64_t bytes);

struct LinkRun {
  std::vector<absl::Time> offered_at;  // by message
  std::vector<absl::Time> delivered_at;
  bool intact = false;
  SessionCounters sender;
  SessionCounters receiver;
  std::optional<absl::Time> link_up;     // the end of the outage
  std::optional<absl::Time> first_data;  // new data after it
  std::optional<absl::Duration>
      cpu_send;  // of the first phase, without making and comparing content
  std::optional<absl::Duration> cpu_receive;
};

// Nothing where the figure was not measured or has no meaning (an unlimited rate, no delay).
struct LinkFigures {
  double goodput_bps = 0;  // bits per second
  std::optional<double> goodput_fraction;
  std::optional<double> extra_rtt_mean;
  std::optional<double> extra_rtt_p99;  // nearest rank
  double wire_overhead = 0;
  double retransmitted_fraction = 0;        // of the segments sent
  double spurious_retransmit_fraction = 0;  // of the segments sent: had arrived already
  std::optional<double> resume_ms;
  bool intact = false;
  std::optional<double> cpu_seconds_send;
  std::optional<double> cpu_seconds_receive;
};

LinkFigures ComputeFigures(const LinkTraffic& traffic, const LinkModel& model, const LinkRun& run);

}  // namespace perigee
