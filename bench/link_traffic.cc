#include "bench/link_traffic.h"

#include <time.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <variant>

#include "transport/base/status.h"
#include "transport/wire.h"

namespace perigee {
namespace {

constexpr size_t kWordBytes = sizeof(uint64_t);

TransferKey KeyOf(uint64_t message) { return {.epoch = Epoch(1), .op = OpId(message)}; }

// splitmix64 of (seed, message, word), which is a bijection of its argument.
uint64_t Word(uint64_t base, uint64_t index) {
  uint64_t z = base + (index + 1) * 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

uint64_t Base(uint64_t seed, uint64_t message) { return Word(Word(seed, 0), message); }

class CpuCharge {
 public:
  explicit CpuCharge(absl::Duration& total) : total_(total), begin_(ThreadCpuTime()) {}
  ~CpuCharge() { total_ += ThreadCpuTime() - begin_; }

 private:
  absl::Duration& total_;
  absl::Duration begin_;
};

std::vector<std::vector<uint8_t>> MakeBuffers(const LinkTraffic& traffic) {
  return std::vector<std::vector<uint8_t>>(std::min(traffic.ahead, traffic.message_count()),
                                           std::vector<uint8_t>(traffic.bytes));
}

}  // namespace

void FillContent(uint64_t seed, uint64_t message, absl::Span<uint8_t> out) {
  const uint64_t base = Base(seed, message);
  for (size_t at = 0; at < out.size(); at += kWordBytes) {
    const uint64_t word = Word(base, at / kWordBytes);
    std::memcpy(out.data() + at, &word, std::min(kWordBytes, out.size() - at));
  }
}

bool HasContent(uint64_t seed, uint64_t message, absl::Span<const uint8_t> bytes) {
  const uint64_t base = Base(seed, message);
  for (size_t at = 0; at < bytes.size(); at += kWordBytes) {
    const uint64_t word = Word(base, at / kWordBytes);
    if (std::memcmp(bytes.data() + at, &word, std::min(kWordBytes, bytes.size() - at)) != 0) {
      return false;
    }
  }
  return true;
}

bool IsData(absl::Span<const uint8_t> datagram) {
  constexpr uint8_t kTypeMask = 0x0f;
  return !datagram.empty() &&
         (datagram[0] & kTypeMask) == static_cast<uint8_t>(wire::PacketType::kData);
}

absl::Duration ThreadCpuTime() {
  timespec time{};
  PERIGEE_CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) == 0);
  return absl::DurationFromTimespec(time);
}

LinkSender::LinkSender(const LinkTraffic& traffic, NodeId peer, Endpoint& endpoint)
    : traffic_(traffic), peer_(peer), endpoint_(endpoint), buffers_(MakeBuffers(traffic)) {}

absl::Status LinkSender::OnTime(absl::Time now) {
  while (next_offer_ <= now) PERIGEE_RETURN_IF_ERROR(Offer(now));
  return absl::OkStatus();
}

absl::Status LinkSender::Offer(absl::Time now) {
  const uint64_t message = offered_at_.size();
  std::vector<uint8_t>& buffer = buffers_[message % buffers_.size()];
  {
    CpuCharge charge(content_cpu_);
    FillContent(traffic_.seed, message, absl::MakeSpan(buffer));
  }
  offered_at_.push_back(now);
  const uint64_t next = offered_at_.size();
  const bool has_room = next < traffic_.messages && next < sent_count_ + buffers_.size();
  if (!has_room) next_offer_ = absl::InfiniteFuture();
  return endpoint_.Send(now, peer_, KeyOf(message), {.body = buffer}, TrafficClass::kCollective);
}

void LinkSender::OnEvent(absl::Time now, const TransportEvent& event) {
  if (!std::holds_alternative<TransferSent>(event)) return;
  ++sent_count_;
  const uint64_t next = offered_at_.size();
  if (next < traffic_.messages) {
    next_offer_ = now;
  } else if (sent_count_ == next && next < traffic_.message_count()) {
    next_offer_ = now + traffic_.gap;
  }
}

LinkReceiver::LinkReceiver(const LinkTraffic& traffic, NodeId peer, Endpoint& endpoint)
    : traffic_(traffic),
      peer_(peer),
      endpoint_(endpoint),
      buffers_(MakeBuffers(traffic)),
      delivered_at_(traffic.message_count(), absl::InfiniteFuture()) {}

absl::Status LinkReceiver::Start(absl::Time now) {
  while (posted_count_ < buffers_.size()) PERIGEE_RETURN_IF_ERROR(PostNext(now));
  return absl::OkStatus();
}

absl::Status LinkReceiver::PostNext(absl::Time now) {
  std::vector<uint8_t>& buffer = buffers_[posted_count_ % buffers_.size()];
  return endpoint_.PostReceive(now, peer_, KeyOf(posted_count_++),
                               {.body = absl::MakeSpan(buffer)});
}

absl::Status LinkReceiver::OnEvent(absl::Time now, const TransportEvent& event) {
  const auto* delivered = std::get_if<TransferDelivered>(&event);
  if (delivered == nullptr) return absl::OkStatus();
  const uint64_t message = delivered->key.op.value();
  PERIGEE_CHECK(message < posted_count_);
  std::vector<uint8_t>& buffer = buffers_[message % buffers_.size()];
  {
    CpuCharge charge(content_cpu_);
    // Exactly once: a second delivery is as wrong as other bytes.
    if (delivered_at_[message] != absl::InfiniteFuture() || delivered->bytes != traffic_.bytes ||
        !HasContent(traffic_.seed, message, buffer)) {
      intact_ = false;
    }
    std::fill(buffer.begin(), buffer.end(), uint8_t{0});
  }
  delivered_at_[message] = now;
  ++delivered_count_;
  // Buffers are posted again in their order; a message that overtook another one waits for it.
  while (posted_count_ < traffic_.message_count() &&
         delivered_at_[posted_count_ - buffers_.size()] != absl::InfiniteFuture()) {
    PERIGEE_RETURN_IF_ERROR(PostNext(now));
  }
  return absl::OkStatus();
}

}  // namespace perigee
