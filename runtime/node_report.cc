// What a Node says about itself: the state of its ops and links for its beats, and words for the
// errors of its callers. Reads only, but for what it remembers of the links that it told of.
#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "runtime/node.h"

namespace perigee {

Beat Node::ReportWithoutLinks(absl::Time now) const {
  return {.step = last_started_.step(),
          .epoch = view() != nullptr ? view()->epoch : Epoch(),
          .active = active_ && view() != nullptr,
          .undecided = membership_.undecided(),
          .hears_coordinator = deputy_.HearsCoordinator(now),
          .loop_lateness = loop_lateness_,
          .stats = stats_,
          .ops = OpReports(now),
          .frozen = membership_.frozen(),
          .calls = Calls(now),
          .step_interval = step_times_.step(),
          .op_length = step_times_.op()};
}

Beat Node::Report(absl::Time now) const {
  Beat report = ReportWithoutLinks(now);
  report.links = Links(now);
  return report;
}

std::vector<std::pair<NodeId, size_t>> Node::MissingTransfers() const {
  std::vector<std::pair<NodeId, size_t>> missing;
  for (const auto& [peer, incarnation] : peers_) {
    const size_t count = endpoint_.PendingReceiveCount(peer);
    if (count > 0) missing.emplace_back(peer, count);
  }
  return missing;
}

std::vector<OpReport> Node::OpReports(absl::Time now) const {
  std::vector<OpReport> reports;
  for (const auto& [id, running] : ops_) {
    if (running.state == OpState::kDelivered || running.handed_out) continue;
    OpReport report{.op = id,
                    .epoch = running.epoch,
                    .age = now - running.started,
                    .phase = OpReport::Phase::kAwaitsView,
                    .call = running.call_text};
    if (running.op != nullptr) {
      report.phase = OpReport::Phase::kRunning;
      report.progress = running.op->Progress();
      report.waiting_for = running.op->WaitingFor();
    } else if (running.state == OpState::kNeedsInput) {
      report.phase = OpReport::Phase::kAwaitsInput;
    }
    report.stalled = now - std::max(running.started, running.progressed);
    reports.push_back(std::move(report));
  }
  return reports;
}

CallReport Node::Calls(absl::Time now) const {
  CallReport calls{.last = last_started_};
  if (last_started_ != OpId()) calls.ago = now - last_started_at_;
  if (failed_ != OpId()) {
    calls.failed = failed_;
    calls.failed_ago = now - failed_at_;
    calls.failure = failure_;
  }
  return calls;
}

// ---- Links. ----

LinkReport Node::LinkOf(absl::Time now, NodeId peer) const {
  LinkReport report{.peer = peer};
  const PeerActivity activity = endpoint_.Activity(peer).value_or(PeerActivity());
  if (activity.unanswered_since != absl::InfiniteFuture()) {
    report.unanswered = now - activity.unanswered_since;
  }
  if (activity.heard != absl::InfinitePast()) report.heard_ago = now - activity.heard;
  report.round_trip = activity.round_trip;
  const SessionCounters counters = endpoint_.Counters(peer).value_or(SessionCounters());
  report.packets_lost = counters.packets_lost;
  report.packets_repaired = counters.segments_retransmitted;
  const auto sample = link_samples_.find(peer);
  if (sample != link_samples_.end()) report.goodput_bps = sample->second.goodput_bps;
  return report;
}

std::vector<LinkReport> Node::Links(absl::Time now) const {
  std::vector<LinkReport> links;
  for (const auto& [peer, incarnation] : peers_) links.push_back(LinkOf(now, peer));
  return links;
}

void Node::SampleGoodput(absl::Time now, NodeId peer) {
  const SessionCounters counters = endpoint_.Counters(peer).value_or(SessionCounters());
  const uint64_t new_bytes = counters.data_bytes_sent - counters.retransmitted_bytes;
  auto [it, first] = link_samples_.try_emplace(peer, LinkSample{now, new_bytes});
  LinkSample& sample = it->second;
  if (first || now <= sample.at) return;
  // A peer that came back has a session that counts from zero.
  const uint64_t bytes = new_bytes >= sample.new_bytes ? new_bytes - sample.new_bytes : new_bytes;
  const double goodput_bps =
      8.0 * static_cast<double>(bytes) / absl::ToDoubleSeconds(now - sample.at);
  sample = {now, new_bytes, goodput_bps};
}

// The peers whose links say most: that owe an answer for long, or keep an op waiting.
std::set<NodeId> Node::UrgentLinks(absl::Time now) const {
  std::set<NodeId> urgent;
  for (const auto& [peer, incarnation] : peers_) {
    const PeerActivity activity = endpoint_.Activity(peer).value_or(PeerActivity());
    if (activity.unanswered_since + Endpoint::SilenceLimit(LinkTo(peer, now)) <= now) {
      urgent.insert(peer);
    }
  }
  for (const auto& [id, running] : ops_) {
    if (running.state != OpState::kRunning || running.op == nullptr) continue;
    for (NodeId peer : running.op->WaitingFor()) urgent.insert(peer);
  }
  return urgent;
}

std::vector<LinkReport> Node::NextLinks(absl::Time now) {
  // In a circle from where the last beat ended, so that everybody's turn comes.
  std::vector<NodeId> order;
  for (auto it = peers_.lower_bound(next_link_); it != peers_.end(); ++it) {
    order.push_back(it->first);
  }
  for (auto it = peers_.begin(); it != peers_.lower_bound(next_link_); ++it) {
    order.push_back(it->first);
  }
  const std::set<NodeId> urgent = UrgentLinks(now);
  std::stable_partition(order.begin(), order.end(),
                        [&](NodeId peer) { return urgent.contains(peer); });
  order.resize(std::min(order.size(), Beat::kLinksMax));
  std::vector<LinkReport> links;
  for (NodeId peer : order) {
    SampleGoodput(now, peer);
    links.push_back(LinkOf(now, peer));
    next_link_ = peer.Next();
  }
  return links;
}

// ---- For people. ----

std::string Node::Describe(absl::Time now, OpId id) const {
  auto it = ops_.find(id);
  std::string text = absl::StrCat("op ", ToString(id));
  if (it == ops_.end()) return absl::StrCat(text, ": over");
  const RunningOp& running = it->second;
  absl::StrAppend(&text, " (", running.call_text, ", ", absl::FormatDuration(now - running.started),
                  " old): ");
  if (membership_.frozen()) {
    absl::StrAppend(&text, "a new view is being agreed");
  } else if (running.state == OpState::kNeedsInput) {
    absl::StrAppend(&text, "waits for this member's own input in view ", running.epoch.value());
  } else if (running.op == nullptr) {
    absl::StrAppend(&text, "waits for the next view to begin");
  } else {
    const std::vector<NodeId> waiting = running.op->WaitingFor();
    absl::StrAppend(&text, static_cast<int>(running.op->Progress() * 100), " % in view ",
                    running.epoch.value(), ", waits for node ",
                    absl::StrJoin(waiting, ", ", [](std::string* out, NodeId node) {
                      absl::StrAppend(out, node.value());
                    }));
  }
  if (!waiting_reason_.empty()) absl::StrAppend(&text, "; coordinator: ", waiting_reason_);
  if (deputy_.HearsCoordinator(now)) return text;
  absl::StrAppend(&text, "; the coordinator cannot be reached");
  if (const std::optional<NodeId> acting = deputy_.ActingNode(now)) {
    absl::StrAppend(&text, ", node ", acting->value(), " acts for it");
  }
  return text;
}

}  // namespace perigee
