// The way from this process to its peers: the UDP socket, the addresses of the members, and, where
// a lossy network is emulated, the channel model on the way out. One thread.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "transport/base/ids.h"
#include "transport/contact_plan.h"
#include "transport/endpoint.h"
#include "transport/sim/channel.h"
#include "transport/udp/lossy_egress.h"
#include "transport/udp/udp_socket.h"
#include "transport/view.h"

namespace perigee {

class PeerNetwork {
 public:
  struct Options {
    NodeId self;
    std::string listen = "127.0.0.1:0";
    Link default_link;
    std::optional<ChannelSettings> emulate;  // see NodeLoopOptions
  };

  // Opens the socket. The errors of UdpSocket::Create, and of Validate(ChannelSettings).
  static absl::StatusOr<std::unique_ptr<PeerNetwork>> Create(const Options& options, Rng rng);
  ~PeerNetwork();

  // The members' addresses; channels to new ones follow the plan as it is now.
  void Learn(absl::Time now, const View& view);
  void SetPlan(ContactPlan plan) { plan_ = std::move(plan); }

  // Datagrams are written into NextBuffer() and sent with Commit; they leave in batches, at the
  // latest with Flush. While the kernel takes no more, writable() is false: wait for POLLOUT, then
  // Flush.
  absl::Span<uint8_t> NextBuffer();
  void Commit(absl::Time now, const Endpoint::Transmit& transmit);
  bool writable() const;
  void Flush();
  // Sends what the emulated channels let go by now.
  void SendDue(absl::Time now);
  absl::Time NextDue() const;

  // Hands on at most one batch; false when nothing more is waiting.
  bool Receive(absl::FunctionRef<void(absl::Span<const uint8_t>)> on_datagram);

  int fd() const { return socket_->fd(); }
  std::string address() const { return socket_->local_address().ToString(); }

 private:
  struct Batch;
  struct Peer {
    Incarnation incarnation;
    SocketAddress address;
    std::optional<size_t> channel;
  };

  PeerNetwork(const Options& options, std::unique_ptr<UdpSocket> socket, Rng rng);
  void Add(const SocketAddress& to, size_t size);
  ChannelSettings ChannelTo(NodeId peer, absl::Time now) const;

  Options options_;
  std::unique_ptr<UdpSocket> socket_;
  ContactPlan plan_;
  std::map<NodeId, Peer> peers_;
  std::optional<LossyEgress> egress_;
  std::vector<SocketAddress> channel_address_;  // by channel index
  std::unique_ptr<Batch> batch_;
};

}  // namespace perigee
