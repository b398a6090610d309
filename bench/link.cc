#include "bench/link.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "bench/link_real.h"
#include "bench/link_report.h"
#include "bench/link_world.h"
#include "runtime/cli/quantity.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

// Buffers on both sides together stay below this.
constexpr uint64_t kBufferBytesMax = uint64_t{4} << 30;
constexpr uint64_t kMessagesMax = 1'000'000;
constexpr uint64_t kAheadMax = 4096;
// So many bandwidth-delay products are offered at a time: more than the window ever needs.
constexpr double kAheadBandwidthDelayProducts = 4;
constexpr int kIdleRoundTrips = 4;
constexpr absl::Duration kIdleMin = absl::Milliseconds(20);
constexpr double kHangFactor = 20;
constexpr absl::Duration kHangSlack = absl::Minutes(1);

absl::StatusOr<std::optional<Outage>> ParseOutage(const std::string& text) {
  if (text.empty()) return std::optional<Outage>();
  const std::vector<std::string> parts = absl::StrSplit(text, ':');
  if (parts.size() == 2) {
    const auto at = ParseTime(parts[0]);
    const auto length = ParseTime(parts[1]);
    if (at.ok() && length.ok() && *length > absl::ZeroDuration()) {
      return std::optional<Outage>(Outage{*at, *length});
    }
  }
  return absl::InvalidArgumentError(
      absl::StrCat("--outage: '", text, "' is not AT:LENGTH, as in 200ms:2s"));
}

absl::Status CheckOptions(const LinkOptions& options) {
  if (options.coding == "on") {
    return absl::InvalidArgumentError("--coding on: not there yet; leave it out or say off");
  }
  if (options.bytes == 0 || options.bytes > kBufferBytesMax / 4) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--bytes: ", options.bytes, " must be from 1 to ", FormatSize(kBufferBytesMax / 4)));
  }
  if (options.messages == 0 || options.messages > kMessagesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("--messages: ", options.messages, " must be from 1 to ", kMessagesMax));
  }
  if (options.loss >= 1) return absl::InvalidArgumentError("--loss: must be below 1");
  if (!(options.burst_ms >= 0))
    return absl::InvalidArgumentError("--burst-ms: must not be negative");
  return absl::OkStatus();
}

uint64_t MessagesAhead(const LinkOptions& options) {
  const double product = options.bytes_per_second * 2 * absl::ToDoubleSeconds(options.delay);
  const double wanted = kAheadBandwidthDelayProducts * product / static_cast<double>(options.bytes);
  const auto ahead = static_cast<uint64_t>(std::ceil(std::min<double>(wanted, kAheadMax))) + 1;
  const uint64_t fits = kBufferBytesMax / 2 / options.bytes;
  return std::clamp<uint64_t>(ahead, 2, std::min(fits, kAheadMax));
}

}  // namespace

void AddLinkCommand(Program& program, LinkOptions& options) {
  CLI::App& app = program.AddCommand(
      "link", "What the transport makes of one link: goodput, latency, overhead.",
      "perigee-bench link --loss 1%\n"
      "perigee-bench link --bytes 2.5MB --messages 200 --loss 1%\n"
      "perigee-bench link --outage 200ms:2s --json -",
      [&options] { return RunLink(options); });
  AddSize(app, "--bytes", &options.bytes, "size of one message");
  app.add_option("--messages", options.messages,
                 "messages back to back, then as many one at a time")
      ->capture_default_str();
  AddRate(app, "--rate", &options.bytes_per_second, "capacity per directed link");
  AddTime(app, "--delay", &options.delay, "one way");
  AddProbability(app, "--loss", &options.loss, "mean loss of packets, each way");
  app.add_option("--burst-ms", options.burst_ms,
                 "mean length of a bad period; 0: independent losses")
      ->capture_default_str();
  AddProbability(app, "--burst-loss", &options.burst_loss, "loss inside a bad period");
  app.add_option("--outage", options.outage,
                 "nothing passes from AT for LENGTH after the first offer")
      ->type_name("AT:LENGTH");
  app.add_option("--clock", options.clock, "virtual, or real: two processes over loopback UDP")
      ->check(CLI::IsMember({"virtual", "real"}))
      ->capture_default_str();
  app.add_option("--coding", options.coding, "coded tail")
      ->check(CLI::IsMember({"on", "off"}))
      ->capture_default_str();
  app.add_option("--seed", options.seed, "of losses and content")->capture_default_str();
  app.add_option("--json", options.json, "write JSON to PATH, or to stdout with -")
      ->type_name("PATH");
}

absl::StatusOr<LinkCase> MakeLinkCase(const LinkOptions& options) {
  PERIGEE_RETURN_IF_ERROR(CheckOptions(options));
  LinkCase link_case;
  PERIGEE_ASSIGN_OR_RETURN(link_case.outage, ParseOutage(options.outage));
  const absl::Duration idle = std::max(kIdleMin, kIdleRoundTrips * 2 * options.delay);
  link_case.traffic = {.seed = options.seed,
                       .bytes = options.bytes,
                       .messages = options.messages,
                       .ahead = MessagesAhead(options),
                       .gap = idle};
  link_case.first_offer = idle;
  link_case.channel.link = {options.bytes_per_second, options.delay};
  link_case.channel.loss = options.loss;
  link_case.channel.burst_mean = absl::Milliseconds(options.burst_ms);
  link_case.channel.burst_loss = options.burst_loss;
  PERIGEE_RETURN_IF_ERROR(Validate(link_case.channel));
  return link_case;
}

ChannelSettings LinkCase::ChannelFrom(absl::Time start) const {
  ChannelSettings settings = channel;
  if (outage) {
    const absl::Time begins = start + first_offer + outage->at;
    settings.down.emplace_back(begins, begins + outage->length);
  }
  return settings;
}

absl::Duration LinkCase::TimeMax() const {
  const double count = static_cast<double>(traffic.message_count());
  absl::Duration ideal = channel.link.delay;
  if (channel.link.bytes_per_second > 0) ideal = IdealCompletion(model(), traffic.bytes);
  const absl::Duration once = ideal + traffic.gap;
  absl::Duration limit = first_offer + kHangFactor * count * once + kHangSlack;
  if (outage) limit += outage->at + 2 * outage->length;
  return limit;
}

absl::StatusOr<LinkRun> RunLinkVirtual(const LinkCase& link_case) {
  const absl::Time start = absl::UnixEpoch();
  const ChannelSettings settings = link_case.ChannelFrom(start);
  LinkWorld world({settings, settings, start, link_case.traffic.seed});
  LinkSender sender(link_case.traffic, LinkWorld::node_id(LinkWorld::kReceiver),
                    world.endpoint(LinkWorld::kSender));
  LinkReceiver receiver(link_case.traffic, LinkWorld::node_id(LinkWorld::kSender),
                        world.endpoint(LinkWorld::kReceiver));
  LinkRun run;
  if (!settings.down.empty()) {
    run.link_up = settings.down.front().second;
    world.WatchForData(*run.link_up);
  }
  sender.Start(start + link_case.first_offer);
  PERIGEE_RETURN_IF_ERROR(receiver.Start(start));
  const auto on_event = [&](size_t node, const TransportEvent& event) -> absl::Status {
    if (node == LinkWorld::kReceiver) return receiver.OnEvent(world.now(), event);
    sender.OnEvent(world.now(), event);
    return sender.OnTime(world.now());
  };
  const absl::Time limit = start + link_case.TimeMax();
  while (!sender.done() || !receiver.done()) {
    PERIGEE_RETURN_IF_ERROR(sender.OnTime(world.now()));
    PERIGEE_RETURN_IF_ERROR(world.Drain(on_event));
    if (world.now() >= limit) {
      return absl::DeadlineExceededError(absl::StrCat(
          "link: ", receiver.delivered_count(), " of ", link_case.traffic.message_count(),
          " messages after ", absl::FormatDuration(world.now() - start), " of virtual time"));
    }
    PERIGEE_RETURN_IF_ERROR(world.Advance(std::min(limit, sender.NextOffer())));
  }
  run.offered_at = sender.offered_at();
  run.delivered_at = receiver.delivered_at();
  run.intact = receiver.intact();
  run.sender = world.endpoint(LinkWorld::kSender).CountersTotal();
  run.receiver = world.endpoint(LinkWorld::kReceiver).CountersTotal();
  run.first_data = world.first_data();
  return run;
}

absl::Status RunLink(const LinkOptions& options) {
  PERIGEE_ASSIGN_OR_RETURN(const LinkCase link_case, MakeLinkCase(options));
  LinkReport report(options, link_case);
  PERIGEE_ASSIGN_OR_RETURN(const LinkRun run, options.clock == "real" ? RunLinkReal(link_case)
                                                                      : RunLinkVirtual(link_case));
  const LinkFigures figures = ComputeFigures(link_case.traffic, link_case.model(), run);
  PERIGEE_RETURN_IF_ERROR(report.Write(figures));
  const absl::Time first_phase_end = *std::max_element(
      run.delivered_at.begin(), run.delivered_at.begin() + static_cast<int64_t>(options.messages));
  if (run.link_up && *run.link_up - link_case.outage->length >= first_phase_end) {
    return absl::FailedPreconditionError(
        absl::StrCat("--outage ", options.outage, ": the first phase took only ",
                     absl::FormatDuration(first_phase_end - run.offered_at.front()),
                     "; let it begin earlier or send more"));
  }
  if (!run.intact) return absl::DataLossError("link: what arrived is not what was sent");
  return absl::OkStatus();
}

}  // namespace perigee
