#include "examples/train/faults.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace perigee {

std::string ToString(const Fault& fault) {
  switch (fault.kind) {
    case Fault::Kind::kKill:
      return absl::StrCat("SIGKILL of node ", fault.node);
    case Fault::Kind::kStop:
      return absl::StrCat("SIGSTOP of node ", fault.node);
    case Fault::Kind::kKillCoordinator:
      return "SIGKILL of perigeed";
  }
  return "";
}

Scene Scene::Demo(const TrainOptions& options, absl::Duration length) {
  Scene scene;
  const uint32_t dark = options.nodes - 1;
  const absl::Duration dark_time = std::max(absl::Seconds(3), 0.1 * length);
  // Early, so that both intervals lie inside a run that turns out twice as fast as foreseen.
  const absl::Duration first = std::max(absl::Seconds(7), 0.15 * length);
  const absl::Duration second = std::max(first + dark_time + absl::Seconds(8), 0.4 * length);
  scene.dark = {{dark, first, first + dark_time}, {dark, second, second + dark_time}};
  scene.kills = {{options.nodes / 2 - 1, options.steps * 7 / 10}};
  return scene;
}

Scene Scene::Blackout(const TrainOptions& options, absl::Duration length) {
  Scene scene{.power_follows_plan = true};
  const absl::Duration begins = std::max(absl::Seconds(7), 0.3 * length);
  for (uint32_t node = 0; node < options.nodes; ++node) {
    const absl::Duration after = absl::Milliseconds(270) * node / options.nodes;
    scene.dark.push_back({node, begins + after, begins + after + absl::Seconds(5)});
  }
  return scene;
}

FaultScript::FaultScript(const Scene& scene, const TrainOptions& options)
    : kills_(scene.kills),
      churn_(scene.churn),
      coordinator_(scene.coordinator),
      nodes_(options.nodes),
      churn_steps_(options.steps - options.steps / 4),
      rng_(options.seed) {}

std::optional<Fault> FaultScript::Next(absl::Time now, const JobState& state) {
  if (!kills_.empty() && state.step && *state.step >= kills_.front().at_step) {
    const Fault fault{.kind = Fault::Kind::kKill, .node = kills_.front().node};
    kills_.erase(kills_.begin());
    return fault;
  }
  const bool ready = churn_ ? state.whole : coordinator_ && state.coordinator_up;
  if (!ready || !state.step || *state.step >= churn_steps_) {
    due_ = absl::InfiniteFuture();
    return std::nullopt;
  }
  if (due_ == absl::InfiniteFuture()) due_ = now + DrawCalm();
  if (now < due_) return std::nullopt;
  due_ = absl::InfiniteFuture();
  return churn_ ? Draw() : DrawOfCoordinator();
}

absl::Duration FaultScript::DrawCalm() {
  if (churn_) return rng_.Unit() * kCalmMax;
  // While it takes its members back, or later.
  return rng_.Bernoulli(0.4) ? rng_.Unit() * kShortLifeMax : rng_.Unit() * kLifeMax;
}

Fault FaultScript::DrawOfCoordinator() {
  Fault fault{.kind = Fault::Kind::kKillCoordinator};
  // Short, so that it is back within a lease; or long enough for members to act for it.
  fault.away = rng_.Unit() * (rng_.Bernoulli(0.1) ? kLongAwayMax : kAwayMax);
  if (rng_.Bernoulli(0.2)) fault.start_killed_after = rng_.Unit() * kStartMax;
  return fault;
}

Fault FaultScript::Draw() {
  const uint64_t kind = rng_.Below(5);
  if (kind == 4) return {.kind = Fault::Kind::kKillCoordinator};
  return {.kind = kind < 2 ? Fault::Kind::kKill : Fault::Kind::kStop,
          .node = static_cast<uint32_t>(rng_.Below(nodes_))};
}

void FaultLog::OnFault(absl::Time now, const Fault& fault, const JobState& state) {
  records_.push_back({.fault = fault, .step = state.step.value_or(0), .at = now, .epoch = epoch_});
  longest_ = absl::ZeroDuration();
  last_step_ = now;
}

const FaultRecord* FaultLog::OnStep(absl::Time now, uint64_t epoch) {
  epoch_ = std::max(epoch_, epoch);
  longest_ = std::max(longest_, now - last_step_);
  last_step_ = now;
  FaultRecord* open = Open();
  if (open == nullptr || open->fault.kind == Fault::Kind::kKillCoordinator) return nullptr;
  if (epoch <= open->epoch) return nullptr;
  open->pause = now - open->at;
  return open;
}

const FaultRecord* FaultLog::OnCoordinatorBack(absl::Time now) {
  FaultRecord* open = Open();
  if (open == nullptr || open->fault.kind != Fault::Kind::kKillCoordinator) return nullptr;
  open->pause = std::max(longest_, now - last_step_);
  return open;
}

FaultRecord* FaultLog::Open() {
  return records_.empty() || records_.back().pause ? nullptr : &records_.back();
}

}  // namespace perigee
