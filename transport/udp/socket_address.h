// Where a UDP socket is: an IPv4 or IPv6 address with a port, as a small value.
//
//   PERIGEE_ASSIGN_OR_RETURN(SocketAddress peer, SocketAddress::Resolve("127.0.0.1:7000"));
//   peer.ToString()  // "127.0.0.1:7000"; IPv6 as "[::1]:7000"
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace perigee {

class SocketAddress {
 public:
  SocketAddress() = default;

  // "host:port" with a name, an IPv4 address or an IPv6 address in brackets. May ask the name
  // service and so block: for start-up and membership changes, not per packet. InvalidArgument for
  // another form; NotFound where the name does not resolve. `family` (AF_INET, AF_INET6) restricts
  // the answer; with AF_INET6, IPv4 hosts come out in the mapped form that a dual-stack socket
  // sends to.
  static absl::StatusOr<SocketAddress> Resolve(absl::string_view host_and_port,
                                               int family = AF_UNSPEC);

  std::string ToString() const;
  int family() const { return address_.any.sa_family; }
  uint16_t port() const;

  // For system calls. The length of an empty address is that of the whole buffer, to be filled by
  // one.
  const sockaddr* get() const { return &address_.any; }
  sockaddr* mutable_get() { return &address_.any; }
  socklen_t length() const;

  friend bool operator==(const SocketAddress& a, const SocketAddress& b);

 private:
  union {
    sockaddr any;
    sockaddr_in v4;
    sockaddr_in6 v6;
  } address_ = {.v6 = {}};
};

}  // namespace perigee
