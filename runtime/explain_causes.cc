#include "runtime/explain_causes.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "runtime/explain_words.h"

namespace perigee::explain {
namespace {

// As Node::kLatenessMax: a loop this late cannot tell a silent peer from its own absence.
constexpr absl::Duration kLatenessMax = absl::Milliseconds(50);

std::string Utc(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", time, absl::UTCTimeZone());
}

}  // namespace

bool IsHeard(const MemberAccount& account, const Situation& situation,
             const ExplainOptions& options) {
  if (!account.report) return false;
  return !situation.coordinator || (account.connected && account.heard_ago < options.silence);
}

Causes::Causes(const Situation& situation, const ExplainOptions& options)
    : situation_(situation), options_(options) {
  for (const MemberAccount& account : situation.members) {
    Known& known = members_[account.node];
    known.account = &account;
    if (!account.report) continue;
    for (const LinkReport& link : account.report->links) known.links[link.peer] = &link;
  }
}

const Causes::Known* Causes::Find(NodeId node) const {
  auto it = members_.find(node);
  return it == members_.end() ? nullptr : &it->second;
}

bool Causes::IsHeard(NodeId node) const {
  const Known* known = Find(node);
  return known != nullptr && explain::IsHeard(*known->account, situation_, options_);
}

absl::Duration Causes::HeardAgo(NodeId node, NodeId peer) const {
  const Known* known = Find(node);
  if (known == nullptr || !known->links.contains(peer)) return absl::InfiniteDuration();
  return known->links.at(peer)->heard_ago + known->account->report_age;
}

absl::Duration Causes::Unanswered(NodeId node, NodeId peer) const {
  const Known* known = Find(node);
  if (known == nullptr || !known->links.contains(peer)) return absl::ZeroDuration();
  const absl::Duration unanswered = known->links.at(peer)->unanswered;
  return unanswered == absl::ZeroDuration() ? unanswered : unanswered + known->account->report_age;
}

std::vector<NodeId> Causes::Participants(const OpCase& op) const {
  std::set<NodeId> nodes;
  for (const auto& [node, known] : members_) {
    const MemberAccount& account = *known.account;
    const bool takes_part = account.in_view && account.report && account.report->epoch == op.epoch;
    if (takes_part && account.report->calls.last < op.op) nodes.insert(node);
  }
  for (const auto& [node, report] : op.reports) {
    nodes.insert(node);
    nodes.insert(report->waiting_for.begin(), report->waiting_for.end());
  }
  return {nodes.begin(), nodes.end()};
}

// ---- At a member. ----

// Those who can say when they heard `node` last, and the least that they say.
absl::Duration Causes::HeardByPeers(NodeId node, std::vector<NodeId>* peers) const {
  absl::Duration least = absl::InfiniteDuration();
  for (const auto& [peer, known] : members_) {
    if (peer == node || !IsHeard(peer) || !known.links.contains(node)) continue;
    peers->push_back(peer);
    least = std::min(least, HeardAgo(peer, node));
  }
  return least;
}

// "" when it is heard.
std::string Causes::SilenceOf(NodeId node) const {
  const Known* known = Find(node);
  if (IsHeard(node) || (situation_.coordinator && known == nullptr)) return "";
  std::vector<NodeId> peers;
  const absl::Duration by_peers = HeardByPeers(node, &peers);
  if (situation_.coordinator && by_peers < options_.silence) return "";
  std::vector<std::string> sources;
  absl::Duration least = by_peers;
  if (situation_.coordinator) {
    const absl::Duration heard_ago = known->account->heard_ago;
    sources.push_back(absl::StrCat("by the coordinator: ", Ago(heard_ago),
                                   known->account->connected ? "" : ", its stream is closed"));
    least = std::min(least, heard_ago);
  }
  if (!peers.empty()) sources.push_back(absl::StrCat("by ", Nodes(peers), ": ", Ago(by_peers)));
  std::string text = situation_.coordinator ? ", " : ", which left no record";
  if (!situation_.coordinator && (sources.empty() || least < options_.silence)) return text;
  absl::StrAppend(&text, situation_.coordinator ? "" : " and ", "from which nothing was heard for ",
                  Ago(least));
  return absl::StrCat(text, " (", absl::StrJoin(sources, "; "), ")");
}

// Of one that the coordinator does not hear although its peers do: what it said last is old.
std::string Causes::UnheardBy(NodeId node) const {
  const Known* known = Find(node);
  if (known == nullptr) return ", which the coordinator does not know any more: it has left";
  std::vector<NodeId> peers;
  HeardByPeers(node, &peers);
  return absl::StrCat(", of which little is known: the coordinator has not heard it for ",
                      Ago(known->account->heard_ago), ", but ", Nodes(peers),
                      peers.size() == 1 ? " does" : " do");
}

std::optional<Cause> Causes::NotCalled(const OpCase& op, NodeId node) const {
  const Known* known = Find(node);
  if (op.reports.contains(node)) return std::nullopt;
  const CallReport& calls = known->account->report->calls;
  if (calls.last >= op.op) return std::nullopt;
  const std::vector<OpReport>& running = known->account->report->ops;
  if (!running.empty() && running.front().op < op.op) {
    return Cause{Cause::Kind::kEarlierOp, node,
                 absl::StrCat(", which is still in op ", ToString(running.front().op))};
  }
  std::string about = absl::StrCat(": node ", node.value(), " has not called it yet; ");
  if (calls.last == OpId()) {
    absl::StrAppend(&about, "it has called nothing so far");
  } else {
    absl::StrAppend(&about, "its last call was ", ToString(calls.last), ", ",
                    Ago(calls.ago + known->account->report_age), " ago");
  }
  absl::StrAppend(&about, "; its training loop is elsewhere");
  return Cause{Cause::Kind::kNotCalled, node, about};
}

std::optional<Cause> Causes::AtMember(const OpCase& op, NodeId node) const {
  const bool waited_for = std::any_of(op.reports.begin(), op.reports.end(), [&](const auto& entry) {
    const std::vector<NodeId>& waiting = entry.second->waiting_for;
    return std::find(waiting.begin(), waiting.end(), node) != waiting.end();
  });
  if (situation_.plan.IsDark(node, situation_.now)) {
    const auto dark = situation_.plan.CurrentOrNextDark(node, situation_.now);
    return Cause{Cause::Kind::kDark, node,
                 absl::StrCat(", which is dark by plan until ", Utc(dark->ends), " (in ",
                              Ago(dark->ends - situation_.now), ")")};
  }
  if (const std::string silence = SilenceOf(node); !silence.empty()) {
    return Cause{Cause::Kind::kSilent, node, silence};
  }
  const Known* known = Find(node);
  if (!IsHeard(node)) {
    if (!waited_for) return std::nullopt;
    return Cause{Cause::Kind::kUnknown, node, UnheardBy(node)};
  }
  if (auto cause = NotCalled(op, node)) return cause;
  const Beat& report = *known->account->report;
  if (report.frozen) return Cause{Cause::Kind::kAgreement, node, ""};
  auto own = op.reports.find(node);
  if (own != op.reports.end() && own->second->phase == OpReport::Phase::kAwaitsView) {
    return Cause{Cause::Kind::kAgreement, node, ""};
  }
  if (own != op.reports.end() && own->second->phase == OpReport::Phase::kAwaitsInput) {
    return Cause{
        Cause::Kind::kAwaitsInput, node,
        absl::StrCat(", whose program has to bring its input again in view ",
                     own->second->epoch.value(), " and has not for ", Ago(op.stalled.at(node)))};
  }
  if (waited_for && report.loop_lateness > kLatenessMax) {
    return Cause{Cause::Kind::kLateLoop, node,
                 absl::StrCat(", whose loop was late by ", Ago(report.loop_lateness),
                              ": its machine is overloaded, or it was stopped")};
  }
  return std::nullopt;
}

// ---- On a link. ----

std::string Causes::Cut(NodeId from, NodeId to) const {
  std::string text =
      absl::StrCat("the link ", from.value(), " -> ", to.value(), " is down (one way)");
  const auto& contacts = situation_.plan.contacts();
  const bool planned = std::any_of(contacts.begin(), contacts.end(), [&](const Contact& contact) {
    return contact.from == from && contact.to == to;
  });
  if (!planned || situation_.plan.LinkAt(from, to, situation_.now)) return text;
  const absl::Time next = situation_.plan.NextChange(from, to, situation_.now);
  return absl::StrCat(
      text, " because the plan has no contact there ",
      next == absl::InfiniteFuture() ? "any more" : absl::StrCat("until ", Utc(next)));
}

// Which direction is cut follows from who hears whom: whoever lacks an answer sends probes, and who
// hears a probe answers it.
std::optional<Cause> Causes::OnLink(NodeId waiting, NodeId waited_for) const {
  const absl::Duration forth = Unanswered(waiting, waited_for);
  const absl::Duration back = Unanswered(waited_for, waiting);
  const bool forth_silent = forth >= options_.silence, back_silent = back >= options_.silence;
  const bool waiting_hears = HeardAgo(waiting, waited_for) < options_.silence;
  const bool other_hears = HeardAgo(waited_for, waiting) < options_.silence;
  if (!forth_silent && !back_silent) return std::nullopt;
  if (waiting_hears && other_hears) return std::nullopt;
  const bool both = forth_silent && back_silent && !waiting_hears && !other_hears;
  const bool forth_is_cut = waiting_hears || (!other_hears && forth_silent);
  const NodeId from = forth_is_cut ? waiting : waited_for;
  const NodeId to = forth_is_cut ? waited_for : waiting;
  // Best told by the one whose packets are lost; else by the one whose answers are.
  const bool by_sender = forth_is_cut ? forth_silent : back_silent;
  const absl::Duration lasts = by_sender == forth_is_cut ? forth : back;
  return Cause{
      Cause::Kind::kLink, waited_for,
      absl::StrCat(": ", Nodes({waiting}), " waits for ", Nodes({waited_for}), "; ",
                   Nodes({by_sender ? from : to}), " has had no answer from ",
                   Nodes({by_sender ? to : from}), " on its link for ", Ago(lasts),
                   situation_.coordinator ? " although both beat: " : " although both are there: ",
                   both ? "nothing passes between them, in either direction" : Cut(from, to))};
}

std::vector<Cause> Causes::Of(const OpCase& op) const {
  std::vector<Cause> causes;
  std::set<NodeId> absent;
  for (NodeId node : Participants(op)) {
    std::optional<Cause> cause = AtMember(op, node);
    if (!cause) continue;
    if (cause->kind <= Cause::Kind::kSilent) absent.insert(node);
    causes.push_back(*std::move(cause));
  }
  for (const auto& [node, report] : op.reports) {
    if (absent.contains(node)) continue;
    for (NodeId peer : report->waiting_for) {
      if (absent.contains(peer)) continue;
      if (auto cause = OnLink(node, peer)) causes.push_back(*std::move(cause));
    }
  }
  std::stable_sort(causes.begin(), causes.end(),
                   [](const Cause& a, const Cause& b) { return a.kind < b.kind; });
  return causes;
}

}  // namespace perigee::explain
