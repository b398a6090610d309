#include "transport/udp/socket_address.h"

#include <arpa/inet.h>
#include <netdb.h>

#include <cstring>
#include <memory>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

struct HostAndPort {
  std::string host;
  std::string port;
};

absl::StatusOr<HostAndPort> Split(absl::string_view text) {
  const size_t colon = text.rfind(':');
  absl::string_view host = text.substr(0, colon);
  uint32_t port = 0;
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (colon == absl::string_view::npos || host.empty() ||
      !absl::SimpleAtoi(text.substr(colon + 1), &port) || port > 0xffff ||
      (!bracketed && host.find_first_of(":[]") != absl::string_view::npos)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "address '", text, "' is not of the form HOST:PORT, e.g. 127.0.0.1:7000 or [::1]:7000"));
  }
  if (bracketed) host = host.substr(1, host.size() - 2);
  return HostAndPort{.host = std::string(host), .port = absl::StrCat(port)};
}

}  // namespace

absl::StatusOr<SocketAddress> SocketAddress::Resolve(absl::string_view host_and_port, int family) {
  PERIGEE_ASSIGN_OR_RETURN(const HostAndPort split, Split(host_and_port));
  addrinfo hints = {};
  hints.ai_family = family;
  hints.ai_socktype = SOCK_DGRAM;
  hints.ai_flags = AI_NUMERICSERV | (family == AF_INET6 ? AI_V4MAPPED : 0);
  addrinfo* found = nullptr;
  const int error = getaddrinfo(split.host.c_str(), split.port.c_str(), &hints, &found);
  if (error != 0) {
    return absl::NotFoundError(absl::StrCat("address '", host_and_port,
                                            "' does not resolve: ", gai_strerror(error),
                                            "; check the host name or give an IP address"));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, &freeaddrinfo);
  SocketAddress result;
  PERIGEE_CHECK(found->ai_addrlen <= sizeof(result.address_));
  std::memcpy(&result.address_, found->ai_addr, found->ai_addrlen);
  return result;
}

uint16_t SocketAddress::port() const {
  return ntohs(family() == AF_INET ? address_.v4.sin_port : address_.v6.sin6_port);
}

socklen_t SocketAddress::length() const {
  return family() == AF_INET ? sizeof(address_.v4) : sizeof(address_.v6);
}

std::string SocketAddress::ToString() const {
  char host[INET6_ADDRSTRLEN] = "?";
  if (family() == AF_INET) {
    inet_ntop(AF_INET, &address_.v4.sin_addr, host, sizeof(host));
    return absl::StrCat(host, ":", port());
  }
  inet_ntop(AF_INET6, &address_.v6.sin6_addr, host, sizeof(host));
  return absl::StrCat("[", host, "]:", port());
}

bool operator==(const SocketAddress& a, const SocketAddress& b) {
  if (a.family() != b.family() || a.port() != b.port()) return false;
  if (a.family() == AF_INET) {
    return a.address_.v4.sin_addr.s_addr == b.address_.v4.sin_addr.s_addr;
  }
  return a.address_.v6.sin6_scope_id == b.address_.v6.sin6_scope_id &&
         std::memcmp(&a.address_.v6.sin6_addr, &b.address_.v6.sin6_addr, sizeof(in6_addr)) == 0;
}

}  // namespace perigee
