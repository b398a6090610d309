#include "bench/linkemu/load_generator.h"

#include <time.h>

#include <utility>

#include "bench/linkemu/thread_priority.h"

namespace perigee::linkemu {

LoadGenerator::LoadGenerator(const ProbeSockets& sockets, Settings settings)
    : sockets_(sockets), settings_(std::move(settings)), thread_([this] { Run(); }) {}

absl::Status LoadGenerator::Stop() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
  return status_;
}

void LoadGenerator::Run() {
  const ThreadPriority priority(ThreadPriority::Rank::kLoad);
  const double round_bytes = double{1} * settings_.packet_bytes * settings_.burst;
  const absl::Duration round = absl::Seconds(round_bytes / settings_.bytes_per_second);
  const absl::Duration gap = round / static_cast<int64_t>(settings_.links.size());
  absl::Time next = EmulatorNow();
  while (!stop_) {
    for (const auto& [from, to] : settings_.links) {
      absl::Status sent = sockets_.Send({.from = from,
                                         .to = to,
                                         .first = rounds_ * settings_.burst,
                                         .count = settings_.burst,
                                         .packet_bytes = settings_.packet_bytes});
      if (sent.ok()) sent = sockets_.Send({.from = to, .to = from, .first = rounds_});
      if (!sent.ok()) {
        status_ = sent;
        return;
      }
      next += gap;
      behind_ = EmulatorNow() - next;
      if (behind_ > settings_.catch_up_max) next += behind_ - settings_.catch_up_max;
      if (behind_ >= absl::ZeroDuration()) continue;
      const timespec wait = absl::ToTimespec(-behind_);
      nanosleep(&wait, nullptr);
    }
    ++rounds_;
  }
}

std::vector<std::pair<int, int>> LinksOf(const Network& network) {
  std::vector<std::pair<int, int>> links;
  for (const LinkSettings& link : network.links) links.emplace_back(link.from, link.to);
  return links;
}

std::vector<std::pair<int, int>> LinksBut(const Network& network, int a, int b) {
  std::vector<std::pair<int, int>> links;
  for (const auto& [from, to] : LinksOf(network)) {
    const bool joins = (from == a && to == b) || (from == b && to == a);
    if (!joins) links.emplace_back(from, to);
  }
  return links;
}

}  // namespace perigee::linkemu
