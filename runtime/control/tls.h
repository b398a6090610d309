// Our credentials as gRPC wants them, and who is at the other end of a call.
//
// The coordinator asks every peer for its certificate and checks it itself when the TLS handshake
// is done and before the first byte of HTTP/2: the connection of whoever has none that is good is
// closed, and counted with its cause, which a check inside TLS would hide.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "runtime/control/authorization.h"
#include "runtime/control/credentials.h"
#include "runtime/control/refusals.h"

namespace perigee {

// To a coordinator at `address`; in the open without `mine`. Its certificate must be the
// coordinator's, whatever its address is called.
std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address,
                                           const std::optional<Credentials>& mine,
                                           grpc::ChannelArguments arguments);

// Refusals are shared with gRPC's threads, which may look at a last certificate while the server
// ends.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(
    const std::optional<Credentials>& mine, std::shared_ptr<Refusals> refusals);

struct Peer {
  std::string name;          // the common name of its certificate; empty without one
  std::optional<Role> role;  // none without TLS
  std::string host;          // without the port
};
Peer PeerOf(const grpc::ServerContextBase& context);
// "operator 'alice' at 10.0.0.5"; "somebody at 10.0.0.5" without TLS.
std::string ToString(const Peer& peer);

grpc::Status ToGrpc(const absl::Status& status);

}  // namespace perigee
