// The operators' program: asks a coordinator, prints tables or JSON, drains nodes.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "runtime/cli/admin_tables.h"
#include "runtime/cli/cert_commands.h"
#include "runtime/cli/explain_command.h"
#include "runtime/cli/flags.h"
#include "runtime/cli/quantity.h"
#include "runtime/cli/store_commands.h"
#include "runtime/cli/when.h"
#include "runtime/control/admin_client.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

struct Options {
  std::string address = "127.0.0.1:7000";
  std::string certs;
  bool insecure = false;
  std::string output = "table";
  bool follow = false;
  uint32_t node = 0;
  bool force = false;
  std::string at;
  StoreCommandOptions store;
  std::string op;
  std::vector<std::string> records;
};

void Print(const nlohmann::ordered_json& json, int indent) {
  std::puts(
      json.dump(indent, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
}

void Print(const Options& options, const Table& table, const char* when_empty) {
  if (options.output == "json") {
    Print(table.ToJson(), 2);
  } else if (table.empty()) {
    std::puts(when_empty);
  } else {
    std::fputs(table.ToText(options.output == "wide").c_str(), stdout);
  }
}

// "alice@ground-1", for the event log.
std::string Who() {
  char host[256] = "";
  gethostname(host, sizeof(host) - 1);
  const char* user = std::getenv("USER");
  return absl::StrCat(user != nullptr ? user : "somebody", "@", host);
}

absl::StatusOr<AdminClient> Connect(const Options& options) {
  PERIGEE_ASSIGN_OR_RETURN(const std::string address, ParseHostPort(options.address, false));
  PERIGEE_ASSIGN_OR_RETURN(
      const std::optional<Credentials> credentials,
      ChooseCredentials(options.certs, options.insecure, Role::kOperator, absl::Now()));
  return AdminClient(address, credentials);
}

absl::Status ShowStatus(const Options& options) {
  PERIGEE_ASSIGN_OR_RETURN(AdminClient client, Connect(options));
  PERIGEE_ASSIGN_OR_RETURN(const proto::StatusReply reply, client.Status());
  const Table table = StatusTable(reply, options.address);
  if (options.output == "json") {
    Print(table.RowJson(0), 2);
  } else {
    std::fputs(table.ToList().c_str(), stdout);
  }
  return absl::OkStatus();
}

absl::Status ShowNodes(const Options& options) {
  PERIGEE_ASSIGN_OR_RETURN(AdminClient client, Connect(options));
  PERIGEE_ASSIGN_OR_RETURN(const proto::NodesReply reply, client.Nodes());
  Print(options, NodesTable(reply), "no node has registered yet");
  return absl::OkStatus();
}

absl::Status ShowViews(const Options& options) {
  PERIGEE_ASSIGN_OR_RETURN(AdminClient client, Connect(options));
  PERIGEE_ASSIGN_OR_RETURN(const proto::ViewsReply reply, client.Views());
  Print(options, ViewsTable(reply), "no view yet; perigeectl status says what is waited for");
  return absl::OkStatus();
}

absl::Status ShowOps(const Options& options) {
  PERIGEE_ASSIGN_OR_RETURN(AdminClient client, Connect(options));
  PERIGEE_ASSIGN_OR_RETURN(const proto::OpsReply reply, client.Ops());
  Print(options, OpsTable(reply), "no op is running");
  return absl::OkStatus();
}

absl::Status ShowExplanation(const Options& options) {
  ExplainOptions wanted;
  if (!options.op.empty()) {
    PERIGEE_ASSIGN_OR_RETURN(wanted.op, ParseOp(options.op));
  }
  Situation situation;
  if (options.records.empty()) {
    PERIGEE_ASSIGN_OR_RETURN(AdminClient client, Connect(options));
    PERIGEE_ASSIGN_OR_RETURN(situation, AskSituation(client));
  } else {
    PERIGEE_ASSIGN_OR_RETURN(situation, ReadRecords(options.records));
  }
  const std::vector<Sentence> sentences = Explain(situation, wanted);
  if (options.output == "json") {
    Print(SentencesTable(sentences).ToJson(), 2);
  } else {
    for (const Sentence& sentence : sentences) std::puts(sentence.text.c_str());
  }
  return absl::OkStatus();
}

absl::Status ShowEvents(const Options& options) {
  PERIGEE_ASSIGN_OR_RETURN(AdminClient client, Connect(options));
  std::vector<proto::Event> events;
  absl::Status status = client.Events(options.follow, [&](const proto::Event& event) {
    if (!options.follow) return events.push_back(event);
    if (options.output == "json") {
      Print(EventsTable({event}, absl::Now()).RowJson(0), -1);
    } else {
      std::puts(EventLine(event).c_str());
    }
    std::fflush(stdout);
  });
  if (!status.ok() || options.follow) return status;
  Print(options, EventsTable(events, absl::Now()), "nothing has happened yet");
  return absl::OkStatus();
}

absl::Status PrintOutcome(const Options& options, const absl::StatusOr<std::string>& outcome) {
  if (!outcome.ok()) return outcome.status();
  if (options.output == "json") {
    Print({{"node", options.node}, {"text", *outcome}}, 2);
  } else {
    std::puts(outcome->c_str());
  }
  return absl::OkStatus();
}

absl::Status Drain(const Options& options) {
  std::optional<absl::Time> at;
  if (!options.at.empty()) {
    PERIGEE_ASSIGN_OR_RETURN(at, ParseWhen(options.at, absl::Now()));
  }
  PERIGEE_ASSIGN_OR_RETURN(AdminClient client, Connect(options));
  return PrintOutcome(options, client.Drain(NodeId(options.node), at, Who()));
}

absl::Status Undrain(const Options& options) {
  PERIGEE_ASSIGN_OR_RETURN(AdminClient client, Connect(options));
  return PrintOutcome(options, client.Undrain(NodeId(options.node), Who()));
}

absl::Status Evict(const Options& options) {
  PERIGEE_ASSIGN_OR_RETURN(AdminClient client, Connect(options));
  return PrintOutcome(options, client.Evict(NodeId(options.node), options.force, Who()));
}

int Main(int argc, char** argv) {
  Options options;
  Program program("perigeectl", "Shows and commands a running Perigee job.",
                  "perigeectl --certs certs status\n"
                  "perigeectl --certs certs --address 10.0.0.1:7000 nodes -o json");
  CLI::App& app = program.app();
  app.fallthrough();  // the flags below may also stand after the command
  app.add_option("--address", options.address, "of perigeed")
      ->type_name("HOST:PORT")
      ->capture_default_str();
  app.add_option("--certs", options.certs,
                 "folder with an operator's or an observer's certificate (perigeectl cert init)")
      ->type_name("DIR");
  app.add_flag("--insecure", options.insecure, "no TLS, to a perigeed that has none");
  app.add_option("-o,--output", options.output, "table, wide or json")
      ->check(CLI::IsMember({"table", "wide", "json"}).description(""))
      ->type_name("FORM")
      ->capture_default_str();

  program.AddCommand("status", "The job at a glance.", "perigeectl --certs certs status",
                     [&] { return ShowStatus(options); });
  program.AddCommand("nodes", "Every node that was seen: state, health, when it goes dark.",
                     "perigeectl --certs certs nodes\nperigeectl --certs certs nodes -o wide",
                     [&] { return ShowNodes(options); });
  program.AddCommand("views", "The views so far, and why each was made.",
                     "perigeectl --certs certs views", [&] { return ShowViews(options); });
  program.AddCommand("ops", "Running collectives: what each waits for, from whom, since when.",
                     "perigeectl --certs certs ops", [&] { return ShowOps(options); });
  CLI::App& explain = program.AddCommand(
      "explain", "Why the job stands still: one sentence per hung op, who waits for whom and why.",
      "perigeectl --certs certs explain\nperigeectl --certs certs explain 12.1\n"
      "perigeectl explain --records /var/tmp/perigee",
      [&] { return ShowExplanation(options); });
  explain.add_option("OP", options.op, "only this op, STEP.INDEX")->type_name("");
  explain
      .add_option("--records", options.records,
                  "flight records instead of a coordinator: files, or the folder with them")
      ->type_name("PATH");
  CLI::App& events =
      program.AddCommand("events", "What happened.", "perigeectl --certs certs events --follow",
                         [&] { return ShowEvents(options); });
  events.add_flag("--follow,-f", options.follow, "go on with what happens");
  CLI::App& drain = program.AddCommand(
      "drain", "Takes a node out at a step boundary; no step is lost.",
      "perigeectl --certs certs drain 4\nperigeectl --certs certs drain 4 --at 10m\n"
      "perigeectl --certs certs drain 4 --at 2027-01-31T12:00:00Z",
      [&] { return Drain(options); });
  drain.add_option("NODE", options.node, "the node's number")->required()->type_name("");
  drain.add_option("--at", options.at, "when, in UTC, or how long from now")->type_name("TIME");
  CLI::App& undrain =
      program.AddCommand("undrain", "Lets a drained node in again.",
                         "perigeectl --certs certs undrain 4", [&] { return Undrain(options); });
  undrain.add_option("NODE", options.node, "the node's number")->required()->type_name("");
  CLI::App& evict = program.AddCommand(
      "evict", "Takes a node out of the view at once, as if it were lost.",
      "perigeectl --certs certs evict 4\nperigeectl --certs certs evict 4 --force",
      [&] { return Evict(options); });
  evict.add_option("NODE", options.node, "the node's number")->required()->type_name("");
  evict.add_flag("--force", options.force,
                 "the majority died, and this node with it: you have made sure that it cannot come "
                 "back as it was, so its vote counts no more");
  const CertCommands certificates(program, options.output);
  AddStoreCommands(program, options.store, options.output);
  return program.Run(argc, argv);
}

}  // namespace
}  // namespace perigee

int main(int argc, char** argv) {
  // gRPC's own messages are about its inside; what matters comes back as a status.
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
  return perigee::Main(argc, argv);
}
