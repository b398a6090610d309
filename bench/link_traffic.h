// The traffic of `perigee-bench link`, the same in virtual and in real time: one side sends
// numbered messages whose content depends on the seed, the other one compares every byte and notes
// when each was complete.
//
// First `messages` back to back, for goodput; then as many one at a time on an idle link, for the
// latency of one message. The receives are posted ahead, as a schedule does it, so that credits are
// never waited for.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "transport/endpoint.h"

namespace perigee {

struct LinkTraffic {
  uint64_t seed = 0;
  uint64_t bytes = 0;     // of one message
  uint64_t messages = 0;  // per phase
  // Messages that are posted and offered at a time in the first phase. At least 2.
  uint64_t ahead = 2;
  // Idle time in front of each message of the second phase.
  absl::Duration gap;

  uint64_t message_count() const { return 2 * messages; }
};

// Bytes of `message`: never the same in two messages or at two offsets, so that a mix-up shows.
void FillContent(uint64_t seed, uint64_t message, absl::Span<uint8_t> out);
bool HasContent(uint64_t seed, uint64_t message, absl::Span<const uint8_t> bytes);

// Does the datagram carry a part of a message?
bool IsData(absl::Span<const uint8_t> datagram);

// CPU time of this thread since it began.
absl::Duration ThreadCpuTime();

class LinkSender {
 public:
  // `endpoint` must outlive this and know `peer`.
  LinkSender(const LinkTraffic& traffic, NodeId peer, Endpoint& endpoint);

  void Start(absl::Time now) { next_offer_ = now; }
  // Offers what is due. Call when NextOffer() has come; other calls are harmless.
  absl::Status OnTime(absl::Time now);
  absl::Time NextOffer() const { return next_offer_; }
  void OnEvent(absl::Time now, const TransportEvent& event);
  // All messages are acknowledged.
  bool done() const { return sent_count_ == traffic_.message_count(); }
  bool first_phase_done() const { return sent_count_ >= traffic_.messages; }

  const std::vector<absl::Time>& offered_at() const { return offered_at_; }
  // CPU time that went into making content, not into the transport.
  absl::Duration content_cpu() const { return content_cpu_; }

 private:
  absl::Status Offer(absl::Time now);

  LinkTraffic traffic_;
  NodeId peer_;
  Endpoint& endpoint_;
  std::vector<std::vector<uint8_t>> buffers_;
  std::vector<absl::Time> offered_at_;
  uint64_t sent_count_ = 0;
  absl::Time next_offer_ = absl::InfiniteFuture();
  absl::Duration content_cpu_;
};

class LinkReceiver {
 public:
  LinkReceiver(const LinkTraffic& traffic, NodeId peer, Endpoint& endpoint);

  // Posts the first receives.
  absl::Status Start(absl::Time now);
  absl::Status OnEvent(absl::Time now, const TransportEvent& event);
  bool done() const { return delivered_count_ == traffic_.message_count(); }
  bool first_phase_done() const { return delivered_count_ >= traffic_.messages; }

  // By message; InfiniteFuture for what is still missing.
  const std::vector<absl::Time>& delivered_at() const { return delivered_at_; }
  uint64_t delivered_count() const { return delivered_count_; }
  bool intact() const { return intact_; }
  absl::Duration content_cpu() const { return content_cpu_; }

 private:
  absl::Status PostNext(absl::Time now);

  LinkTraffic traffic_;
  NodeId peer_;
  Endpoint& endpoint_;
  std::vector<std::vector<uint8_t>> buffers_;
  std::vector<absl::Time> delivered_at_;
  uint64_t posted_count_ = 0;
  uint64_t delivered_count_ = 0;
  bool intact_ = true;
  absl::Duration content_cpu_;
};

}  // namespace perigee
