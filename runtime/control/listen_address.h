// Says in words why an address cannot be listened on, which gRPC does not.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace perigee {

// Ok when a socket can be bound to `address` ("host:port") now. Else one line for the operator: the
// port is in use, the host has no such address, the name is not known, the port needs rights.
// `flag` is what the operator would change.
absl::Status CheckCanListen(const std::string& address, const std::string& flag = "--listen");

}  // namespace perigee
