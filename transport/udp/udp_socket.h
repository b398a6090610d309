// A non-blocking UDP socket that moves datagrams in batches: one system call per 64 of them, no
// allocation per packet. Thread-compatible: one loop thread uses it.
//
//   PERIGEE_ASSIGN_OR_RETURN(auto socket, UdpSocket::Create("127.0.0.1:0"));
//   socket->Receive([&](const SocketAddress& from, absl::Span<const uint8_t> bytes) { ... });
//   OutgoingDatagram out[] = {{peer, bytes}};
//   PERIGEE_ASSIGN_OR_RETURN(size_t sent, socket->Send(out));  // the rest after poll says writable
//
// What the network does to a datagram is no error of the socket: an unreachable or refusing peer is
// a lossy link to the layer above, which repairs it or declares the peer silent. Such datagrams are
// only counted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "transport/udp/socket_address.h"

namespace perigee {

struct OutgoingDatagram {
  SocketAddress to;
  absl::Span<const uint8_t> bytes;
};

// Monotonic since Create.
struct UdpCounters {
  uint64_t datagrams_sent = 0;
  uint64_t datagrams_received = 0;
  uint64_t unreachable = 0;         // the kernel had no way to the destination: counts as lost
  uint64_t oversized_received = 0;  // longer than kDatagramBytesMax: thrown away, not handed up cut
};

class UdpSocket {
 public:
  static constexpr size_t kBatchMax = 64;
  // The payload of a jumbo frame; what is longer is not ours.
  static constexpr size_t kDatagramBytesMax = 9216;
  static constexpr int kBufferBytes = 4 << 20;

  using ReceiveFunction =
      absl::FunctionRef<void(const SocketAddress& from, absl::Span<const uint8_t> bytes)>;

  // Binds to "host:port"; port 0 picks a free one. AlreadyExists where the port is in use,
  // FailedPrecondition where the address is not of this machine, PermissionDenied for low ports;
  // the errors of SocketAddress::Resolve. Asks for kBufferBytes both ways; the kernel may grant
  // less (rmem_max).
  static absl::StatusOr<std::unique_ptr<UdpSocket>> Create(absl::string_view address);
  ~UdpSocket();
  UdpSocket(const UdpSocket&) = delete;
  UdpSocket& operator=(const UdpSocket&) = delete;

  // An address of a peer in this socket's family (an IPv6 socket also reaches IPv4 hosts). May
  // block.
  absl::StatusOr<SocketAddress> Resolve(absl::string_view host_and_port) const;

  // Hands at most kBatchMax waiting datagrams to `on_datagram`; the bytes are valid during the call
  // only. Returns how many left the kernel, oversized ones included: below kBatchMax, nothing more
  // was waiting.
  absl::StatusOr<size_t> Receive(ReceiveFunction on_datagram);

  // Sends in order. Returns how many are done: fewer than given where the kernel's buffer is full,
  // and then the caller waits for POLLOUT. InvalidArgument for a datagram that is too long for UDP.
  absl::StatusOr<size_t> Send(absl::Span<const OutgoingDatagram> datagrams);

  int fd() const { return fd_; }  // for poll
  const SocketAddress& local_address() const { return local_address_; }
  const UdpCounters& counters() const { return counters_; }
  // What the kernel granted, in the kernel's count (which includes its own overhead).
  int receive_buffer_bytes() const { return receive_buffer_bytes_; }

 private:
  struct Batch;
  struct BatchResult {
    size_t sent = 0;
    int error = 0;  // an errno, of the first datagram, when none was sent
  };

  UdpSocket(int fd, const SocketAddress& local_address, int receive_buffer_bytes);
  BatchResult SendBatch(absl::Span<const OutgoingDatagram> datagrams);

  int fd_;
  SocketAddress local_address_;
  int receive_buffer_bytes_;
  UdpCounters counters_;
  std::unique_ptr<Batch> batch_;
};

}  // namespace perigee
