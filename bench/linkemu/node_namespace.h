// The network namespace of one emulated node with the TUN device that is its only way out.
//
// Namespaces have no name and no file: they live while a descriptor or a process holds them. When
// the emulator dies, however it dies, the kernel takes them down with their devices.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "bench/linkemu/file_descriptor.h"

namespace perigee::linkemu {

struct NodeNamespace {
  FileDescriptor ns;   // for RunIn and setns
  FileDescriptor tun;  // nonblocking; frames as in packet.h
};

struct NodeNetworkSettings {
  std::string congestion;  // TCP congestion control; empty: the system's
  // Largest automatic TCP buffer, each way (tcp_rmem, tcp_wmem).
  uint64_t socket_buffer_bytes_max = uint64_t{64} << 20;
};

inline constexpr const char* kDeviceName = "link0";

// Makes sure that this process may create network namespaces: nothing to do for root; others enter
// a user namespace of their own, in which they are root. The process must have one thread.
// PermissionDenied says what would have to change.
absl::Status PrepareNamespaces();

// A namespace with loopback and kDeviceName up, node `index`'s addresses (address_plan.h) and an
// MTU of 1500. After PrepareNamespaces. PermissionDenied and NotFound say what is missing.
absl::StatusOr<NodeNamespace> CreateNode(int index, const NodeNetworkSettings& settings);

// Runs `action` on a thread of its own inside the namespace and waits for it: sockets made there
// belong to the node, whoever uses them.
absl::Status RunIn(const NodeNamespace& node, const std::function<absl::Status()>& action);

// Packets that the node's own device dropped because the emulator did not fetch them in time. A
// figure measured while this grows is not the network's.
absl::StatusOr<uint64_t> DeviceDrops(const NodeNamespace& node);

}  // namespace perigee::linkemu
