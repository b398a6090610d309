#include "tests/collectives/message_mover.h"

#include <gtest/gtest.h>

#include <utility>

namespace perigee {
namespace {

uint64_t Fnv(const ConstRegion& region) {
  uint64_t hash = 0xcbf29ce484222325;
  for (uint8_t byte : region.body) hash = (hash ^ byte) * 0x100000001b3;
  for (uint8_t byte : region.trailer) hash = (hash ^ byte) * 0x100000001b3;
  return hash;
}

}  // namespace

NodeId NodeOf(const CollectiveOp& op) { return op.context().nodes[op.context().self.value()]; }

CollectiveOp& MessageMover::OpAt(NodeId node, const TransferKey& key) {
  return *ops_.at({node, key.op});
}

void MessageMover::Add(CollectiveOp& op) {
  const bool added = ops_.insert({{NodeOf(op), op.context().op}, &op}).second;
  PERIGEE_CHECK(added);
}

void MessageMover::Run() {
  for (auto& [id, op] : ops_) Notify(*op);
  while (!events_.empty()) {
    const size_t pick = rng_.Below(events_.size());
    std::swap(events_[pick], events_.back());
    Event event = std::move(events_.back());
    events_.pop_back();
    Happen(std::move(event));
  }
}

void MessageMover::Notify(CollectiveOp& op) {
  if (observer_) observer_(op);
  Drain(op);
}

void MessageMover::Drain(CollectiveOp& op) {
  const NodeId self = NodeOf(op);
  while (auto action = op.NextAction()) {
    if (auto* post = std::get_if<PostReceiveAction>(&*action)) {
      const TransferId id = {post->peer, self, post->key};
      EXPECT_TRUE(posted_.insert({id, post->region}).second) << "posted twice";
      Offer(id);
    } else if (auto* send = std::get_if<SendAction>(&*action)) {
      const TransferId id = {self, send->peer, send->key};
      EXPECT_TRUE(sent_.insert({id, {send->region, Fnv(send->region)}}).second) << "sent twice";
      Offer(id);
    } else {
      Event event;
      event.kind = EventKind::kReduce;
      event.op = &op;
      event.task = std::get<ReduceAction>(*action).task;
      events_.push_back(event);
    }
  }
}

void MessageMover::Offer(const TransferId& id) {
  if (!posted_.contains(id) || !sent_.contains(id)) return;
  Event event;
  event.transfer = id;
  events_.push_back(event);
}

void MessageMover::Happen(Event event) {
  const auto& [from, to, key] = event.transfer;
  switch (event.kind) {
    case EventKind::kMove:
      return Move(event.transfer);
    case EventKind::kSent: {
      const Message& message = sent_.at(event.transfer);
      EXPECT_EQ(Fnv(message.region), message.digest) << "changed before it was reported as sent";
      sent_.erase(event.transfer);
      OpAt(from, key).OnSent(to, key);
      return Notify(OpAt(from, key));
    }
    case EventKind::kReduce:
      Reduce(event.task);
      event.op->OnReduced(event.task.ticket);
      return Notify(*event.op);
  }
}

void MessageMover::Move(const TransferId& id) {
  const auto& [from, to, key] = id;
  const MutableRegion into = posted_.at(id);
  const ConstRegion message = sent_.at(id).region;
  ASSERT_EQ(into.body.size(), message.body.size());
  ASSERT_EQ(into.trailer.size(), message.trailer.size());
  message.Read(0, into.body);
  message.Read(into.body.size(), into.trailer);
  if (tamper_) tamper_(to, key, into);
  Event sent;
  sent.kind = EventKind::kSent;
  sent.transfer = id;
  events_.push_back(sent);
  OpAt(to, key).OnDelivered(from, key);
  OpAt(to, key).OnDelivered(from, key);  // stale and repeated events are harmless
  Notify(OpAt(to, key));
}

}  // namespace perigee
