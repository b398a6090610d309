#include "runtime/control/listen_address.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace perigee {
namespace {

// 0, or the error of binding a socket as a server does.
int TryBind(const addrinfo& address) {
  const int fd = socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  // Connections of an earlier server that linger do not matter; one that listens does.
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  int error = bind(fd, address.ai_addr, address.ai_addrlen) == 0 ? 0 : errno;
  if (error == 0 && listen(fd, 1) != 0) error = errno;
  close(fd);
  return error;
}

absl::Status Explain(int error, const std::string& address, const std::string& flag) {
  switch (error) {
    case EADDRINUSE:
      return absl::AlreadyExistsError(
          absl::StrCat(address, " is in use: stop the other perigeed or choose another ", flag));
    case EADDRNOTAVAIL:
      return absl::NotFoundError(
          absl::StrCat(address, " is not an address of this machine: choose another ", flag));
    case EACCES:
      return absl::PermissionDeniedError(
          absl::StrCat(address, " needs more rights than this user has: choose a port above 1023"));
    default:
      return absl::UnavailableError(
          absl::StrCat("cannot listen on ", address, ": ", std::strerror(error)));
  }
}

}  // namespace

absl::Status CheckCanListen(const std::string& address, const std::string& flag) {
  const size_t colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  const std::string port = address.substr(colon + 1);
  if (absl::StartsWith(host, "[")) host = host.substr(1, host.size() - 2);

  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(host.c_str(), port.c_str(), &hints, &found); error != 0) {
    return absl::NotFoundError(
        absl::StrCat("the host of ", flag, " ", address, " is not known: ", gai_strerror(error)));
  }
  // "localhost" stands for several addresses: one that is in use is an error, one that this machine
  // lacks is only when it lacks them all.
  int worst = EADDRNOTAVAIL;
  bool any = false;
  for (const addrinfo* one = found; one != nullptr && worst != EADDRINUSE; one = one->ai_next) {
    const int error = TryBind(*one);
    if (error == 0) any = true;
    if (error != 0 && (worst == EADDRNOTAVAIL || error == EADDRINUSE)) worst = error;
  }
  freeaddrinfo(found);
  if (any && worst != EADDRINUSE) return absl::OkStatus();
  return Explain(worst, address, flag);
}

}  // namespace perigee
