// Reads and writes the plan file of an operator (proto/constellation.proto in text form):
//
//   PERIGEE_ASSIGN_OR_RETURN(ContactPlan plan, LoadContactPlan("plan.textproto", absl::Now()));
//
// Errors are one line: file, line, what is wrong, what to do, e.g.
//   plan.textproto:12: contact 0 -> 3 closes at 5000 ms, not after it opens at 9000 ms: swap the
//   two
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "transport/base/ids.h"
#include "transport/contact_plan.h"

namespace perigee {

struct PlanNode {
  NodeId id;
  std::string name;
  std::string address;  // "host:port" of the data plane, or empty

  friend bool operator==(const PlanNode&, const PlanNode&) = default;
};

struct PlanFile {
  std::vector<PlanNode> nodes;  // by id; empty where the file does not list them
  ContactPlan plan;
};

// A file that names no epoch counts its times from `relative_to`. NotFound for a file that cannot
// be read, ResourceExhausted past kPlanFileBytesMax, InvalidArgument for what it says.
inline constexpr size_t kPlanFileBytesMax = size_t{256} << 20;
absl::StatusOr<PlanFile> LoadPlanFile(const std::string& path, absl::Time relative_to);
// `name` stands for the file in errors.
absl::StatusOr<PlanFile> ParsePlanFile(absl::string_view text, absl::string_view name,
                                       absl::Time relative_to);
// The text of a plan, with times counted from `epoch` (cut to whole milliseconds since 1970).
// Reading it gives the same plan: exactly within 12 days of the epoch, to the microsecond within
// centuries. Epoch 0 writes a relative file.
std::string FormatPlanFile(const PlanFile& file, absl::Time epoch);

// The same without the nodes.
absl::StatusOr<ContactPlan> LoadContactPlan(const std::string& path, absl::Time relative_to);
absl::StatusOr<ContactPlan> ParseContactPlan(absl::string_view text, absl::string_view name,
                                             absl::Time relative_to);
std::string FormatContactPlan(const ContactPlan& plan, absl::Time epoch);

}  // namespace perigee
