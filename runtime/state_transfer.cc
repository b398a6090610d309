#include "runtime/state_transfer.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "transport/base/status.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace perigee {
namespace {

TransferKey KeyOf(Epoch epoch, size_t chunk) {
  return {.epoch = epoch,
          .op = kStateOp,
          .chunk = ChunkId(static_cast<uint32_t>(chunk)),
          .phase = Phase::kBroadcast};
}

// At least one chunk, so that an empty state is a transfer like any other.
size_t ChunkCount(size_t bytes) {
  return std::max<size_t>(1, (bytes + StateTransfer::kChunkBytes - 1) / StateTransfer::kChunkBytes);
}

template <typename T>
absl::Span<T> ChunkOf(absl::Span<T> bytes, size_t chunk) {
  return bytes.subspan(chunk * StateTransfer::kChunkBytes, StateTransfer::kChunkBytes);
}

std::array<uint8_t, 8> DigestOf(absl::Span<const uint8_t> chunk) {
  const uint64_t hash = XXH3_64bits(chunk.data(), chunk.size());
  std::array<uint8_t, 8> digest;
  for (int i = 0; i < 8; ++i) digest[i] = static_cast<uint8_t>(hash >> (8 * i));
  return digest;
}

}  // namespace

absl::Status StateTransfer::Send(absl::Time now, Endpoint& endpoint, Epoch epoch, NodeId to,
                                 absl::Span<const uint8_t> bytes) {
  if (outgoing_.contains(to)) {
    return absl::AlreadyExistsError(
        absl::StrCat("the state is already on its way to node ", to.value()));
  }
  Outgoing& out = outgoing_[to];
  out = {.epoch = epoch, .pending = ChunkCount(bytes.size())};
  out.digests.resize(out.pending);
  for (size_t i = 0; i < out.digests.size(); ++i) {
    const absl::Span<const uint8_t> chunk = ChunkOf(bytes, i);
    out.digests[i] = DigestOf(chunk);
    PERIGEE_RETURN_IF_ERROR(
        endpoint.Send(now, to, KeyOf(epoch, i), {chunk, out.digests[i]}, TrafficClass::kState));
  }
  return absl::OkStatus();
}

absl::Status StateTransfer::Receive(absl::Time now, Endpoint& endpoint, Epoch epoch, NodeId from,
                                    absl::Span<uint8_t> bytes) {
  if (incoming_) {
    return absl::AlreadyExistsError(
        absl::StrCat("the state is already coming from node ", incoming_->from.value()));
  }
  const size_t count = ChunkCount(bytes.size());
  incoming_ = {.epoch = epoch, .from = from, .bytes = bytes, .pending = count};
  incoming_->digests.resize(count);
  for (size_t i = 0; i < count; ++i) {
    PERIGEE_RETURN_IF_ERROR(endpoint.PostReceive(
        now, from, KeyOf(epoch, i), {ChunkOf(bytes, i), absl::MakeSpan(incoming_->digests[i])}));
  }
  return absl::OkStatus();
}

bool StateTransfer::OnSent(NodeId to, const TransferKey& key) {
  auto it = outgoing_.find(to);
  if (it == outgoing_.end() || it->second.epoch != key.epoch) return false;
  if (--it->second.pending > 0) return false;
  outgoing_.erase(it);
  return true;
}

std::optional<absl::Status> StateTransfer::OnDelivered(NodeId from, const TransferKey& key) {
  if (!incoming_ || incoming_->epoch != key.epoch || incoming_->from != from) return std::nullopt;
  const size_t chunk = key.chunk.value();
  if (DigestOf(ChunkOf(incoming_->bytes, chunk)) != incoming_->digests[chunk]) {
    return absl::DataLossError(absl::StrCat("state chunk ", chunk, " from node ", from.value(),
                                            ": its digest does not match"));
  }
  if (--incoming_->pending > 0) return std::nullopt;
  incoming_.reset();
  return absl::OkStatus();
}

void StateTransfer::Forget(Endpoint& endpoint, NodeId to) {
  auto it = outgoing_.find(to);
  if (it == outgoing_.end()) return;
  const Outgoing& out = it->second;
  for (size_t i = 0; i < out.digests.size(); ++i) endpoint.CancelSend(to, KeyOf(out.epoch, i));
  outgoing_.erase(it);
}

void StateTransfer::Clear(Endpoint& endpoint) {
  while (!outgoing_.empty()) Forget(endpoint, outgoing_.begin()->first);
  if (!incoming_) return;
  for (size_t i = 0; i < incoming_->digests.size(); ++i) {
    endpoint.CancelReceive(incoming_->from, KeyOf(incoming_->epoch, i));
  }
  incoming_.reset();
}

}  // namespace perigee
