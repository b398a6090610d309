// One endpoint over one UDP socket in real time, for two processes on one machine: the smallest
// loop that a driver can be. The way out passes the channel model, unless it would change nothing.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "transport/endpoint.h"
#include "transport/udp/lossy_egress.h"
#include "transport/udp/udp_socket.h"

namespace perigee {

class LinkLoop {
 public:
  using OnEvent = absl::FunctionRef<absl::Status(absl::Time now, const TransportEvent& event)>;

  struct Settings {
    Endpoint::Options endpoint;
    PeerSettings peer;
    SocketAddress peer_address;
    ChannelSettings channel;  // of the way out
    uint64_t seed = 0;
  };
  LinkLoop(const Settings& settings, std::unique_ptr<UdpSocket> socket);

  Endpoint& endpoint() { return endpoint_; }
  // Receives, calls `on_event`, sends, and sleeps until the next of these or `wake`, where nothing
  // was to do.
  absl::Status Turn(absl::Time wake, OnEvent on_event);

  // As LinkWorld::WatchForData.
  void WatchForData(absl::Time since) { watch_since_ = since; }
  std::optional<absl::Time> first_data() const { return first_data_; }

 private:
  struct Batch {
    std::array<std::array<uint8_t, Endpoint::kDatagramBytesMax>, UdpSocket::kBatchMax> bytes;
    std::vector<OutgoingDatagram> datagrams;
  };

  absl::StatusOr<size_t> Receive(absl::Time now);
  // How many datagrams the endpoint had to send, at most one batch.
  absl::StatusOr<size_t> Transmit(absl::Time now);
  absl::StatusOr<size_t> Release(absl::Time now);
  absl::Status Flush();
  absl::Status Wait(absl::Time until, short events);

  Endpoint endpoint_;
  std::unique_ptr<UdpSocket> socket_;
  SocketAddress peer_address_;
  std::optional<LossyEgress> egress_;
  size_t egress_link_ = 0;
  std::unique_ptr<Batch> batch_;
  absl::Time watch_since_ = absl::InfiniteFuture();
  std::optional<absl::Time> first_data_;
};

}  // namespace perigee
