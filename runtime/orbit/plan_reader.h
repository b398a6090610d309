// The second half of reading a plan file: from the parsed message to a checked plan, with the line
// of each entry at hand for errors. For plan_file.cc; callers use plan_file.h.
#pragma once

#include <google/protobuf/text_format.h>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "proto/constellation.pb.h"
#include "runtime/orbit/plan_file.h"

namespace perigee {

// InvalidArgument "name:line: what: what to do". `relative_to` is the epoch where `input` names
// none.
absl::StatusOr<PlanFile> ReadPlan(const proto::Constellation& input,
                                  const google::protobuf::TextFormat::ParseInfoTree& lines,
                                  absl::string_view name, absl::Time relative_to);

}  // namespace perigee
