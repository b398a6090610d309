#include "runtime/cli/admin_tables.h"

#include <algorithm>
#include <cstdio>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runtime/cli/quantity.h"
#include "runtime/cli/when.h"
#include "transport/base/ids.h"

namespace perigee {
namespace {

using nlohmann::ordered_json;

constexpr double kBitsPerByte = 8;

absl::Time FromNanos(int64_t ns) { return absl::FromUnixNanos(ns); }

Cell WhenCell(int64_t ns, absl::Time now) {
  const absl::Time time = FromNanos(ns);
  return Cell(FormatWhen(time, now), FormatUtcMillis(time));
}

Cell MillisCell(int64_t ns) {
  const double ms = static_cast<double>(ns) / 1e6;
  return Cell(absl::StrFormat("%.1f", ms), ms);
}

Cell PercentCell(double fraction) {
  return Cell(absl::StrFormat("%.3g%%", fraction * 100), fraction);
}

Cell IdCell(const proto::Id128& id) {
  // People compare the first digits; programs get all 128 bits.
  return Cell(ToString(Incarnation{.high = id.high(), .low = id.low()}),
              absl::StrFormat("%016x%016x", id.high(), id.low()));
}

Cell DarkCell(const proto::Dark& dark, absl::Time now, bool with_node) {
  const absl::Time begins = FromNanos(dark.begins_ns());
  const absl::Time ends = FromNanos(dark.ends_ns());
  std::string text =
      begins <= now ? absl::StrCat("until ", FormatWhen(ends, now))
                    : absl::StrCat(FormatWhen(begins, now), " for ", FormatSpan(ends - begins));
  ordered_json value = {{"begins", FormatUtcMillis(begins)}, {"ends", FormatUtcMillis(ends)}};
  if (with_node) {
    text = absl::StrCat("node ", dark.node(), ": ", text);
    value["node"] = dark.node();
  }
  return Cell(text, value);
}

template <typename Repeated>
Cell NodesCell(const Repeated& in) {
  std::vector<uint32_t> nodes(in.begin(), in.end());
  std::sort(nodes.begin(), nodes.end());
  return Cell(FormatRanges(nodes), nodes);
}

Cell YesNo(bool value) { return Cell(value ? "yes" : "no", value); }

// "wrong_role 3, too_fast 1"; programs get {"wrong_role": 3, ...}.
Cell RefusedCell(const proto::StatusReply& reply) {
  std::string text;
  auto value = ordered_json::object();
  for (const proto::RefusalCount& refusal : reply.refusals()) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", refusal.cause(), " ", refusal.count());
    value[refusal.cause()] = refusal.count();
  }
  return Cell(text, value);
}

std::vector<Cell> NodeCells(const proto::NodeRow& row, absl::Time now) {
  const proto::MemberStats& stats = row.stats();
  std::vector<Cell> cells;
  cells.emplace_back(row.node());
  cells.emplace_back(row.state());
  cells.push_back(YesNo(row.connected()));
  cells.push_back(row.has_votes() ? Cell(row.votes()) : Cell());
  cells.emplace_back(row.epoch());
  cells.emplace_back(row.step());
  if (row.has_last_heard_ns()) {
    const absl::Time heard = FromNanos(row.last_heard_ns());
    cells.emplace_back(FormatAgo(heard, now), FormatUtcMillis(heard));
  } else {
    cells.emplace_back();
  }
  cells.emplace_back(
      stats.training_loss() == 0 ? "" : absl::StrFormat("%.4f", stats.training_loss()),
      stats.training_loss());
  cells.emplace_back(absl::StrFormat("%.3f", stats.allreduce_seconds()), stats.allreduce_seconds());
  cells.emplace_back(stats.goodput_bps() == 0 ? "" : FormatRate(stats.goodput_bps() / kBitsPerByte),
                     stats.goodput_bps());
  cells.emplace_back(stats.packets_lost());
  cells.emplace_back(stats.packets_repaired());
  cells.push_back(MillisCell(row.loop_lateness_ns()));
  cells.push_back(row.has_clock_offset_ns() ? MillisCell(row.clock_offset_ns()) : Cell());
  cells.push_back(row.has_clock_bound_ns() ? MillisCell(row.clock_bound_ns()) : Cell());
  cells.emplace_back(row.address());
  cells.push_back(IdCell(row.incarnation()));
  cells.push_back(row.has_dark() ? DarkCell(row.dark(), now, false) : Cell());
  cells.push_back(row.has_drain_at_ns() ? WhenCell(row.drain_at_ns(), now) : Cell());
  cells.push_back(WhenCell(row.since_ns(), now));
  cells.emplace_back(row.reason());
  return cells;
}

}  // namespace

std::string FormatRanges(const std::vector<uint32_t>& numbers) {
  std::string text;
  for (size_t i = 0; i < numbers.size();) {
    size_t last = i;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
    absl::StrAppend(&text, i == 0 ? "" : ",", numbers[i]);
    if (last > i) absl::StrAppend(&text, last == i + 1 ? "," : "-", numbers[last]);
    i = last + 1;
  }
  return text;
}

Table StatusTable(const proto::StatusReply& reply, const std::string& address) {
  const absl::Time now = FromNanos(reply.now_ns());
  Table table({{"address"},
               {"version"},
               {"started"},
               {"job"},
               {"epoch"},
               {"members"},
               {"first_step"},
               {"view_since"},
               {"step"},
               {"nodes_known"},
               {"nodes_connected"},
               {"nodes_active"},
               {"waiting_reason"},
               {"dark_intervals"},
               {"next_dark"},
               {"refused"}});
  const bool view = reply.has_view();
  std::vector<uint32_t> members;
  for (const proto::Member& member : reply.view().members()) members.push_back(member.node());
  std::vector<Cell> cells;
  cells.emplace_back(address);
  cells.emplace_back(reply.version());
  cells.push_back(WhenCell(reply.started_ns(), now));
  cells.push_back(view ? IdCell(reply.view().job()) : Cell("not founded", nullptr));
  cells.push_back(view ? Cell(reply.view().epoch()) : Cell());
  cells.push_back(view ? NodesCell(members) : Cell());
  cells.push_back(view ? Cell(reply.view().first_step()) : Cell());
  cells.push_back(reply.has_view_since_ns() ? WhenCell(reply.view_since_ns(), now) : Cell());
  cells.emplace_back(reply.step());
  cells.emplace_back(reply.nodes_known());
  cells.emplace_back(reply.nodes_connected());
  cells.emplace_back(reply.nodes_active());
  cells.emplace_back(reply.waiting_reason());
  cells.emplace_back(reply.dark_intervals());
  cells.push_back(reply.has_next_dark() ? DarkCell(reply.next_dark(), now, true) : Cell());
  cells.push_back(RefusedCell(reply));
  table.Add(std::move(cells));
  return table;
}

Table NodesTable(const proto::NodesReply& reply) {
  constexpr bool kWide = true;
  Table table({{"node"},
               {"state"},
               {"connected"},
               {"votes"},
               {"epoch"},
               {"step"},
               {"last_heard"},
               {"training_loss"},
               {"allreduce_seconds", kWide},
               {"goodput_bps", kWide},
               {"packets_lost", kWide},
               {"packets_repaired", kWide},
               {"loop_lateness_ms", kWide},
               {"clock_offset_ms", kWide},
               {"clock_bound_ms", kWide},
               {"address"},
               {"incarnation", kWide},
               {"dark"},
               {"drain_at"},
               {"since", kWide},
               {"reason"}});
  for (const proto::NodeRow& row : reply.nodes()) {
    table.Add(NodeCells(row, FromNanos(reply.now_ns())));
  }
  return table;
}

Table ViewsTable(const proto::ViewsReply& reply) {
  Table table({{"epoch"},
               {"planned"},
               {"members"},
               {"first_step"},
               {"decided"},
               {"took_ms"},
               {"ops_finished"},
               {"ops_aborted"},
               {"reason"}});
  for (const proto::ViewRow& row : reply.views()) {
    table.Add({Cell(row.epoch()), YesNo(row.planned()), NodesCell(row.members()),
               Cell(row.first_step()), WhenCell(row.decided_ns(), FromNanos(reply.now_ns())),
               MillisCell(row.took_ns()), Cell(row.ops_finished()), Cell(row.ops_aborted()),
               Cell(row.reason())});
  }
  return table;
}

Table OpsTable(const proto::OpsReply& reply) {
  std::vector<const proto::OpRow*> rows;
  for (const proto::OpRow& row : reply.ops()) rows.push_back(&row);
  std::sort(rows.begin(), rows.end(), [](const proto::OpRow* a, const proto::OpRow* b) {
    return std::make_tuple(a->op().op(), a->node()) < std::make_tuple(b->op().op(), b->node());
  });
  Table table({{"op"}, {"node"}, {"epoch"}, {"progress"}, {"age_s"}, {"waiting_for"}});
  for (const proto::OpRow* row : rows) {
    const double age = static_cast<double>(row->op().age_ns()) / 1e9;
    table.Add({Cell(ToString(OpId(row->op().op()))), Cell(row->node()), Cell(row->op().epoch()),
               PercentCell(row->op().progress()), Cell(absl::StrFormat("%.1f", age), age),
               NodesCell(row->op().waiting_for())});
  }
  return table;
}

Table EventsTable(const std::vector<proto::Event>& events, absl::Time now) {
  Table table({{"number"}, {"time"}, {"kind"}, {"node"}, {"text"}});
  for (const proto::Event& event : events) {
    table.Add({Cell(event.number()), WhenCell(event.time_ns(), now), Cell(event.kind()),
               event.has_node() ? Cell(event.node()) : Cell(), Cell(event.text())});
  }
  return table;
}

std::string EventLine(const proto::Event& event) {
  return absl::StrFormat(
      "%s  %-10s %s%s", FormatUtcMillis(FromNanos(event.time_ns())), event.kind(),
      event.has_node() ? absl::StrCat("node ", event.node(), ": ") : "", event.text());
}

}  // namespace perigee
