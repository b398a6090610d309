#include "runtime/host/peer_network.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "transport/base/status.h"

namespace perigee {

struct PeerNetwork::Batch {
  std::array<std::array<uint8_t, Endpoint::kDatagramBytesMax>, UdpSocket::kBatchMax> bytes;
  std::array<OutgoingDatagram, UdpSocket::kBatchMax> datagrams;
  size_t count = 0;
  size_t sent = 0;
};

absl::StatusOr<std::unique_ptr<PeerNetwork>> PeerNetwork::Create(const Options& options, Rng rng) {
  if (options.emulate) PERIGEE_RETURN_IF_ERROR(Validate(*options.emulate));
  PERIGEE_ASSIGN_OR_RETURN(std::unique_ptr<UdpSocket> socket, UdpSocket::Create(options.listen));
  return std::unique_ptr<PeerNetwork>(new PeerNetwork(options, std::move(socket), rng));
}

PeerNetwork::PeerNetwork(const Options& options, std::unique_ptr<UdpSocket> socket, Rng rng)
    : options_(options), socket_(std::move(socket)), batch_(std::make_unique<Batch>()) {
  if (options_.emulate) egress_.emplace(LossyEgress::Options{}, rng);
}

PeerNetwork::~PeerNetwork() = default;

void PeerNetwork::Learn(absl::Time now, const View& view) {
  for (const Member& member : view.members) {
    if (member.node == options_.self) continue;
    Peer& peer = peers_[member.node];
    if (peer.incarnation == member.incarnation) continue;
    const absl::StatusOr<SocketAddress> address = socket_->Resolve(member.address);
    peer.incarnation = member.incarnation;
    // An address that cannot be read is a peer that cannot be reached: it will be silent.
    peer.address = address.ok() ? *address : SocketAddress();
    if (!egress_) continue;
    if (!peer.channel) {
      peer.channel = egress_->AddDestination(ChannelTo(member.node, now));
      channel_address_.resize(*peer.channel + 1);
    }
    channel_address_[*peer.channel] = peer.address;
  }
}

absl::Span<uint8_t> PeerNetwork::NextBuffer() {
  PERIGEE_CHECK(batch_->count < batch_->bytes.size());
  return absl::MakeSpan(batch_->bytes[batch_->count]);
}

void PeerNetwork::Commit(absl::Time now, const Endpoint::Transmit& transmit) {
  const Peer& peer = peers_.at(transmit.to);
  if (peer.channel) {
    // What does not fit the model's memory is lost, like on a link.
    egress_->Push(now, *peer.channel, NextBuffer().first(transmit.size)).IgnoreError();
  } else {
    Add(peer.address, transmit.size);
  }
}

void PeerNetwork::Add(const SocketAddress& to, size_t size) {
  batch_->datagrams[batch_->count] = {to, NextBuffer().first(size)};
  if (++batch_->count == batch_->bytes.size()) Flush();
}

bool PeerNetwork::writable() const {
  return batch_->sent == 0 && batch_->count < batch_->bytes.size();
}

void PeerNetwork::Flush() {
  const auto rest =
      absl::MakeSpan(batch_->datagrams).subspan(batch_->sent, batch_->count - batch_->sent);
  const absl::StatusOr<size_t> sent = socket_->Send(rest);
  // A datagram that the kernel refuses for good is lost like any other; the repair is the same.
  batch_->sent = sent.ok() ? batch_->sent + *sent : batch_->count;
  if (batch_->sent == batch_->count) batch_->count = batch_->sent = 0;
}

void PeerNetwork::SendDue(absl::Time now) {
  while (egress_ && writable()) {
    const std::optional<LossyEgress::Due> due = egress_->PopDue(now);
    if (!due) return;
    std::memcpy(NextBuffer().data(), due->bytes.data(), due->bytes.size());
    Add(channel_address_[due->to], due->bytes.size());
  }
}

absl::Time PeerNetwork::NextDue() const {
  return egress_ ? egress_->NextDue() : absl::InfiniteFuture();
}

bool PeerNetwork::Receive(absl::FunctionRef<void(absl::Span<const uint8_t>)> on_datagram) {
  const absl::StatusOr<size_t> count = socket_->Receive(
      [&](const SocketAddress&, absl::Span<const uint8_t> bytes) { on_datagram(bytes); });
  return count.ok() && *count == UdpSocket::kBatchMax;
}

ChannelSettings PeerNetwork::ChannelTo(NodeId peer, absl::Time now) const {
  ChannelSettings settings = *options_.emulate;
  settings.link = plan_.LinkAt(options_.self, peer, now).value_or(options_.default_link);
  for (const DarkInterval& dark : plan_.dark_intervals()) {
    if (dark.node == peer || dark.node == options_.self) {
      settings.down.emplace_back(dark.begins, dark.ends);
    }
  }
  // Both ends may be dark at overlapping times; the model wants disjoint windows.
  std::sort(settings.down.begin(), settings.down.end());
  std::vector<std::pair<absl::Time, absl::Time>> merged;
  for (const auto& window : settings.down) {
    if (!merged.empty() && window.first <= merged.back().second) {
      merged.back().second = std::max(merged.back().second, window.second);
    } else {
      merged.push_back(window);
    }
  }
  settings.down = std::move(merged);
  return settings;
}

}  // namespace perigee
