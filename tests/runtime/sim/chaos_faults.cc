// What breaks in a random run.
#include <algorithm>
#include <iterator>

#include "runtime/membership.h"
#include "tests/runtime/sim/chaos_run.h"

namespace perigee {

void Chaos::Fault() {
  if (healed_) return;
  const NodeId node(static_cast<uint32_t>(rng_.Below(world_.nodes)));
  const uint64_t kind = rng_.Below(100);
  if (kind < 28) return Lose(node);
  if (kind < 32) return LoseThird();
  if (kind < 44) return Pause(node);
  if (kind < 56) return CutLink(node);
  if (kind < 63) return CutOffForAWhile();
  if (kind < 72) return DisturbControl(node);
  if (kind < 82) return DrainFor(node);
  if (kind < 86) return LeaveByPlan(node);
  if (kind < 90) return Evict(node);
  LoseCoordinator();
}

// ---- Members. ----

const View* Chaos::LatestView() {
  Epoch latest;
  for (uint32_t i = 0; i < world_.nodes; ++i) {
    const Node* node = cluster_->node(NodeId(i));
    if (node != nullptr && node->view() != nullptr) latest = std::max(latest, node->view()->epoch);
  }
  const Coordinator* coordinator = cluster_->coordinator();
  if (coordinator != nullptr && !coordinator->views().empty()) {
    latest = std::max(latest, coordinator->views().back().proposal.view.epoch);
  }
  auto it = judge_->views().upper_bound(latest);
  return it == judge_->views().begin() ? nullptr : &std::prev(it)->second.view;
}

std::optional<std::set<NodeId>> Chaos::MissingVoters() {
  const View* view = LatestView();
  if (view == nullptr) return std::nullopt;
  std::set<NodeId> missing;
  for (const Member& member : view->members) {
    Node* node = cluster_->node(member.node);
    const bool there = node != nullptr && node->options().incarnation == member.incarnation &&
                       !node->out() && !cluster_->stopped(member.node);
    if (!there) missing.insert(member.node);
  }
  return missing;
}

bool Chaos::Spare(const std::set<NodeId>& nodes) {
  const auto missing = MissingVoters();
  if (!missing.has_value()) return false;
  const View& view = *LatestView();
  std::set<NodeId> left;
  for (const Member& member : view.members) {
    if (!missing->contains(member.node) && !nodes.contains(member.node)) left.insert(member.node);
  }
  return IsQuorum(view, left);
}

void Chaos::Lose(NodeId node) {
  if (cluster_->node(node) == nullptr || !Spare({node})) return;
  if (rng_.Bernoulli(0.3)) {
    ++report_.power_offs;
    Note(absl::StrCat("power off node ", node.value()));
    cluster_->PowerOff(node);
  } else {
    ++report_.kills;
    Note(absl::StrCat("kill node ", node.value()));
    cluster_->Kill(node);
  }
  if (rng_.Bernoulli(0.25)) return;
  After(rng_.Bernoulli(0.3) ? Between(0, 50) : Between(50, 3000), [this, node] {
    if (cluster_->node(node) != nullptr) return;
    ++report_.restarts;
    Note(absl::StrCat("restart node ", node.value()));
    cluster_->Restart(node);
  });
}

// At one instant, as far as a majority is left.
void Chaos::LoseThird() {
  ++report_.thirds_lost;
  const uint32_t first = static_cast<uint32_t>(rng_.Below(world_.nodes));
  for (uint32_t i = 0; i < (world_.nodes + 2) / 3; ++i) Lose(NodeId((first + i) % world_.nodes));
}

void Chaos::Pause(NodeId node) {
  if (cluster_->node(node) == nullptr || !Spare({node})) return;
  ++report_.stops;
  Note(absl::StrCat("stop node ", node.value()));
  cluster_->Stop(node);
  After(rng_.Bernoulli(0.5) ? Between(10, 500) : Between(500, 4000), [this, node] {
    Note(absl::StrCat("continue node ", node.value()));
    cluster_->Continue(node);
  });
}

void Chaos::LeaveByPlan(NodeId node) {
  Node* there = cluster_->node(node);
  if (there == nullptr || cluster_->stopped(node) || there->view() == nullptr || !Spare({node})) {
    return;
  }
  ++report_.leaves;
  Note(absl::StrCat("node ", node.value(), " wants to leave"));
  there->Leave(cluster_->Now(node), "it has other plans");
}

// ---- The network. ----

void Chaos::CutLink(NodeId from) {
  const NodeId to(static_cast<uint32_t>(rng_.Below(world_.nodes)));
  if (from == to) return;
  ++report_.links_down;
  Note(absl::StrCat("cut ", from.value(), " to ", to.value()));
  const bool both = rng_.Bernoulli(0.5);
  cluster_->SetDown(from, to, true);
  if (both) cluster_->SetDown(to, from, true);
  After(Between(50, 2500), [this, from, to] {
    if (cut_off_.contains(from) != cut_off_.contains(to)) return;
    cluster_->SetDown(from, to, false);
    cluster_->SetDown(to, from, false);
  });
}

std::set<NodeId> Chaos::DrawMinority() {
  std::set<NodeId> nodes;
  if (world_.nodes < 2) return nodes;
  const auto size = static_cast<size_t>(rng_.Between(1, std::max(1u, (world_.nodes - 1) / 2)));
  while (nodes.size() < size) nodes.insert(NodeId(static_cast<uint32_t>(rng_.Below(world_.nodes))));
  return Spare(nodes) ? nodes : std::set<NodeId>();
}

void Chaos::SetCut(const std::set<NodeId>& nodes, bool coordinator_with_them, bool down) {
  for (uint32_t i = 0; i < world_.nodes; ++i) {
    const NodeId other(i);
    if (nodes.contains(other) != coordinator_with_them) cluster_->SetControlDown(other, down);
    if (nodes.contains(other)) continue;
    for (NodeId node : nodes) {
      cluster_->SetDown(node, other, down);
      cluster_->SetDown(other, node, down);
    }
  }
}

void Chaos::CutOffForAWhile() {
  const std::set<NodeId> nodes = DrawMinority();
  if (nodes.empty()) return;
  const bool with_them = rng_.Bernoulli(0.6);
  ++report_.partitions;
  if (with_them) ++report_.coordinator_partitions;
  Note(absl::StrCat("cut off ", nodes.size(), " nodes, the first one ", nodes.begin()->value(),
                    with_them ? ", and the coordinator" : ""));
  SetCut(nodes, with_them, true);
  After(Between(200, 5000), [this, nodes, with_them] {
    if (healed_) return;
    Note("end of a cut");
    SetCut(nodes, with_them, false);
  });
}

void Chaos::DisturbControl(NodeId node) {
  ++report_.streams_broken;
  Note(absl::StrCat("disturb the control stream of node ", node.value()));
  if (rng_.Bernoulli(0.5)) return cluster_->BreakStream(node);
  if (!Spare({node})) return;
  cluster_->SetControlDown(node, true);
  After(Between(50, 2000), [this, node] {
    if (!healed_) cluster_->SetControlDown(node, false);
  });
}

// ---- Operators. ----

void Chaos::DrainFor(NodeId node) {
  if (!Spare({node}) || !cluster_->Drain(node).ok()) return;
  ++report_.drains;
  drained_[node] = true;
  Note(absl::StrCat("drain node ", node.value()));
  After(Between(100, 4000), [this, node] { Undrain(node); });
}

// A durable coordinator keeps the drain: the operator tries until there is one.
void Chaos::Undrain(NodeId node) {
  if (cluster_->coordinator() != nullptr) {
    if (cluster_->Undrain(node).ok()) drained_[node] = false;
    return;
  }
  After(absl::Milliseconds(500), [this, node] { Undrain(node); });
}

void Chaos::Evict(NodeId node) {
  if (!Spare({node}) || cluster_->coordinator() == nullptr) return;
  const auto& view = cluster_->coordinator()->state().view;
  const Member* member = view ? view->Find(node) : nullptr;
  if (member == nullptr) return;
  const Incarnation incarnation = member->incarnation;
  if (!cluster_->Evict(node, /*force=*/false).ok()) return;
  ++report_.evictions;
  evicted_.emplace_back(node, incarnation);
  Note(absl::StrCat("evict node ", node.value()));
}

// ---- The coordinator. ----

void Chaos::LoseCoordinator() {
  if (cluster_->coordinator() == nullptr) return;
  // Nobody founds a job but the coordinator.
  const bool for_good = world_.coordinator_stays_away && !judge_->views().empty();
  ++report_.coordinator_kills;
  Note("kill the coordinator");
  CheckRecords();
  cluster_->KillCoordinator();
  if (for_good) return;
  After(Between(0, 3000), [this] { RestartCoordinator(); });
}

void Chaos::RestartCoordinator() {
  if (cluster_->coordinator() != nullptr) return;
  Note("restart the coordinator");
  cluster_->RestartCoordinator();
  // Only a durable one knows what the one before was told.
  if (world_.durable) return;
  for (auto& [node, drained] : drained_) drained = false;
  evicted_.clear();
}

// ---- The last fault. ----

void Chaos::Doom() {
  if (judge_->views().empty()) return;
  const View& view = judge_->views().rbegin()->second.view;
  const size_t dead = view.size() / 2 + 1;
  for (size_t i = 0; i < dead; ++i) cluster_->Kill(view.members[i].node);
}

void Chaos::Heal() {
  Note("heal");
  for (uint32_t i = 0; i < world_.nodes; ++i) {
    cluster_->Continue(NodeId(i));
    cluster_->SetControlDown(NodeId(i), false);
    for (uint32_t k = 0; k < world_.nodes; ++k) {
      if (i != k) cluster_->SetDown(NodeId(i), NodeId(k), false);
    }
  }
  if (!world_.coordinator_stays_away) RestartCoordinator();
  if (world_.doomed) Doom();
  // The majority has to do without them until it has shown that it can.
  if (world_.ends_cut && !world_.doomed) cut_off_ = DrawMinority();
  if (!cut_off_.empty()) {
    ++report_.ends_cut;
    Note(absl::StrCat("cut off ", cut_off_.size(), " nodes, the first one ",
                      cut_off_.begin()->value(), ", and the coordinator"));
    SetCut(cut_off_, /*coordinator_with_them=*/true, true);
  }
  furthest_at_heal_ = job_.furthest;
  job_.stop_after = StepId(job_.furthest.value() + 4);
  healed_ = true;
}

}  // namespace perigee
