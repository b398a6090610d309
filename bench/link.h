// `perigee-bench link`: what the transport makes of one link. Flags and fields: bench/README.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "bench/link_figures.h"
#include "bench/link_traffic.h"
#include "runtime/cli/flags.h"
#include "transport/sim/channel.h"

namespace perigee {

struct Outage {
  absl::Duration at;  // after the first offer
  absl::Duration length;
};

struct LinkOptions {
  uint64_t bytes = uint64_t{64} << 20;
  uint64_t messages = 4;
  double bytes_per_second = 125e6;
  absl::Duration delay = absl::Milliseconds(10);
  double loss = 0;
  double burst_ms = 0;
  double burst_loss = 1;
  std::string outage;  // AT:LENGTH; empty: none
  std::string clock = "virtual";
  std::string coding = "off";
  uint64_t seed = 1;
  std::string json;
};

// `options` must outlive the program.
void AddLinkCommand(Program& program, LinkOptions& options);

// Runs, prints a table or JSON. InvalidArgument names the flag; DataLoss where content was not
// intact.
absl::Status RunLink(const LinkOptions& options);

// What one run needs, from the options. `first_offer` leaves time for the first credits.
struct LinkCase {
  LinkTraffic traffic;
  ChannelSettings channel;  // of both directions, without the outage
  std::optional<Outage> outage;
  absl::Duration first_offer;  // after the start

  LinkModel model() const { return {channel.link, channel.loss}; }
  // The settings with the outage as a down window, for a run that begins at `start`.
  ChannelSettings ChannelFrom(absl::Time start) const;
  // A run that takes longer than this hangs.
  absl::Duration TimeMax() const;
};
absl::StatusOr<LinkCase> MakeLinkCase(const LinkOptions& options);

absl::StatusOr<LinkRun> RunLinkVirtual(const LinkCase& link_case);

}  // namespace perigee
