// What the members of a run say, line by line, and what comes of it.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "examples/train/job_run.h"

namespace perigee {

void JobRun::OnLine(uint32_t node, const std::string& line) {
  const nlohmann::json json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return;
  const std::string type = json.value("type", "");
  if (type == "step") {
    OnStep(node, json);
  } else if (type == "notice") {
    OnNotice(node, json);
  } else if (type == "result") {
    result_.digests[node] = json.value("digest", "");
    result_.packets_lost += json.value("packets_lost", uint64_t{0});
    result_.packets_repaired += json.value("packets_repaired", uint64_t{0});
  }
}

void JobRun::OnStep(uint32_t node, const nlohmann::json& json) {
  const uint64_t step = json.value("step", uint64_t{0});
  if (step >= options_.steps) return;
  const double loss = json.value("loss", 0.0);
  known_views_.OnStep(json.value("epoch", uint64_t{0}), json.value("view", ""));
  const auto [it, first] = contributions_.try_emplace(step, json.value("contributions", 0u));
  if (!first) {
    result_.losses_agree &=
        loss == result_.losses[step] && it->second == json.value("contributions", 0u);
    return;
  }
  const absl::Time now = absl::Now();
  if (first_step_at_ != absl::InfiniteFuture()) {
    result_.longest_step = std::max(result_.longest_step, now - last_progress_);
  }
  last_progress_ = now;
  first_step_at_ = std::min(first_step_at_, now);
  members_ = json.value("members", 0u);
  Show(log_.OnStep(last_progress_, json.value("epoch", uint64_t{0})));
  result_.losses[step] = loss;
  result_.step_seconds.push_back(json.value("step_seconds", 0.0));
  const double allreduce = json.value("allreduce_seconds", 0.0);
  display_.Step({.step = step,
                 .steps = options_.steps,
                 .loss = loss,
                 .members = members_,
                 .allreduce_seconds = allreduce,
                 .goodput_bps = allreduce > 0 ? 8 * json.value("bytes", 0.0) / allreduce : 0,
                 .packets_lost = json.value("packets_lost", uint64_t{0}),
                 .packets_repaired = json.value("packets_repaired", uint64_t{0})});
}

void JobRun::OnNotice(uint32_t node, const nlohmann::json& json) {
  const std::string kind = json.value("kind", "");
  const std::string text = json.value("text", "");
  if (kind == "dark") ++result_.dark_count;
  if (kind == "asleep") result_.slept.insert(node);
  if (kind == "state") ++result_.rejoins;
  if (kind == "coordinator") return OnConnection(node, text);
  if (kind == "view") known_views_.OnNotice(text);
  const bool out = kind == "left" || kind == "removed";
  if (out && departures_) departures_->OnLeft(absl::Now(), node);
  // What all members say is shown once.
  const bool shared = kind == "view" || kind == "differs";
  if (shared && !notices_shown_.insert(text).second) return;
  display_.Line(shared ? text : absl::StrCat("node ", node, ": ", kind, ": ", text));
}

// Losing the coordinator is shown once, for the first that notices.
void JobRun::OnConnection(uint32_t node, const std::string& text) {
  if (text != "connected") {
    connected_.erase(node);
    if (!coordinator_gone_ && !scene_.coordinator)
      display_.Line(absl::StrCat("node ", node, ": ", text));
    coordinator_gone_ = true;
    return;
  }
  connected_.insert(node);
  if (connected_.size() < workers_.size()) return;
  coordinator_gone_ = false;
  Show(log_.OnCoordinatorBack(absl::Now()));
}

}  // namespace perigee
