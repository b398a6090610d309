#include "bench/link_loop.h"

#include <poll.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/time/clock.h"
#include "bench/link_traffic.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

// The loop looks up now and then, should the clock be stepped.
constexpr absl::Duration kSleepMax = absl::Milliseconds(100);

bool ChangesNothing(const ChannelSettings& channel) {
  return channel.link.bytes_per_second == 0 && channel.link.delay == absl::ZeroDuration() &&
         channel.loss == 0 && channel.down.empty();
}

}  // namespace

LinkLoop::LinkLoop(const Settings& settings, std::unique_ptr<UdpSocket> socket)
    : endpoint_(settings.endpoint, Rng(settings.seed)),
      socket_(std::move(socket)),
      peer_address_(settings.peer_address),
      batch_(std::make_unique<Batch>()) {
  PERIGEE_CHECK(endpoint_.AddPeer(absl::Now(), settings.peer).ok());
  if (!ChangesNothing(settings.channel)) {
    egress_.emplace(LossyEgress::Options{}, Rng(settings.seed + 1));
    egress_link_ = egress_->AddDestination(settings.channel);
  }
}

absl::Status LinkLoop::Turn(absl::Time wake, OnEvent on_event) {
  const absl::Time now = absl::Now();
  PERIGEE_ASSIGN_OR_RETURN(size_t work, Receive(now));
  if (endpoint_.NextTimeout() <= now) endpoint_.OnTimeout(now);
  while (auto event = endpoint_.NextEvent()) {
    ++work;
    PERIGEE_RETURN_IF_ERROR(on_event(now, *event));
  }
  PERIGEE_ASSIGN_OR_RETURN(const size_t transmitted, Transmit(now));
  PERIGEE_ASSIGN_OR_RETURN(const size_t released, Release(now));
  PERIGEE_RETURN_IF_ERROR(Flush());
  if (work + transmitted + released > 0) return absl::OkStatus();
  absl::Time until = std::min(wake, endpoint_.NextTimeout());
  if (egress_) until = std::min(until, egress_->NextDue());
  return Wait(until, POLLIN);
}

absl::StatusOr<size_t> LinkLoop::Receive(absl::Time now) {
  return socket_->Receive([&](const SocketAddress&, absl::Span<const uint8_t> bytes) {
    const bool is_watched = !first_data_ && now >= watch_since_ && IsData(bytes);
    const uint64_t duplicates = is_watched ? endpoint_.CountersTotal().duplicates_received : 0;
    endpoint_.OnDatagram(now, bytes);
    if (is_watched && endpoint_.CountersTotal().duplicates_received == duplicates) {
      first_data_ = now;
    }
  });
}

absl::StatusOr<size_t> LinkLoop::Transmit(absl::Time now) {
  size_t count = 0;
  for (; count < UdpSocket::kBatchMax; ++count) {
    auto& bytes = batch_->bytes[count];
    const auto sent = endpoint_.NextTransmit(now, absl::MakeSpan(bytes));
    if (!sent) break;
    const auto datagram = absl::MakeConstSpan(bytes.data(), sent->size);
    if (egress_) {
      PERIGEE_RETURN_IF_ERROR(egress_->Push(now, egress_link_, datagram));
    } else {
      batch_->datagrams.push_back({peer_address_, datagram});
    }
  }
  return count;
}

absl::StatusOr<size_t> LinkLoop::Release(absl::Time now) {
  size_t count = 0;
  while (egress_ && count < UdpSocket::kBatchMax) {
    const auto due = egress_->PopDue(now);
    if (!due) break;
    auto& bytes = batch_->bytes[count++];
    std::memcpy(bytes.data(), due->bytes.data(), due->bytes.size());
    batch_->datagrams.push_back({peer_address_, {bytes.data(), due->bytes.size()}});
  }
  return count;
}

absl::Status LinkLoop::Flush() {
  absl::Span<const OutgoingDatagram> rest = batch_->datagrams;
  while (!rest.empty()) {
    PERIGEE_ASSIGN_OR_RETURN(const size_t sent, socket_->Send(rest));
    rest.remove_prefix(sent);
    if (!rest.empty()) PERIGEE_RETURN_IF_ERROR(Wait(absl::InfiniteFuture(), POLLOUT));
  }
  batch_->datagrams.clear();
  return absl::OkStatus();
}

absl::Status LinkLoop::Wait(absl::Time until, short events) {
  const absl::Duration sleep = std::clamp(until - absl::Now(), absl::ZeroDuration(), kSleepMax);
  const timespec timeout = absl::ToTimespec(sleep);
  pollfd waited{.fd = socket_->fd(), .events = events, .revents = 0};
  if (ppoll(&waited, 1, &timeout, nullptr) < 0 && errno != EINTR) {
    return absl::ErrnoToStatus(errno, "cannot wait for the socket");
  }
  return absl::OkStatus();
}

}  // namespace perigee
