#include "tests/runtime/sim/chaos.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <set>

#include "absl/strings/str_cat.h"
#include "runtime/membership.h"
#include "runtime/sim/cluster.h"
#include "tests/runtime/sim/chaos_world.h"
#include "tests/runtime/sim/member_application.h"
#include "tests/runtime/sim/workload.h"
#include "transport/base/rng.h"

namespace perigee {
namespace {

// After the last fault everything must come to an end within this time.
constexpr absl::Duration kQuietLimit = absl::Seconds(180);

class Chaos {
 public:
  Chaos(uint64_t seed, std::ostream* transcript);
  ChaosReport Run();

 private:
  void MakeCluster();
  void ScheduleFaults();
  void Fault();
  void Lose(NodeId node);
  void Pause(NodeId node);
  void CutLink(NodeId from);
  void DisturbControl(NodeId node);
  void DrainFor(NodeId node);
  void Undrain(NodeId node);
  void LoseCoordinator();
  void Doom();
  void Heal();
  void OnLeft(NodeId node, const LeftView& left);
  bool Quiet();
  void CheckStuck();
  void Count();
  std::optional<std::set<NodeId>> MissingVoters();
  bool Spare(NodeId node);
  MemberApplication* ApplicationOf(NodeId node) {
    return static_cast<MemberApplication*>(cluster_->application(node));
  }
  absl::Duration Between(int low_ms, int high_ms) {
    return absl::Milliseconds(rng_.Between(low_ms, high_ms));
  }
  void Note(const std::string& text) {
    if (transcript_ == nullptr) return;
    *transcript_ << absl::FormatDuration(cluster_->now() - Cluster::Start()) << " " << text << "\n";
  }
  void After(absl::Duration delay, std::function<void()> script) {
    cluster_->At(cluster_->now() + delay, std::move(script));
  }

  std::ostream* transcript_ = nullptr;
  Rng rng_;
  ChaosWorld world_;
  ChaosReport report_;
  Job job_;
  std::unique_ptr<Judge> judge_;
  std::unique_ptr<Cluster> cluster_;
  bool healed_ = false;
};

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

void Chaos::Fault() {
  const NodeId node(static_cast<uint32_t>(rng_.Below(world_.nodes)));
  const uint64_t kind = rng_.Below(100);
  if (kind < 35) return Lose(node);
  if (kind < 50) return Pause(node);
  if (kind < 65) return CutLink(node);
  if (kind < 75) return DisturbControl(node);
  if (kind < 88) return DrainFor(node);
  LoseCoordinator();
}

// Whether the view keeps its majority without the node; a run in which it is lost early shows
// little.
bool Chaos::Spare(NodeId node) {
  const auto missing = MissingVoters();
  if (!missing.has_value()) return false;
  const View& view = judge_->views().rbegin()->second.view;
  std::set<NodeId> left;
  for (const Member& member : view.members) {
    if (!missing->contains(member.node) && member.node != node) left.insert(member.node);
  }
  return IsQuorum(view, left);
}

void Chaos::Lose(NodeId node) {
  if (cluster_->node(node) == nullptr || !Spare(node)) return;
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

void Chaos::Pause(NodeId node) {
  if (cluster_->node(node) == nullptr || !Spare(node)) return;
  ++report_.stops;
  Note(absl::StrCat("stop node ", node.value()));
  cluster_->Stop(node);
  After(rng_.Bernoulli(0.5) ? Between(10, 500) : Between(500, 4000), [this, node] {
    Note(absl::StrCat("continue node ", node.value()));
    cluster_->Continue(node);
  });
}

void Chaos::CutLink(NodeId from) {
  const NodeId to(static_cast<uint32_t>(rng_.Below(world_.nodes)));
  if (from == to) return;
  ++report_.links_down;
  Note(absl::StrCat("cut ", from.value(), " to ", to.value()));
  cluster_->SetDown(from, to, true);
  if (rng_.Bernoulli(0.5)) cluster_->SetDown(to, from, true);
  After(Between(50, 2500), [this, from, to] {
    cluster_->SetDown(from, to, false);
    cluster_->SetDown(to, from, false);
  });
}

void Chaos::DisturbControl(NodeId node) {
  ++report_.streams_broken;
  Note(absl::StrCat("disturb the control stream of node ", node.value()));
  if (rng_.Bernoulli(0.5)) return cluster_->BreakStream(node);
  if (!Spare(node)) return;
  cluster_->SetControlDown(node, true);
  After(Between(50, 2000), [this, node] { cluster_->SetControlDown(node, false); });
}

void Chaos::DrainFor(NodeId node) {
  if (!Spare(node) || !cluster_->Drain(node).ok()) return;
  ++report_.drains;
  Note(absl::StrCat("drain node ", node.value()));
  After(Between(100, 4000), [this, node] { Undrain(node); });
}

// A durable coordinator keeps the drain: the operator tries until there is one.
void Chaos::Undrain(NodeId node) {
  if (cluster_->coordinator() != nullptr) return cluster_->Undrain(node).IgnoreError();
  After(absl::Milliseconds(500), [this, node] { Undrain(node); });
}

void Chaos::LoseCoordinator() {
  if (cluster_->coordinator() == nullptr) return;
  // Nobody founds a job but the coordinator.
  const bool for_good = world_.coordinator_stays_away && !judge_->views().empty();
  ++report_.coordinator_kills;
  Note("kill the coordinator");
  cluster_->KillCoordinator();
  if (for_good) return;
  After(Between(0, 3000), [this] {
    if (cluster_->coordinator() != nullptr) return;
    Note("restart the coordinator");
    cluster_->RestartCoordinator();
  });
}

void Chaos::Doom() {
  if (judge_->views().empty()) return;
  const View& view = judge_->views().rbegin()->second.view;
  const size_t dead = view.size() / 2 + 1;
  for (size_t i = 0; i < dead; ++i) cluster_->Kill(view.members[i].node);
}

void Chaos::Heal() {
  healed_ = true;
  Note("heal");
  for (uint32_t i = 0; i < world_.nodes; ++i) {
    cluster_->Continue(NodeId(i));
    cluster_->SetControlDown(NodeId(i), false);
    for (uint32_t k = 0; k < world_.nodes; ++k) {
      if (i != k) cluster_->SetDown(NodeId(i), NodeId(k), false);
    }
  }
  if (cluster_->coordinator() == nullptr && !world_.coordinator_stays_away) {
    cluster_->RestartCoordinator();
  }
  if (world_.doomed) Doom();
  job_.stop_after = StepId(job_.furthest.value() + 4);
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

// ---- The end. ----

bool Chaos::Quiet() {
  if (!healed_) return false;
  for (uint32_t i = 0; i < world_.nodes; ++i) {
    if (cluster_->node(NodeId(i)) != nullptr && !ApplicationOf(NodeId(i))->Idle()) return false;
  }
  return true;
}

// Members of the latest view that are not there any more; nothing before the first view.
std::optional<std::set<NodeId>> Chaos::MissingVoters() {
  if (judge_->views().empty()) return std::nullopt;
  std::set<NodeId> missing;
  for (const Member& member : judge_->views().rbegin()->second.view.members) {
    Node* node = cluster_->node(member.node);
    const bool there = node != nullptr && node->options().incarnation == member.incarnation &&
                       !node->out() && !cluster_->stopped(member.node);
    if (!there) missing.insert(member.node);
  }
  return missing;
}

// Nothing went on. That is right only where a majority is lost, and then every op says who is
// missing.
void Chaos::CheckStuck() {
  const auto missing = MissingVoters();
  bool quorum = true;
  if (missing.has_value()) {
    const View& view = judge_->views().rbegin()->second.view;
    std::set<NodeId> there;
    for (const Member& member : view.members) {
      if (!missing->contains(member.node)) there.insert(member.node);
    }
    quorum = IsQuorum(view, there);
  }
  if (!quorum) ++report_.majority_lost;
  for (uint32_t i = 0; i < world_.nodes; ++i) {
    Node* node = cluster_->node(NodeId(i));
    if (node == nullptr) continue;
    if (const Coordinator* acting = node->deputy().acting()) {
      Note(absl::StrCat("node ", i, " acts for the coordinator:", EventLines(*acting)));
    }
    for (OpId op : ApplicationOf(NodeId(i))->RunningOps()) {
      const std::string text = node->Describe(cluster_->Now(NodeId(i)), op);
      const bool named =
          missing.has_value() && std::any_of(missing->begin(), missing->end(), [&](NodeId lost) {
            return text.find(absl::StrCat("node ", lost.value())) != text.npos;
          });
      if (quorum || !named) judge_->AddError(absl::StrCat("node ", i, " hangs: ", text));
    }
    if (quorum && !ApplicationOf(NodeId(i))->Idle()) {
      judge_->AddError(absl::StrCat("node ", i, " hangs at step ",
                                    ApplicationOf(NodeId(i))->next_step().value(),
                                    node->view() ? " in " + ToString(*node->view()) : ""));
    }
    ApplicationOf(NodeId(i))->CancelAll(cluster_->Now(NodeId(i)));
  }
}

void Chaos::Count() {
  report_.trace_digest = cluster_->trace_digest();
  report_.events = cluster_->event_count();
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
  judge_->CheckAgreement();
  Count();
  return report_;
}

}  // namespace

ChaosReport RunChaos(uint64_t seed, std::ostream* transcript) {
  return Chaos(seed, transcript).Run();
}

}  // namespace perigee
