#include "runtime/cli/network_tables.h"

#include <algorithm>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runtime/cli/quantity.h"
#include "runtime/cli/when.h"

namespace perigee {
namespace {

constexpr double kBitsPerByte = 8;
const absl::Duration kSilence = ExplainOptions().silence;

Cell TimeCell(absl::Time time, absl::Time now) {
  if (time == absl::InfinitePast() || time == absl::InfiniteFuture())
    return Cell("always", nullptr);
  return Cell(FormatWhen(time, now), FormatUtcMillis(time));
}

Cell MillisCell(absl::Duration duration) {
  const double ms = absl::ToDoubleMilliseconds(duration);
  return Cell(absl::StrFormat("%.1f", ms), ms);
}

Cell RateCell(double bits_per_second) {
  return Cell(bits_per_second == 0 ? "" : FormatRate(bits_per_second / kBitsPerByte),
              bits_per_second);
}

bool IsPlanned(const ContactPlan& plan, NodeId from, NodeId to) {
  const std::vector<Contact>& contacts = plan.contacts();
  return std::any_of(contacts.begin(), contacts.end(), [&](const Contact& contact) {
    return contact.from == from && contact.to == to;
  });
}

std::string StateOf(const Situation& situation, const MemberAccount& sender,
                    const LinkReport& link) {
  const ContactPlan& plan = situation.plan;
  const absl::Time now = situation.now;
  if (plan.IsDark(sender.node, now) || plan.IsDark(link.peer, now)) return "dark";
  if (IsPlanned(plan, sender.node, link.peer) && !plan.LinkAt(sender.node, link.peer, now)) {
    return "closed";
  }
  if (!sender.connected || sender.heard_ago >= kSilence) return "old";
  return link.unanswered >= kSilence ? "silent" : "up";
}

// "now", or "in 4 min".
std::string Opens(absl::Time opens, absl::Time now) {
  return opens <= now ? "now" : FormatAgo(opens, now);
}

}  // namespace

Table LinksTable(const Situation& situation, std::optional<NodeId> node) {
  constexpr bool kWide = true;
  Table table({{"from"},
               {"to"},
               {"state"},
               {"silent_since"},
               {"heard_ms", kWide},
               {"round_trip_ms"},
               {"goodput_bps"},
               {"packets_lost"},
               {"packets_repaired"}});
  for (const MemberAccount& sender : situation.members) {
    if (!sender.report) continue;
    for (const LinkReport& link : sender.report->links) {
      if (node && *node != sender.node && *node != link.peer) continue;
      const bool silent = link.unanswered >= kSilence;
      const absl::Time since = situation.now - link.unanswered - sender.report_age;
      table.Add({Cell(sender.node.value()), Cell(link.peer.value()),
                 Cell(StateOf(situation, sender, link)),
                 silent ? TimeCell(since, situation.now) : Cell(),
                 link.heard_ago == absl::InfiniteDuration()
                     ? Cell()
                     : MillisCell(link.heard_ago + sender.report_age),
                 MillisCell(link.round_trip), RateCell(link.goodput_bps), Cell(link.packets_lost),
                 Cell(link.packets_repaired)});
    }
  }
  return table;
}

Table ContactsTable(const ContactPlan& plan, const PlanRows& rows) {
  std::vector<Contact> contacts;
  for (const Contact& contact : plan.contacts()) {
    const bool wanted = !rows.node || *rows.node == contact.from || *rows.node == contact.to;
    if (wanted && contact.closes > rows.now) contacts.push_back(contact);
  }
  std::sort(contacts.begin(), contacts.end(), [&](const Contact& a, const Contact& b) {
    return std::make_tuple(std::max(a.opens, rows.now), a.closes, a.from, a.to) <
           std::make_tuple(std::max(b.opens, rows.now), b.closes, b.from, b.to);
  });
  contacts.resize(std::min(contacts.size(), rows.rows_max));
  Table table({{"from"}, {"to"}, {"open"}, {"opens"}, {"closes"}, {"rate_bps"}, {"delay_ms"}});
  for (const Contact& contact : contacts) {
    table.Add({Cell(contact.from.value()), Cell(contact.to.value()),
               Cell(Opens(contact.opens, rows.now), contact.opens <= rows.now),
               TimeCell(contact.opens, rows.now), TimeCell(contact.closes, rows.now),
               RateCell(contact.link.bytes_per_second * kBitsPerByte),
               MillisCell(contact.link.delay)});
  }
  return table;
}

Table EclipsesTable(const ContactPlan& plan, const PlanRows& rows) {
  std::vector<DarkInterval> intervals;
  for (const DarkInterval& dark : plan.dark_intervals()) {
    if ((!rows.node || *rows.node == dark.node) && dark.ends > rows.now) intervals.push_back(dark);
  }
  std::sort(intervals.begin(), intervals.end(), [](const DarkInterval& a, const DarkInterval& b) {
    return std::make_tuple(a.begins, a.node) < std::make_tuple(b.begins, b.node);
  });
  intervals.resize(std::min(intervals.size(), rows.rows_max));
  Table table({{"node"}, {"dark"}, {"begins"}, {"ends"}, {"seconds"}});
  for (const DarkInterval& dark : intervals) {
    table.Add({Cell(dark.node.value()), Cell(Opens(dark.begins, rows.now), dark.begins <= rows.now),
               TimeCell(dark.begins, rows.now), TimeCell(dark.ends, rows.now),
               Cell(absl::ToDoubleSeconds(dark.ends - dark.begins))});
  }
  return table;
}

}  // namespace perigee
