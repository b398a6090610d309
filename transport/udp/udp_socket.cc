#include "transport/udp/udp_socket.h"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

// A signal may end a call early; more than this many in a row is a bug, not bad luck.
constexpr int kInterruptsMax = 100;

absl::Status SocketError(int error, absl::string_view what, const SocketAddress& address) {
  return absl::ErrnoToStatus(error, absl::StrCat(what, " on address ", address.ToString()));
}

absl::Status BindError(int error, const SocketAddress& address) {
  const std::string name = address.ToString();
  switch (error) {
    case EADDRINUSE:
      return absl::AlreadyExistsError(
          absl::StrCat("address ", name, " is in use: choose another port with --listen"));
    case EADDRNOTAVAIL:
      return absl::FailedPreconditionError(absl::StrCat(
          "address ", name,
          " is not of this machine: choose one that `ip address` shows with --listen"));
    case EACCES:
      return absl::PermissionDeniedError(absl::StrCat(
          "address ", name, " may not be used: choose a port above 1023 with --listen"));
    default:
      return SocketError(error, "bind", address);
  }
}

absl::Status SendError(int error, const OutgoingDatagram& datagram) {
  const std::string what = absl::StrCat("send of a datagram of ", datagram.bytes.size(),
                                        " bytes to ", datagram.to.ToString());
  if (error == EMSGSIZE) {
    return absl::InvalidArgumentError(absl::StrCat(
        what, ": UDP carries at most 65507 bytes, and less where the path forbids fragments"));
  }
  if (error == EAFNOSUPPORT) {
    return absl::InvalidArgumentError(absl::StrCat(
        what, ": the socket is of the other address family, resolve with UdpSocket::Resolve"));
  }
  return absl::ErrnoToStatus(error, what);
}

// The peer, the route or a firewall refused; ECONNREFUSED is the late echo of an ICMP answer.
bool IsLossOnTheWay(int error) {
  switch (error) {
    case ECONNREFUSED:
    case ECONNRESET:
    case EHOSTUNREACH:
    case EHOSTDOWN:
    case ENETUNREACH:
    case ENETDOWN:
    case ENONET:
    case EPERM:
      return true;
    default:
      return false;
  }
}

bool IsFull(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == ENOBUFS; }

// The forced variant passes rmem_max and wmem_max, and needs CAP_NET_ADMIN.
void AskForBuffers(int fd, int bytes) {
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) != 0) {
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
  }
  if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) != 0) {
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
  }
}

}  // namespace

struct UdpSocket::Batch {
  std::array<std::array<uint8_t, kDatagramBytesMax>, kBatchMax> buffers;
  std::array<SocketAddress, kBatchMax> from;
  std::array<iovec, kBatchMax> parts;
  std::array<mmsghdr, kBatchMax> messages;
};

absl::StatusOr<std::unique_ptr<UdpSocket>> UdpSocket::Create(absl::string_view address) {
  PERIGEE_ASSIGN_OR_RETURN(const SocketAddress wanted, SocketAddress::Resolve(address));
  const int fd = socket(wanted.family(), SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return SocketError(errno, "socket", wanted);
  std::unique_ptr<UdpSocket> result(new UdpSocket(fd, wanted, 0));  // closes fd on every path

  if (wanted.family() == AF_INET6) {
    const int off = 0;
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
  }
  AskForBuffers(fd, kBufferBytes);
  if (bind(fd, wanted.get(), wanted.length()) != 0) return BindError(errno, wanted);

  socklen_t length = sizeof(sockaddr_in6);
  if (getsockname(fd, result->local_address_.mutable_get(), &length) != 0) {
    return SocketError(errno, "getsockname", wanted);
  }
  length = sizeof(result->receive_buffer_bytes_);
  if (getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &result->receive_buffer_bytes_, &length) != 0) {
    return SocketError(errno, "getsockopt", wanted);
  }
  return result;
}

UdpSocket::UdpSocket(int fd, const SocketAddress& local_address, int receive_buffer_bytes)
    : fd_(fd),
      local_address_(local_address),
      receive_buffer_bytes_(receive_buffer_bytes),
      batch_(std::make_unique<Batch>()) {}

UdpSocket::~UdpSocket() { close(fd_); }

absl::StatusOr<SocketAddress> UdpSocket::Resolve(absl::string_view host_and_port) const {
  return SocketAddress::Resolve(host_and_port, local_address_.family());
}

absl::StatusOr<size_t> UdpSocket::Receive(ReceiveFunction on_datagram) {
  for (size_t i = 0; i < kBatchMax; ++i) {
    batch_->parts[i] = {.iov_base = batch_->buffers[i].data(), .iov_len = kDatagramBytesMax};
    batch_->messages[i] = {};
    msghdr& header = batch_->messages[i].msg_hdr;
    header.msg_name = batch_->from[i].mutable_get();
    header.msg_namelen = sizeof(sockaddr_in6);
    header.msg_iov = &batch_->parts[i];
    header.msg_iovlen = 1;
  }
  for (int attempt = 0; attempt < kInterruptsMax; ++attempt) {
    const int count = recvmmsg(fd_, batch_->messages.data(), kBatchMax, MSG_DONTWAIT, nullptr);
    if (count < 0) {
      // A pending ICMP error is reported once, in place of data: ask again.
      if (errno == EINTR || IsLossOnTheWay(errno)) continue;
      if (IsFull(errno)) return 0;
      return SocketError(errno, "recvmmsg", local_address_);
    }
    for (int i = 0; i < count; ++i) {
      const mmsghdr& message = batch_->messages[i];
      if (message.msg_hdr.msg_flags & MSG_TRUNC) {
        ++counters_.oversized_received;
        continue;
      }
      ++counters_.datagrams_received;
      on_datagram(batch_->from[i], absl::MakeConstSpan(batch_->buffers[i].data(), message.msg_len));
    }
    return count;
  }
  return 0;
}

absl::StatusOr<size_t> UdpSocket::Send(absl::Span<const OutgoingDatagram> datagrams) {
  size_t done = 0;
  int interrupts = 0;
  while (done < datagrams.size()) {
    const BatchResult result = SendBatch(datagrams.subspan(done, kBatchMax));
    done += result.sent;
    counters_.datagrams_sent += result.sent;
    if (result.sent > 0) continue;
    if (IsFull(result.error)) break;
    if (result.error == EINTR && ++interrupts < kInterruptsMax) continue;
    if (!IsLossOnTheWay(result.error)) return SendError(result.error, datagrams[done]);
    // The error belongs to this datagram or to one sent before: either way the layer above repairs
    // it.
    ++counters_.unreachable;
    ++done;
  }
  return done;
}

UdpSocket::BatchResult UdpSocket::SendBatch(absl::Span<const OutgoingDatagram> datagrams) {
  for (size_t i = 0; i < datagrams.size(); ++i) {
    const OutgoingDatagram& datagram = datagrams[i];
    batch_->parts[i] = {.iov_base = const_cast<uint8_t*>(datagram.bytes.data()),
                        .iov_len = datagram.bytes.size()};
    batch_->messages[i] = {};
    msghdr& header = batch_->messages[i].msg_hdr;
    header.msg_name = const_cast<sockaddr*>(datagram.to.get());
    header.msg_namelen = datagram.to.length();
    header.msg_iov = &batch_->parts[i];
    header.msg_iovlen = 1;
  }
  const int count = sendmmsg(fd_, batch_->messages.data(), datagrams.size(), MSG_DONTWAIT);
  if (count < 0) return {.sent = 0, .error = errno};
  return {.sent = static_cast<size_t>(count), .error = 0};
}

}  // namespace perigee
