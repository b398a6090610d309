// The training state on its way from a live peer to a newcomer: chunks over the Perigee transport,
// each with a digest, in the lowest traffic class. A core; the Node passes transport events on.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "transport/base/ids.h"
#include "transport/endpoint.h"

namespace perigee {

// The op id of state transfers: no collective has it. With the epoch of the join it names one
// transfer.
constexpr OpId kStateOp = OpId(UINT64_MAX);

class StateTransfer {
 public:
  static constexpr size_t kChunkBytes = 1 << 20;

  // Both ends know the size (the program and its model are the same). `bytes` stays valid until
  // Finished, Forget or Clear.
  absl::Status Send(absl::Time now, Endpoint& endpoint, Epoch epoch, NodeId to,
                    absl::Span<const uint8_t> bytes);
  absl::Status Receive(absl::Time now, Endpoint& endpoint, Epoch epoch, NodeId from,
                       absl::Span<uint8_t> bytes);

  // True when this transfer is over: `to` has everything.
  bool OnSent(NodeId to, const TransferKey& key);
  // A status when the whole state is here: OK, or DataLoss naming the chunk and the peer.
  std::optional<absl::Status> OnDelivered(NodeId from, const TransferKey& key);
  // Gives up what is on its way to `to`, which is gone; its next life may be sent the state anew.
  void Forget(Endpoint& endpoint, NodeId to);
  // Gives everything up; the memory of the transfers is free on return.
  void Clear(Endpoint& endpoint);

 private:
  using ChunkDigest = std::array<uint8_t, 8>;  // XXH3-64 of the chunk, little-endian: the trailer
  struct Outgoing {
    Epoch epoch;
    std::vector<ChunkDigest> digests;
    size_t pending = 0;
  };
  struct Incoming {
    Epoch epoch;
    NodeId from;
    absl::Span<uint8_t> bytes;
    std::vector<ChunkDigest> digests;
    size_t pending = 0;
  };

  std::map<NodeId, Outgoing> outgoing_;
  std::optional<Incoming> incoming_;
};

}  // namespace perigee
