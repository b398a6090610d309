// The selftest's own traffic: UDP sockets on every node of an emulation, and numbered probes.
// Times are of the real clock, in which the kernel stamps what it receives.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "bench/linkemu/emulator_thread.h"
#include "bench/linkemu/file_descriptor.h"
#include "bench/linkemu/network.h"
#include "bench/linkemu/node_namespace.h"

namespace perigee::linkemu {

// What every probe packet carries, in the byte order of this machine.
struct Probe {
  static constexpr uint32_t kMark = 0x70657269;

  uint32_t mark = kMark;
  uint16_t from = 0;
  uint16_t to = 0;
  uint64_t number = 0;
  int64_t sent_ns = 0;
};

// From one node to another: `count` probes numbered from `first`, each an IP packet of
// `packet_bytes` on the wire, handed to the kernel as one super-packet.
struct ProbeBurst {
  static constexpr uint32_t kCountMax = 60;  // kernels take 64 or 128

  int from = 0;
  int to = 0;
  uint64_t first = 0;
  uint32_t count = 1;
  uint32_t packet_bytes = 128;
};

class ProbeSockets {
 public:
  static constexpr uint32_t kPacketBytesMin = 28 + sizeof(Probe);
  // Unit: one probe. `received` is the kernel's time stamp.
  using OnProbe = absl::FunctionRef<void(const Probe& probe, absl::Time received)>;

  static absl::StatusOr<ProbeSockets> Open(const std::vector<NodeNamespace>& nodes);

  // Thread-safe, beside Receive too, which one thread at a time may call. A burst that the kernel
  // does not take is an error: it would look like loss.
  absl::Status Send(const ProbeBurst& burst) const;
  // Hands on what has arrived, if it is not very much all of it. kFirsts: of packets that arrived
  // together only the first, and the rest is counted without being copied; returns how many probes
  // there were.
  enum class Depth { kEvery, kFirsts };
  size_t Receive(Depth depth, OnProbe on_probe);
  // Receives until nothing came for `quiet`, or for all of `length` whatever comes.
  size_t ReceiveUntilQuiet(absl::Duration quiet, Depth depth, OnProbe on_probe);
  size_t ReceiveFor(absl::Duration length, Depth depth, OnProbe on_probe);
  // Probes that arrived at a socket which had no room for them: not the network's loss.
  uint64_t overflowed() const { return overflowed_; }

 private:
  // False: nothing came within `wait`.
  bool WaitForProbes(absl::Duration wait) const;
  size_t ReceiveAt(int socket, Depth depth, OnProbe on_probe);

  std::vector<FileDescriptor> sockets_;
  std::vector<uint32_t> overflow_counts_;
  uint64_t overflowed_ = 0;
  std::vector<uint8_t> receive_buffer_;
};

// A running emulation with probes.
struct Testbed {
  Network network;
  std::vector<NodeNamespace> nodes;
  std::unique_ptr<EmulatorThread> emulator;
  ProbeSockets sockets;

  static absl::StatusOr<Testbed> Create(Network network, uint64_t seed);
  absl::Status Change(int from, int to, const LinkChange& change);
  // Wire packets that the links were handed so far, and those of them that will not arrive.
  uint64_t PacketsFetched() const;
  uint64_t PacketsLost() const;
  // Packets that a node's device dropped so far, over all nodes.
  uint64_t DeviceDropped() const;
};

}  // namespace perigee::linkemu
