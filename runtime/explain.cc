#include "runtime/explain.h"

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "runtime/explain_causes.h"
#include "runtime/explain_words.h"

namespace perigee {
namespace explain {

std::string Ago(absl::Duration duration) {
  if (duration == absl::InfiniteDuration()) return "ever";
  const absl::Duration unit = duration >= absl::Seconds(10)  ? absl::Seconds(1)
                              : duration >= absl::Seconds(1) ? absl::Milliseconds(100)
                                                             : absl::Milliseconds(1);
  return absl::FormatDuration(absl::Trunc(duration, unit));
}

std::string Nodes(const std::vector<NodeId>& nodes) {
  std::vector<std::string> names;
  for (size_t i = 0; i < nodes.size() && i < kNodesMax; ++i) names.push_back(ToString(nodes[i]));
  std::string text = nodes.size() == 1 ? "node " : "nodes ";
  absl::StrAppend(&text, absl::StrJoin(names, nodes.size() == 2 ? " and " : ", "));
  if (nodes.size() > kNodesMax) absl::StrAppend(&text, " and ", nodes.size() - kNodesMax, " more");
  return text;
}

}  // namespace explain

namespace {

using explain::Ago;
using explain::Cause;
using explain::Causes;
using explain::Nodes;
using explain::OpCase;

std::map<OpId, OpCase> CasesOf(const Situation& situation, const ExplainOptions& options) {
  std::map<OpId, OpCase> cases;
  for (const MemberAccount& member : situation.members) {
    if (!explain::IsHeard(member, situation, options)) continue;
    for (const OpReport& report : member.report->ops) {
      OpCase& op = cases[report.op];
      op.op = report.op;
      op.epoch = std::max(op.epoch, report.epoch);
      op.reports[member.node] = &report;
      op.stalled[member.node] = report.stalled + member.report_age;
    }
  }
  return cases;
}

// Least over those who tell of it: while anybody gets on, the op does.
absl::Duration StalledFor(const OpCase& op) {
  absl::Duration least = absl::InfiniteDuration();
  for (const auto& [node, stalled] : op.stalled) least = std::min(least, stalled);
  return least;
}

std::string NameOf(const OpCase& op) {
  const std::string& call = op.reports.begin()->second->call;
  return absl::StrCat("op ", ToString(op.op), call.empty() ? "" : absl::StrCat(" (", call, ")"));
}

// "nodes 0, 1, 3", those who wait without being the reason.
std::string Waiting(const OpCase& op, const std::set<NodeId>& but) {
  std::vector<NodeId> nodes;
  for (const auto& [node, report] : op.reports) {
    if (!but.contains(node)) nodes.push_back(node);
  }
  return nodes.empty() ? "" : absl::StrCat(" waits on ", Nodes(nodes));
}

// Members that called different things as this op; empty when all agree.
std::string Mismatch(const OpCase& op) {
  std::map<std::string, std::vector<NodeId>> callers;
  for (const auto& [node, report] : op.reports) callers[report->call].push_back(node);
  if (callers.size() < 2) return "";
  std::vector<std::string> calls;
  for (const auto& [call, nodes] : callers) {
    calls.push_back(absl::StrCat(Nodes(nodes), " called \"", call, "\""));
  }
  return absl::StrCat("op ", ToString(op.op), " cannot end: ", absl::StrJoin(calls, " where "),
                      "; all members must make the same calls in the same order");
}

// All causes of one kind: "for node 2, from which ...", or "for nodes 2 and 5: node 2, from ...".
std::string Tell(const std::vector<Cause>& causes) {
  if (causes.front().kind == Cause::Kind::kAgreement) {
    return " for the next view, which is being agreed";
  }
  std::vector<NodeId> nodes;
  std::vector<std::string> each;
  for (const Cause& cause : causes) {
    const bool clause = cause.about.rfind(": ", 0) == 0;
    nodes.push_back(cause.node);
    each.push_back(clause ? cause.about.substr(2) : absl::StrCat(Nodes({cause.node}), cause.about));
  }
  if (causes.front().kind == Cause::Kind::kLink)
    return absl::StrCat(": ", absl::StrJoin(each, "; "));
  if (nodes.size() == 1) return absl::StrCat(" for ", Nodes(nodes), causes.front().about);
  each.resize(std::min(each.size(), explain::kNodesMax));
  return absl::StrCat(" for ", Nodes(nodes), ": ", absl::StrJoin(each, "; "));
}

// Nothing is wrong with anybody: says at least who waits for whom, and how far it is.
std::string NoCause(const OpCase& op) {
  for (const auto& [node, report] : op.reports) {
    if (report->waiting_for.empty()) continue;
    return absl::StrCat(Waiting(op, {}), ": node ", node.value(), " waits for ",
                        Nodes(report->waiting_for), ", and no reason is visible: all are heard, ",
                        "have called it, and their links answer; ",
                        static_cast<int>(report->progress * 100), "% are done, nothing came for ",
                        Ago(StalledFor(op)));
  }
  return absl::StrCat(Waiting(op, {}), ", which do not say for whom; nothing came for ",
                      Ago(StalledFor(op)));
}

std::string SentenceOf(const OpCase& op, const Situation& situation, const Causes& causes_of) {
  std::string text = Mismatch(op);
  if (!text.empty()) return text;
  const std::vector<Cause> causes = causes_of.Of(op);
  if (causes.empty()) {
    text = absl::StrCat(NameOf(op), NoCause(op));
  } else {
    std::map<Cause::Kind, std::vector<Cause>> kinds;
    for (const Cause& cause : causes) kinds[cause.kind].push_back(cause);
    const auto& [strongest, reasons] = *kinds.begin();
    std::set<NodeId> culprits;
    const bool own = strongest != Cause::Kind::kLink && strongest != Cause::Kind::kAgreement;
    for (const Cause& cause : reasons) {
      if (own) culprits.insert(cause.node);
    }
    text = absl::StrCat(NameOf(op), Waiting(op, culprits), Tell(reasons));
    if (own && kinds.contains(Cause::Kind::kAgreement)) {
      absl::StrAppend(&text, "; the next view is being agreed");
    }
  }
  if (!situation.waiting_reason.empty()) {
    absl::StrAppend(&text, "; there is no other view: ", situation.waiting_reason);
  }
  return text;
}

// Ops that ended with an error after which the program called nothing more.
std::vector<Sentence> Failures(const Situation& situation, const ExplainOptions& options) {
  struct Failure {
    std::vector<NodeId> nodes;
    absl::Duration ago = absl::InfiniteDuration();
    std::string text;
  };
  std::map<OpId, Failure> failures;
  for (const MemberAccount& member : situation.members) {
    if (!member.report) continue;
    const CallReport& calls = member.report->calls;
    if (calls.failed == OpId() || calls.last > calls.failed) continue;
    if (options.op && *options.op != calls.failed) continue;
    Failure& failure = failures[calls.failed];
    failure.nodes.push_back(member.node);
    failure.ago = std::min(failure.ago, calls.failed_ago + member.report_age);
    if (failure.text.empty()) failure.text = calls.failure;
  }
  std::vector<Sentence> sentences;
  for (const auto& [op, failure] : failures) {
    sentences.push_back({op, absl::StrCat("op ", ToString(op), " failed on ", Nodes(failure.nodes),
                                          " ", Ago(failure.ago), " ago: ", failure.text)});
  }
  return sentences;
}

// When no member of the view is heard, nothing can be said of ops.
std::optional<Sentence> NothingKnown(const Situation& situation, const ExplainOptions& options) {
  std::vector<NodeId> silent;
  absl::Duration least = absl::InfiniteDuration();
  for (const MemberAccount& member : situation.members) {
    if (explain::IsHeard(member, situation, options)) return std::nullopt;
    if (!member.in_view || !member.report) continue;
    silent.push_back(member.node);
    least = std::min(least, member.heard_ago);
  }
  if (silent.empty() || !situation.coordinator) return std::nullopt;
  return Sentence{std::nullopt,
                  absl::StrCat("nothing is known of any op: the coordinator has heard "
                               "nothing from ",
                               Nodes(silent), " for ", Ago(least))};
}

std::string NothingHangs(const Situation& situation, const std::map<OpId, OpCase>& cases) {
  std::string text = "nothing hangs: ";
  if (!cases.empty()) {
    const OpCase& oldest = cases.begin()->second;
    const OpReport& report = *oldest.reports.begin()->second;
    absl::StrAppend(&text, NameOf(oldest), " runs, ", static_cast<int>(report.progress * 100),
                    "% after ", Ago(report.age), ", and gets on");
    return text;
  }
  OpId last;
  absl::Duration ago = absl::InfiniteDuration();
  for (const MemberAccount& member : situation.members) {
    if (!member.report || member.report->calls.last == OpId()) continue;
    const CallReport& calls = member.report->calls;
    if (calls.last > last) ago = absl::InfiniteDuration();
    if (calls.last >= last) ago = std::min(ago, calls.ago + member.report_age);
    last = std::max(last, calls.last);
  }
  if (last == OpId()) {
    return absl::StrCat(
        text, situation.members.empty() ? "no member is known" : "no op was called so far");
  }
  return absl::StrCat(text, "no op runs; the last call was ", ToString(last), ", ", Ago(ago),
                      " ago: the training loops compute, or are elsewhere");
}

std::string NotRunning(const Situation& situation, OpId op) {
  std::vector<NodeId> called;
  for (const MemberAccount& member : situation.members) {
    if (member.report && member.report->calls.last >= op) called.push_back(member.node);
  }
  return absl::StrCat(
      "nothing hangs: op ", ToString(op),
      called.empty() ? " was called by nobody yet" : absl::StrCat(" is over on ", Nodes(called)));
}

}  // namespace

std::vector<Sentence> Explain(const Situation& situation, const ExplainOptions& options) {
  const std::map<OpId, OpCase> cases = CasesOf(situation, options);
  const Causes causes(situation, options);
  std::vector<Sentence> sentences;
  for (const auto& [id, op] : cases) {
    if (options.op ? id != *options.op : StalledFor(op) < options.patience) continue;
    sentences.push_back({id, SentenceOf(op, situation, causes)});
  }
  for (Sentence& failure : Failures(situation, options)) sentences.push_back(std::move(failure));
  std::stable_sort(sentences.begin(), sentences.end(),
                   [](const Sentence& a, const Sentence& b) { return a.op < b.op; });
  if (!sentences.empty()) return sentences;
  if (std::optional<Sentence> unknown = NothingKnown(situation, options)) return {*unknown};
  if (options.op) return {{options.op, NotRunning(situation, *options.op), /*hangs=*/false}};
  if (!situation.waiting_reason.empty()) {
    return {{std::nullopt,
             absl::StrCat("no op hangs, but there is no other view: ", situation.waiting_reason)}};
  }
  return {{std::nullopt, NothingHangs(situation, cases), /*hangs=*/false}};
}

}  // namespace perigee
