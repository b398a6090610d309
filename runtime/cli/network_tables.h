// What is known and planned of links, as tables; perigeectl prints them.
#pragma once

#include <cstddef>
#include <optional>

#include "absl/time/time.h"
#include "runtime/cli/table.h"
#include "runtime/explain.h"
#include "transport/base/ids.h"
#include "transport/contact_plan.h"

namespace perigee {

// One row per directed link, as its sender last told: state is up, silent (an answer is due for
// long), closed or dark (by the plan), or old (the sender itself is not heard). With `node` only
// links from and to it.
Table LinksTable(const Situation& situation, std::optional<NodeId> node);

// Which rows of the plan: those that are not over, the next ones first.
struct PlanRows {
  absl::Time now;
  std::optional<NodeId> node;
  size_t rows_max = 50;
};
Table ContactsTable(const ContactPlan& plan, const PlanRows& rows);
Table EclipsesTable(const ContactPlan& plan, const PlanRows& rows);

}  // namespace perigee
