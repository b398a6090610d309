// The operators' program: asks a coordinator, prints tables, JSON or YAML, drains nodes.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "runtime/cli/admin_tables.h"
#include "runtime/cli/cert_commands.h"
#include "runtime/cli/completion.h"
#include "runtime/cli/explain_command.h"
#include "runtime/cli/flags.h"
#include "runtime/cli/network_tables.h"
#include "runtime/cli/quantity.h"
#include "runtime/cli/store_commands.h"
#include "runtime/cli/watch.h"
#include "runtime/cli/when.h"
#include "runtime/cli/yaml.h"
#include "runtime/control/admin_client.h"
#include "runtime/orbit/plan_file.h"
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
  std::string watch;  // as Watch takes it; empty: once
  std::optional<uint32_t> only_node;
  size_t rows_max = 50;
  std::string shell;

  bool for_programs() const { return output == "json" || output == "yaml"; }
};

void Print(const nlohmann::ordered_json& json, int indent) {
  std::puts(
      json.dump(indent, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
}

void PrintValue(const Options& options, const nlohmann::ordered_json& value) {
  if (options.output == "yaml") {
    std::fputs(ToYaml(value).c_str(), stdout);
  } else {
    Print(value, 2);
  }
}

void Print(const Options& options, const Table& table, const char* when_empty) {
  if (options.for_programs()) {
    PrintValue(options, table.ToJson());
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
  if (options.for_programs()) {
    PrintValue(options, table.RowJson(0));
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
  if (options.for_programs()) {
    PrintValue(options, SentencesTable(sentences).ToJson());
  } else {
    for (const Sentence& sentence : sentences) std::puts(sentence.text.c_str());
  }
  return absl::OkStatus();
}

std::optional<NodeId> OnlyNode(const Options& options) {
  if (!options.only_node) return std::nullopt;
  return NodeId(*options.only_node);
}

absl::Status ShowLinks(const Options& options) {
  PERIGEE_ASSIGN_OR_RETURN(AdminClient client, Connect(options));
  PERIGEE_ASSIGN_OR_RETURN(const Situation situation, AskSituation(client));
  Print(options, LinksTable(situation, OnlyNode(options)), "no member has told of a link yet");
  return absl::OkStatus();
}

struct AskedPlan {
  ContactPlan plan;
  PlanRows rows;
  std::string text;
};

absl::StatusOr<AskedPlan> AskPlan(const Options& options) {
  PERIGEE_ASSIGN_OR_RETURN(AdminClient client, Connect(options));
  PERIGEE_ASSIGN_OR_RETURN(const proto::PlanReply reply, client.Plan());
  AskedPlan asked{.text = reply.text()};
  asked.rows = {.now = absl::FromUnixNanos(reply.now_ns()),
                .node = OnlyNode(options),
                .rows_max = options.rows_max};
  if (asked.text.empty()) return asked;
  PERIGEE_ASSIGN_OR_RETURN(asked.plan,
                           ParseContactPlan(asked.text, "plan of the coordinator", asked.rows.now));
  return asked;
}

absl::Status ShowContacts(const Options& options) {
  PERIGEE_ASSIGN_OR_RETURN(const AskedPlan asked, AskPlan(options));
  Print(options, ContactsTable(asked.plan, asked.rows),
        "the plan has no contact from now on: every link is taken to be open");
  return absl::OkStatus();
}

absl::Status ShowEclipses(const Options& options) {
  PERIGEE_ASSIGN_OR_RETURN(const AskedPlan asked, AskPlan(options));
  Print(options, EclipsesTable(asked.plan, asked.rows), "the plan has no eclipse from now on");
  return absl::OkStatus();
}

absl::Status ShowPlan(const Options& options) {
  PERIGEE_ASSIGN_OR_RETURN(AskedPlan asked, AskPlan(options));
  asked.rows.rows_max = std::numeric_limits<size_t>::max();
  if (options.for_programs()) {
    PrintValue(options, {{"contacts", ContactsTable(asked.plan, asked.rows).ToJson()},
                         {"eclipses", EclipsesTable(asked.plan, asked.rows).ToJson()}});
  } else if (asked.text.empty()) {
    std::puts("there is no plan: perigeed was started without --contacts");
  } else {
    std::fputs(asked.text.c_str(), stdout);
  }
  return absl::OkStatus();
}

absl::Status ShowEvents(const Options& options) {
  if (options.follow && !options.watch.empty()) {
    return absl::InvalidArgumentError("--follow goes on by itself: leave out --watch");
  }
  PERIGEE_ASSIGN_OR_RETURN(AdminClient client, Connect(options));
  std::vector<proto::Event> events;
  absl::Status status = client.Events(options.follow, [&](const proto::Event& event) {
    if (!options.follow) return events.push_back(event);
    const nlohmann::ordered_json row = EventsTable({event}, absl::Now()).RowJson(0);
    if (options.output == "json") {
      Print(row, -1);
    } else if (options.output == "yaml") {
      std::printf("---\n%s", ToYaml(row).c_str());
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
  if (options.for_programs()) {
    PrintValue(options, {{"node", options.node}, {"text", *outcome}});
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

// ---- The commands. ----

using Action = absl::Status (*)(const Options&);

// A command that only shows something, once or with --watch again and again.
CLI::App& AddView(Program& program, Options& options, const std::string& name,
                  const std::string& what, Action action) {
  const std::string example = absl::StrCat("perigeectl --certs certs ", name);
  return program.AddCommand(
      name, what, absl::StrCat(example, "\n", example, " --watch=5\n", example, " -o json"),
      [&options, action] { return Watch(options.watch, [&] { return action(options); }); });
}

void AddOutput(CLI::App& app, Options& options) {
  app.add_option("--address", options.address, "of perigeed")
      ->type_name("HOST:PORT")
      ->capture_default_str();
  app.add_option("--certs", options.certs,
                 "folder with an operator's or an observer's certificate (perigeectl cert init)")
      ->type_name("DIR");
  app.add_flag("--insecure", options.insecure, "no TLS, to a perigeed that has none");
  app.add_option("-o,--output", options.output, "table, wide, json or yaml")
      ->check(CLI::IsMember({"table", "wide", "json", "yaml"}).description(""))
      ->type_name("FORM")
      ->capture_default_str();
  app.add_flag("--watch{2}", options.watch,
               "draw again every so many SECONDS, until Ctrl-C or for a day");
}

void AddJobViews(Program& program, Options& options) {
  AddView(program, options, "status", "The job at a glance.", ShowStatus);
  AddView(program, options, "nodes", "Every node that was seen: state, health, when it goes dark.",
          ShowNodes);
  AddView(program, options, "views", "The views so far, and why each was made.", ShowViews);
  AddView(program, options, "ops",
          "Running collectives: what each waits for, from whom, since when.", ShowOps);
  CLI::App& explain =
      AddView(program, options, "explain",
              "Why the job stands still: one sentence per hung op, who waits for whom and why.",
              ShowExplanation);
  explain.add_option("OP", options.op, "only this op, STEP.INDEX")->type_name("");
  explain
      .add_option("--records", options.records,
                  "flight records instead of a coordinator: files, or the folder with them")
      ->type_name("PATH");
  CLI::App& events = AddView(program, options, "events", "What happened.", ShowEvents);
  events.add_flag("--follow,-f", options.follow, "go on with what happens");
}

void AddNetworkViews(Program& program, Options& options) {
  CLI::App& links =
      AddView(program, options, "links",
              "Links between members, as their senders tell: state, losses, goodput.", ShowLinks);
  CLI::App& contacts = AddView(program, options, "contacts",
                               "Contacts of the plan: open ones, then the next.", ShowContacts);
  CLI::App& eclipses = AddView(program, options, "eclipses",
                               "When nodes are dark: present times, then the next.", ShowEclipses);
  for (CLI::App* command : {&links, &contacts, &eclipses}) {
    command->add_option("NODE", options.only_node, "only of this node")->type_name("");
  }
  program.AddCommand(program.AddGroup("plan", "The contact plan."), "show",
                     "The contact plan as the members have it.",
                     "perigeectl --certs certs plan show",
                     [&] { return Watch(options.watch, [&] { return ShowPlan(options); }); });
  for (CLI::App* command : {&contacts, &eclipses}) {
    command->add_option("--limit", options.rows_max, "at most so many rows")
        ->type_name("N")
        ->capture_default_str();
  }
}

void AddActions(Program& program, Options& options) {
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
  CLI::App& completion = program.AddCommand(
      "completion", "Prints the completion script of a shell.",
      "source <(perigeectl completion bash)\nperigeectl completion zsh > ~/.zfunc/_perigeectl",
      [&]() -> absl::Status {
        PERIGEE_ASSIGN_OR_RETURN(const std::string script,
                                 CompletionScript(program.app(), options.shell));
        std::fputs(script.c_str(), stdout);
        return absl::OkStatus();
      });
  completion.add_option("SHELL", options.shell, "bash or zsh")->required()->type_name("");
}

int Main(int argc, char** argv) {
  Options options;
  Program program("perigeectl", "Shows and commands a running Perigee job.",
                  "perigeectl --certs certs status\n"
                  "perigeectl --certs certs --address 10.0.0.1:7000 nodes -o json");
  program.app().fallthrough();  // the flags below may also stand after the command
  AddOutput(program.app(), options);
  AddJobViews(program, options);
  AddNetworkViews(program, options);
  AddActions(program, options);
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
