#include "runtime/cli/store_commands.h"

#include <cstdio>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/cli/table.h"
#include "runtime/control/sqlite_store.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

// "3 to 812"; empty for none.
template <typename Records, typename NumberOf>
Cell Range(const Records& records, NumberOf number_of) {
  if (records.empty()) return Cell();
  return Cell(absl::StrCat(number_of(records.front()), " to ", number_of(records.back())));
}

// One row.
Table StoreTable(const StoreSummary& summary) {
  const CoordinatorSnapshot& snapshot = summary.snapshot;
  Table table({{"result"},
               {"schema"},
               {"written_by"},
               {"job"},
               {"views"},
               {"events"},
               {"drains"},
               {"evictions"}});
  const bool whole = summary.problems.empty();
  const Cell job =
      snapshot.views.empty() ? Cell() : Cell(ToString(snapshot.views.back().proposal.view.job));
  table.Add({Cell(whole ? "whole" : summary.problems.front()), Cell(summary.schema),
             Cell(summary.written_by), job,
             Range(snapshot.views,
                   [](const ViewRecord& view) { return view.proposal.view.epoch.value(); }),
             Range(snapshot.events, [](const CoordinatorEvent& event) { return event.number; }),
             Cell(snapshot.drains.size()), Cell(snapshot.evictions.size())});
  return table;
}

void Print(const Table& table, const std::string& output) {
  if (output == "json") {
    const auto replace = nlohmann::ordered_json::error_handler_t::replace;
    std::puts(table.RowJson(0).dump(2, ' ', false, replace).c_str());
  } else {
    std::fputs(table.ToList().c_str(), stdout);
  }
}

absl::Status Check(const std::string& path, const std::string& output) {
  PERIGEE_ASSIGN_OR_RETURN(const StoreSummary summary, CheckStore(path));
  Print(StoreTable(summary), output);
  if (summary.problems.empty()) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat(path, ": ", summary.problems.front(),
                   ": put a backup in its place, or start perigeed with a new --store"));
}

absl::Status BackUp(const std::string& path, const std::string& to, const std::string& output) {
  PERIGEE_RETURN_IF_ERROR(BackUpStore(path, to));
  PERIGEE_ASSIGN_OR_RETURN(const StoreSummary summary, CheckStore(to));
  Print(StoreTable(summary), output);
  return absl::OkStatus();
}

}  // namespace

void AddStoreCommands(Program& program, StoreCommandOptions& options, const std::string& output) {
  CLI::App& store = program.AddGroup("store", "A perigeed's --store: checks it, copies it.");
  CLI::App& check = program.AddCommand(
      store, "check", "Whether a store is whole, and what is in it.",
      "perigeectl store check /var/lib/perigee.db", [&] { return Check(options.path, output); });
  check.add_option("PATH", options.path, "the store")->required()->type_name("");
  CLI::App& backup =
      program.AddCommand(store, "backup", "Copies a store, also while perigeed runs.",
                         "perigeectl store backup /var/lib/perigee.db --to /backup/perigee.db",
                         [&] { return BackUp(options.path, options.to, output); });
  backup.add_option("PATH", options.path, "the store")->required()->type_name("");
  backup.add_option("--to", options.to, "the copy; must not exist")->required()->type_name("PATH");
}

}  // namespace perigee
