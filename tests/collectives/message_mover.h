// Runs several CollectiveOps of one or more collectives to their end without a transport: actions
// are taken, messages are moved, reductions are executed and events are reported in a random order.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <tuple>
#include <vector>

#include "collectives/collective_op.h"
#include "transport/base/rng.h"

namespace perigee {

class MessageMover {
 public:
  explicit MessageMover(uint64_t seed) : rng_(seed) {}

  // Called with each message as it arrives, to damage it.
  using Tamper = std::function<void(NodeId to, const TransferKey& key, MutableRegion message)>;
  void set_tamper(Tamper tamper) { tamper_ = std::move(tamper); }
  // Called after every event of an op.
  void set_observer(std::function<void(CollectiveOp&)> observer) {
    observer_ = std::move(observer);
  }

  // The op is at node op.context().nodes[self]; one op per (OpId, node).
  void Add(CollectiveOp& op);
  // Until nothing can happen any more.
  void Run();

 private:
  using TransferId = std::tuple<NodeId, NodeId, TransferKey>;  // from, to
  struct Message {
    ConstRegion region;
    uint64_t digest = 0;  // of the bytes when they were offered
  };
  enum class EventKind { kMove, kSent, kReduce };
  struct Event {
    EventKind kind = EventKind::kMove;
    TransferId transfer;
    CollectiveOp* op = nullptr;  // kReduce
    ReduceTask task;
  };

  CollectiveOp& OpAt(NodeId node, const TransferKey& key);
  void Drain(CollectiveOp& op);
  void Offer(const TransferId& id);
  void Happen(Event event);
  void Move(const TransferId& id);
  void Notify(CollectiveOp& op);

  Rng rng_;
  Tamper tamper_;
  std::function<void(CollectiveOp&)> observer_;
  std::map<std::pair<NodeId, OpId>, CollectiveOp*> ops_;
  std::map<TransferId, MutableRegion> posted_;
  std::map<TransferId, Message> sent_;
  std::vector<Event> events_;
};

NodeId NodeOf(const CollectiveOp& op);

}  // namespace perigee
