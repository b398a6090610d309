// `perigeectl explain`: from the coordinator's answers to sentences.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/cli/table.h"
#include "runtime/control/admin_client.h"
#include "runtime/explain.h"

namespace perigee {

// "12.1" or "12" (its first op). InvalidArgument for other texts.
absl::StatusOr<OpId> ParseOp(absl::string_view text);

// What flight records tell: `paths` are files, or folders whose flight-*.json are read.
// InvalidArgument names the file that is none; NotFound a folder without any.
absl::StatusOr<Situation> ReadRecords(const std::vector<std::string>& paths);

// Asks for all that the members report and for the contact plan.
absl::StatusOr<Situation> AskSituation(AdminClient& client);

// One row per sentence: op, hangs, text.
Table SentencesTable(const std::vector<Sentence>& sentences);

}  // namespace perigee
