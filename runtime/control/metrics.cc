#include "runtime/control/metrics.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"

namespace perigee {
namespace {

constexpr bool kCounter = true;
constexpr MemberState kStates[] = {
    MemberState::kJoining, MemberState::kSyncing, MemberState::kActive, MemberState::kDraining,
    MemberState::kDark,    MemberState::kDrained, MemberState::kLost};

using Samples = std::vector<MetricSample>;

Samples One(double value) { return {MetricSample{.value = value}}; }

template <typename Number>
MetricSample Labelled(const std::string& label, const std::string& text, Number value) {
  MetricSample sample{.value = static_cast<double>(value)};
  sample.labels.emplace_back(label, text);
  return sample;
}

// One sample per member that has told how it is.
template <typename ValueOf>
Samples PerNode(const ClusterState& state, ValueOf value_of) {
  Samples samples;
  for (const auto& [node, record] : state.members) {
    if (record.beat_at == absl::InfinitePast()) continue;
    samples.push_back(Labelled("node", ToString(node), value_of(record)));
  }
  return samples;
}

Samples MembersByState(const ClusterState& state) {
  std::map<MemberState, size_t> counts;
  for (const auto& [node, record] : state.members) ++counts[record.state];
  Samples samples;
  for (MemberState each : kStates) {
    samples.push_back(Labelled("state", Name(each), counts[each]));
  }
  return samples;
}

void AddJob(const Coordinator& coordinator, std::vector<Metric>* metrics) {
  const ClusterState& state = coordinator.state();
  const CoordinatorCounters& counters = coordinator.counters();
  uint64_t step = 0;
  size_t connected = 0;
  for (const auto& [node, record] : state.members) {
    step = std::max(step, record.beat.step.value());
    connected += record.stream.has_value();
  }
  const bool view = state.view.has_value();
  metrics->push_back({"perigee_members", "Known nodes by state", false, MembersByState(state)});
  metrics->push_back({"perigee_members_connected", "Nodes with an open control stream", false,
                      One(static_cast<double>(connected))});
  metrics->push_back({"perigee_epoch", "Epoch of the present view; 0: no job yet", false,
                      One(view ? static_cast<double>(state.view->epoch.value()) : 0)});
  metrics->push_back({"perigee_view_members", "Members of the present view", false,
                      One(view ? static_cast<double>(state.view->size()) : 0)});
  metrics->push_back({"perigee_views_total",
                      "Views that this coordinator decided or learned of",
                      kCounter,
                      {Labelled("planned", "true", counters.views_planned),
                       Labelled("planned", "false", counters.views_unplanned)}});
  metrics->push_back({"perigee_waiting", "1 while the next view waits for something", false,
                      One(coordinator.waiting_reason().empty() ? 0 : 1)});
  metrics->push_back(
      {"perigee_step", "Step of the furthest member", false, One(static_cast<double>(step))});
}

void AddNodes(absl::Time now, const ClusterState& state, std::vector<Metric>* metrics) {
  using Record = const MemberRecord&;
  const auto add = [&](const char* name, const char* help, bool counter, auto value_of) {
    metrics->push_back(
        {absl::StrCat("perigee_node_", name), help, counter, PerNode(state, value_of)});
  };
  add("step", "Last step that the node has started", false,
      [](Record record) { return record.beat.step.value(); });
  add("heard_seconds", "Since the coordinator heard the node last", false,
      [&](Record record) { return absl::ToDoubleSeconds(now - record.last_heard); });
  add("training_loss", "Mean loss of the node's last step; 0: nothing is trained", false,
      [](Record record) { return record.beat.stats.training_loss; });
  add("allreduce_seconds", "Length of the node's last gradient allreduce", false,
      [](Record record) { return record.beat.stats.allreduce_seconds; });
  add("goodput_bits_per_second", "Bits of the last summed vector over its allreduce's seconds",
      false, [](Record record) { return record.beat.stats.goodput_bps; });
  add("packets_lost_total", "Packets that the node sent and that were lost", kCounter,
      [](Record record) { return record.beat.stats.packets_lost; });
  add("packets_repaired_total", "Segments that the node sent again", kCounter,
      [](Record record) { return record.beat.stats.packets_repaired; });
  add("loop_lateness_seconds", "How late the node's loop was when it was late last", false,
      [](Record record) { return absl::ToDoubleSeconds(record.beat.loop_lateness); });
}

}  // namespace

std::vector<Metric> MetricsOf(absl::Time now, const Coordinator& coordinator,
                              const LoopHealth& health) {
  std::vector<Metric> metrics;
  AddJob(coordinator, &metrics);
  AddNodes(now, coordinator.state(), &metrics);
  metrics.push_back({"perigee_coordinator_loop_lateness_seconds",
                     "How late the coordinator's loop was at most in the last 10 to 20 s", false,
                     One(absl::ToDoubleSeconds(health.lateness))});
  metrics.push_back({"perigee_coordinator_streams", "Open control streams, registered or not",
                     false, One(static_cast<double>(health.stream_count))});
  metrics.push_back({"perigee_registrations_refused_total",
                     "Registrations that were refused: version, duplicate, room", kCounter,
                     One(static_cast<double>(coordinator.counters().registrations_refused))});
  return metrics;
}

}  // namespace perigee
