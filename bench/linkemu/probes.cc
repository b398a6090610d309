#include "bench/linkemu/probes.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "bench/linkemu/address_plan.h"
#include "transport/base/status.h"

namespace perigee::linkemu {
namespace {

constexpr uint16_t kPort = 7700;
constexpr uint32_t kHeaderBytes = 28;  // IPv4 and UDP
// From one socket at a time: others want their turn, and a thread in real time must come to an end.
constexpr int kMessagesMax = 256;
constexpr int kReceiveBytes = 64 << 20;
constexpr int kUdpSegment = 103;  // UDP_SEGMENT, UDP_GRO of linux/udp.h
constexpr int kUdpGro = 104;

sockaddr_in SocketAddress(int node) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(kPort);
  std::memcpy(&address.sin_addr, NodeIp4(node).data(), 4);
  return address;
}

absl::StatusOr<FileDescriptor> OpenSocket(const NodeNamespace& node, int index) {
  FileDescriptor fd;
  PERIGEE_RETURN_IF_ERROR(RunIn(node, [&]() -> absl::Status {
    fd = FileDescriptor(socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const int on = 1;
    for (const int option : {SO_TIMESTAMPNS, SO_RXQ_OVFL}) {
      setsockopt(fd.get(), SOL_SOCKET, option, &on, sizeof(on));
    }
    setsockopt(fd.get(), IPPROTO_UDP, kUdpGro, &on, sizeof(on));
    // Beyond the system's limit where that is allowed.
    if (setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBytes, sizeof(int)) != 0) {
      setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &kReceiveBytes, sizeof(int));
    }
    const sockaddr_in address = SocketAddress(index);
    if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
      return absl::OkStatus();
    }
    return absl::InternalError(absl::StrCat("probe socket: ", std::strerror(errno)));
  }));
  return fd;
}

// What the kernel says beside the bytes.
struct Ancillary {
  absl::Time received;
  size_t segment_bytes = 0;  // 0: one packet
  uint32_t overflowed = 0;
};

Ancillary ReadAncillary(msghdr* message) {
  Ancillary ancillary{.received = absl::Now()};
  for (cmsghdr* part = CMSG_FIRSTHDR(message); part != nullptr; part = CMSG_NXTHDR(message, part)) {
    if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_TIMESTAMPNS) {
      timespec time;
      std::memcpy(&time, CMSG_DATA(part), sizeof(time));
      ancillary.received = absl::TimeFromTimespec(time);
    } else if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SO_RXQ_OVFL) {
      std::memcpy(&ancillary.overflowed, CMSG_DATA(part), sizeof(uint32_t));
    } else if (part->cmsg_level == IPPROTO_UDP && part->cmsg_type == kUdpGro) {
      int bytes = 0;
      std::memcpy(&bytes, CMSG_DATA(part), sizeof(bytes));
      ancillary.segment_bytes = static_cast<size_t>(bytes);
    }
  }
  return ancillary;
}

}  // namespace

absl::StatusOr<ProbeSockets> ProbeSockets::Open(const std::vector<NodeNamespace>& nodes) {
  ProbeSockets sockets;
  for (size_t i = 0; i < nodes.size(); ++i) {
    PERIGEE_ASSIGN_OR_RETURN(FileDescriptor fd, OpenSocket(nodes[i], static_cast<int>(i)));
    sockets.sockets_.push_back(std::move(fd));
  }
  sockets.overflow_counts_.resize(nodes.size());
  sockets.receive_buffer_.resize(kFrameBytesMax);
  return sockets;
}

absl::Status ProbeSockets::Send(const ProbeBurst& burst) const {
  const size_t payload = burst.packet_bytes - kHeaderBytes;
  PERIGEE_CHECK(burst.packet_bytes >= kPacketBytesMin && burst.count <= ProbeBurst::kCountMax &&
                payload * burst.count < kFrameBytesMax);
  // What lies between the probes is sent as it is here.
  static const std::vector<uint8_t> kFiller(kFrameBytesMax);
  std::array<Probe, ProbeBurst::kCountMax> probes;
  std::array<iovec, size_t{2} * ProbeBurst::kCountMax> parts;
  Probe probe{.from = static_cast<uint16_t>(burst.from), .to = static_cast<uint16_t>(burst.to)};
  probe.sent_ns = absl::ToUnixNanos(absl::Now());
  for (uint32_t i = 0; i < burst.count; ++i) {
    probe.number = burst.first + i;
    probes[i] = probe;
    parts[size_t{2} * i] = {&probes[i], sizeof(Probe)};
    parts[size_t{2} * i + 1] = {const_cast<uint8_t*>(kFiller.data()), payload - sizeof(Probe)};
  }
  sockaddr_in to = SocketAddress(burst.to);
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(uint16_t))] = {};
  msghdr message{};
  message.msg_name = &to;
  message.msg_namelen = sizeof(to);
  message.msg_iov = parts.data();
  message.msg_iovlen = size_t{2} * burst.count;
  if (burst.count > 1) {
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    cmsghdr* const part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = IPPROTO_UDP;
    part->cmsg_type = kUdpSegment;
    part->cmsg_len = CMSG_LEN(sizeof(uint16_t));
    const auto segment = static_cast<uint16_t>(payload);
    std::memcpy(CMSG_DATA(part), &segment, sizeof(segment));
  }
  if (sendmsg(sockets_[static_cast<size_t>(burst.from)].get(), &message, 0) >= 0) {
    return absl::OkStatus();
  }
  return absl::InternalError(
      absl::StrCat("probe from ", burst.from, " to ", burst.to, ": ", std::strerror(errno)));
}

size_t ProbeSockets::ReceiveAt(int socket, Depth depth, OnProbe on_probe) {
  const auto index = static_cast<size_t>(socket);
  alignas(cmsghdr) char control[256];
  const bool every = depth == Depth::kEvery;
  iovec bytes = {receive_buffer_.data(), every ? receive_buffer_.size() : sizeof(Probe)};
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  const ssize_t size = recvmsg(sockets_[index].get(), &message, MSG_DONTWAIT | MSG_TRUNC);
  if (size <= 0) return 0;
  const Ancillary ancillary = ReadAncillary(&message);
  overflowed_ +=
      ancillary.overflowed - std::exchange(overflow_counts_[index], ancillary.overflowed);
  const auto total = static_cast<size_t>(size);
  const size_t step = ancillary.segment_bytes > 0 ? ancillary.segment_bytes : total;
  const size_t read = every ? total : std::min(total, sizeof(Probe));
  for (size_t at = 0; at + sizeof(Probe) <= read; at += step) {
    Probe probe;
    std::memcpy(&probe, &receive_buffer_[at], sizeof(probe));
    if (probe.mark != Probe::kMark || probe.to != socket) return 0;
    on_probe(probe, ancillary.received);
  }
  return (total + step - 1) / step;
}

size_t ProbeSockets::Receive(Depth depth, OnProbe on_probe) {
  size_t total = 0;
  for (size_t i = 0; i < sockets_.size(); ++i) {
    for (int messages = 0; messages < kMessagesMax; ++messages) {
      const size_t count = ReceiveAt(static_cast<int>(i), depth, on_probe);
      if (count == 0) break;
      total += count;
    }
  }
  return total;
}

bool ProbeSockets::WaitForProbes(absl::Duration wait) const {
  std::vector<pollfd> fds;
  for (const FileDescriptor& socket : sockets_) fds.push_back({socket.get(), POLLIN, 0});
  const timespec timeout = absl::ToTimespec(std::max(wait, absl::ZeroDuration()));
  return ppoll(fds.data(), fds.size(), &timeout, nullptr) > 0;
}

size_t ProbeSockets::ReceiveUntilQuiet(absl::Duration quiet, Depth depth, OnProbe on_probe) {
  size_t total = 0;
  do {
    total += Receive(depth, on_probe);
  } while (WaitForProbes(quiet));
  return total;
}

size_t ProbeSockets::ReceiveFor(absl::Duration length, Depth depth, OnProbe on_probe) {
  const absl::Time end = EmulatorNow() + length;
  size_t total = 0;
  while (EmulatorNow() < end) {
    WaitForProbes(end - EmulatorNow());
    for (size_t i = 0; i < sockets_.size(); ++i) {
      total += ReceiveAt(static_cast<int>(i), depth, on_probe);
    }
  }
  return total;
}

absl::StatusOr<Testbed> Testbed::Create(Network network, uint64_t seed) {
  Testbed testbed;
  testbed.network = std::move(network);
  std::vector<int> tuns;
  for (int node = 0; node < testbed.network.node_count; ++node) {
    PERIGEE_ASSIGN_OR_RETURN(NodeNamespace created, CreateNode(node, {}));
    tuns.push_back(created.tun.get());
    testbed.nodes.push_back(std::move(created));
  }
  PERIGEE_ASSIGN_OR_RETURN(testbed.emulator,
                           EmulatorThread::Start(testbed.network, {.seed = seed}, tuns));
  PERIGEE_ASSIGN_OR_RETURN(testbed.sockets, ProbeSockets::Open(testbed.nodes));
  return testbed;
}

absl::Status Testbed::Change(int from, int to, const LinkChange& change) {
  return emulator->Call(
      [&](Emulator& running, absl::Time now) { return running.Change(now, from, to, change); });
}

uint64_t Testbed::PacketsFetched() const {
  uint64_t packets = 0;
  for (const LinkCounters& link : emulator->Figures().links) packets += link.packets;
  return packets;
}

uint64_t Testbed::PacketsLost() const {
  uint64_t lost = 0;
  for (const LinkCounters& link : emulator->Figures().links) {
    lost += link.lost + link.queue_dropped + link.down_dropped + link.overflowed;
  }
  return lost;
}

uint64_t Testbed::DeviceDropped() const {
  uint64_t dropped = 0;
  for (const NodeNamespace& node : nodes) dropped += DeviceDrops(node).value_or(0);
  return dropped;
}

}  // namespace perigee::linkemu
