#include "runtime/cli/explain_command.h"

#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "runtime/control/flight_record.h"
#include "runtime/control/situation_reply.h"
#include "runtime/orbit/plan_file.h"
#include "transport/base/status.h"

namespace perigee {

absl::StatusOr<OpId> ParseOp(absl::string_view text) {
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(text, absl::MaxSplits('.', 1));
  uint64_t step = 0;
  uint32_t index = 1;
  const bool with_index = text.find('.') != absl::string_view::npos;
  const bool good = absl::SimpleAtoi(parts.first, &step) &&
                    (!with_index || absl::SimpleAtoi(parts.second, &index)) &&
                    step < (uint64_t{1} << 48) && index < (uint32_t{1} << OpId::kIndexBits);
  if (!good) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", text, "' is not an op: write STEP.INDEX as `perigeectl ops` shows it"));
  }
  return OpId::Of(StepId(step), index);
}

absl::StatusOr<Situation> ReadRecords(const std::vector<std::string>& paths) {
  std::vector<std::string> files;
  for (const std::string& path : paths) {
    std::error_code error;
    if (!std::filesystem::is_directory(path, error)) {
      files.push_back(path);
      continue;
    }
    const size_t before = files.size();
    for (std::filesystem::directory_iterator it(path, error), end; !error && it != end;
         it.increment(error)) {
      const std::string name = it->path().filename().string();
      const bool record = absl::StartsWith(name, "flight-") && absl::EndsWith(name, ".json");
      if (record) files.push_back(it->path().string());
    }
    if (files.size() == before) {
      return absl::NotFoundError(absl::StrCat(
          path, " holds no flight-*.json: members write them where they were told to"));
    }
  }
  std::vector<FlightRecord> records;
  for (const std::string& path : files) {
    std::ifstream file(path);
    const std::string json = (std::stringstream() << file.rdbuf()).str();
    absl::StatusOr<FlightRecord> record = FlightRecordFromJson(json);
    if (!file || !record.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, ": ", file ? record.status().message() : absl::string_view("cannot be read")));
    }
    records.push_back(*std::move(record));
  }
  return SituationOf(records);
}

absl::StatusOr<Situation> AskSituation(AdminClient& client) {
  PERIGEE_ASSIGN_OR_RETURN(const proto::SituationReply reply, client.Situation());
  PERIGEE_ASSIGN_OR_RETURN(Situation situation, FromProto(reply));
  PERIGEE_ASSIGN_OR_RETURN(const proto::PlanReply plan, client.Plan());
  if (!plan.text().empty()) {
    PERIGEE_ASSIGN_OR_RETURN(
        situation.plan, ParseContactPlan(plan.text(), "plan of the coordinator", situation.now));
  }
  return situation;
}

Table SentencesTable(const std::vector<Sentence>& sentences) {
  Table table({{"op"}, {"hangs"}, {"text"}});
  for (const Sentence& sentence : sentences) {
    table.Add({sentence.op ? Cell(ToString(*sentence.op)) : Cell(),
               Cell(sentence.hangs ? "yes" : "no", sentence.hangs), Cell(sentence.text)});
  }
  return table;
}

}  // namespace perigee
