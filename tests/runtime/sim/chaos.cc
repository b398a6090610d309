#include "tests/runtime/sim/chaos.h"

#include <algorithm>
#include <memory>

#include "tests/runtime/sim/chaos_run.h"
#include "transport/base/status.h"

namespace perigee {

Chaos::Chaos(uint64_t seed, std::ostream* transcript) : rng_(seed), world_(DrawWorld(rng_)) {
  report_.seed = seed;
  world_.durable = seed % 2 == 0;
  report_.world = ToString(world_);
  job_.workload = {.seed = seed, .roots = world_.founders};
  job_.workload.calls_per_step_max = static_cast<uint32_t>(rng_.Between(1, 4));
  if (rng_.Bernoulli(0.1)) job_.workload.count_max = 200'000;
  if (rng_.Bernoulli(0.2)) job_.workload.count_max = 2'000;
  job_.steps_in_flight_max = static_cast<uint32_t>(rng_.Between(1, 4));
  job_.think_max = world_.faults_for / static_cast<int>(rng_.Between(20, 60));
  if (world_.nodes > kSmallNodesMax) {
    job_.workload.calls_per_step_max = 1;
    job_.workload.count_max = 2'000;
    job_.think_max = world_.faults_for / 10;
  }
  if (rng_.Bernoulli(0.3)) job_.cancel = 0.02;
  if (rng_.Bernoulli(0.4)) job_.state_bytes = rng_.Below(20'000) + 1;
  judge_ = std::make_unique<Judge>(job_.workload);
  job_.judge = judge_.get();
  transcript_ = transcript;
  judge_->SetLog([this](const std::string& text) { Note(text); });
  job_.on_left = [this](NodeId node, const LeftView& left) { OnLeft(node, left); };
}

void Chaos::MakeCluster() {
  ClusterOptions options;
  options.node_count = world_.nodes;
  options.seed = rng_.Next();
  options.start_members = world_.founders;
  const uint64_t pair_seed = rng_.Next();
  options.channel_of = [world = world_, pair_seed](NodeId from, NodeId to) {
    Rng rng(pair_seed ^ (uint64_t{from.value()} << 20 | to.value()));
    ChannelSettings channel = world.channel;
    channel.link.delay = rng.Unit() * world.delay_max;
    return channel;
  };
  options.plan = DrawPlan(world_, rng_);
  report_.dark_intervals = options.plan.dark_intervals().size();
  options.power_follows_plan = true;
  options.clocks = world_.clocks;
  options.coordinator.dark_lead = absl::Seconds(1);
  options.coordinator.durable = world_.durable;
  options.control_delay = rng_.Unit() * world_.delay_max;
  options.control_jitter_max = rng_.Unit() * absl::Milliseconds(20);
  options.configure = [this](NodeOptions& node) {
    node.needs_state = job_.state_bytes > 0;
    node.chunk_bytes_min = 4 << 10;
    node.chunk_bytes_max = 64 << 10;
    node.default_link.delay = world_.delay_max;
  };
  auto cluster = Cluster::Create(options, [this](NodeId self, Node& node) {
    return std::make_unique<MemberApplication>(job_, self, node, rng_.Fork());
  });
  PERIGEE_CHECK(cluster.ok());
  cluster_ = *std::move(cluster);
}

// ---- Faults. ----

void Chaos::ScheduleFaults() {
  for (uint32_t i = 0; i < world_.nodes; ++i) {
    const bool founder = i < world_.founders;
    if (!founder) ++report_.joins;
    const absl::Duration at = founder ? Between(0, 300) : rng_.Unit() * world_.faults_for;
    After(at, [this, i, founder] {
      if (founder) return cluster_->StartNode(NodeId(i));
      cluster_->Restart(NodeId(i));
    });
  }
  for (absl::Duration at = absl::Milliseconds(500); at < world_.faults_for;
       at += rng_.Exponential(1) * world_.fault_every) {
    After(at, [this] { Fault(); });
    // The hard cases are faults in the middle of what the last one began.
    if (rng_.Bernoulli(0.25)) After(at + Between(0, 400), [this] { Fault(); });
  }
  if (world_.coordinator_stays_away) {
    After(rng_.Unit() * world_.faults_for / 2, [this] { LoseCoordinator(); });
  }
  After(world_.faults_for, [this] { Heal(); });
}

// A process that is told to go ends, and its supervisor starts it again.
void Chaos::OnLeft(NodeId node, const LeftView& left) {
  ++(left.planned ? report_.left_planned : report_.left_unplanned);
  Note(absl::StrCat("node ", node.value(), " left: ", left.reason));
  const Incarnation incarnation = cluster_->node(node)->options().incarnation;
  const bool again = left.may_rejoin;
  After(Between(0, 500), [this, node, incarnation, again] {
    Node* there = cluster_->node(node);
    if (there == nullptr || there->options().incarnation != incarnation) return;
    cluster_->Kill(node);
    if (again) cluster_->Restart(node);
  });
}

void Chaos::Count() {
  report_.trace_digest = cluster_->trace_digest();
  report_.events = cluster_->event_count();
  report_.nodes = world_.nodes;
  report_.large_worlds = world_.nodes > kSmallNodesMax ? 1 : 0;
  report_.ops = judge_->op_count();
  report_.deliveries = judge_->delivery_count();
  report_.cancelled = job_.cancelled;
  report_.root_lost = job_.root_lost;
  report_.given_up = job_.given_up;
  report_.dealt_again = job_.dealt_again;
  report_.states = job_.states_received;
  for (const auto& [epoch, proposal] : judge_->views()) {
    report_.hibernations += proposal.wakes ? 1 : 0;
    report_.woken += proposal.wakes && judge_->last_epoch() >= epoch ? 1 : 0;
    ++(proposal.planned ? report_.views_planned : report_.views_unplanned);
    if (proposal.view.ballot.proposer.value() < world_.nodes) ++report_.views_by_members;
    for (const OpDecision& decision : proposal.decisions) {
      if (decision.kind == OpDecision::Kind::kAbort) ++report_.ops_repeated;
      if (decision.kind == OpDecision::Kind::kFinish && !decision.missing.empty()) {
        ++report_.ops_redistributed;
      }
    }
  }
  report_.errors = judge_->errors();
}

ChaosReport Chaos::Run() {
  MakeCluster();
  ScheduleFaults();
  const absl::Time deadline = Cluster::Start() + world_.faults_for + kQuietLimit;
  const absl::StatusOr<bool> healed = cluster_->RunUntil(deadline, [this] { return healed_; });
  if (!healed.ok()) judge_->AddError(healed.status().ToString());
  CheckProgress();
  const absl::StatusOr<bool> quiet = cluster_->RunUntil(deadline, [this] { return Quiet(); });
  if (!quiet.ok()) {
    judge_->AddError(quiet.status().ToString());
  } else if (!*quiet) {
    CheckStuck();
    // What was cancelled ends, whatever the cluster does.
    if (!*cluster_->RunUntil(deadline + absl::Seconds(1), [this] { return Quiet(); }) &&
        report_.majority_lost == 0) {
      judge_->AddError("not quiet after everything was cancelled");
    }
  }
  CheckAcknowledged();
  CheckRecords();
  judge_->CheckAgreement();
  Count();
  return report_;
}

ChaosReport RunChaos(uint64_t seed, std::ostream* transcript) {
  return Chaos(seed, transcript).Run();
}

}  // namespace perigee
