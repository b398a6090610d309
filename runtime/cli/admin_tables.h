// The coordinator's answers as tables; perigeectl prints them.
#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "proto/control.pb.h"
#include "runtime/cli/table.h"

namespace perigee {

Table StatusTable(const proto::StatusReply& reply, const std::string& address);
Table NodesTable(const proto::NodesReply& reply);
Table ViewsTable(const proto::ViewsReply& reply);
// Ordered by op, then by node: who waits for whom stands together.
Table OpsTable(const proto::OpsReply& reply);
Table EventsTable(const std::vector<proto::Event>& events, absl::Time now);
// One line for `events --follow`.
std::string EventLine(const proto::Event& event);

// "0-3,7": ascending numbers.
std::string FormatRanges(const std::vector<uint32_t>& numbers);

}  // namespace perigee
