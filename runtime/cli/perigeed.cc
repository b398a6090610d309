// The coordinator's daemon: keeps track of the members and decides their views. Ends on SIGTERM and
// SIGINT.
#include <pthread.h>
#include <signal.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "runtime/cli/flags.h"
#include "runtime/cli/metrics_http.h"
#include "runtime/cli/quantity.h"
#include "runtime/control/control_server.h"
#include "runtime/control/credentials.h"
#include "runtime/control/sqlite_store.h"
#include "runtime/orbit/plan_file.h"
#include "runtime/version.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

struct Options {
  std::string listen = "127.0.0.1:7000";
  std::string certs;
  bool insecure = false;
  std::string contacts;
  std::string store;
  std::string http;  // empty: no HTTP
  CoordinatorOptions coordinator;
};

void SetUpLog() {
  auto log = spdlog::stderr_color_mt("perigeed");
  log->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %^%l%$ %v", spdlog::pattern_time_type::utc);
  log->flush_on(spdlog::level::info);
  spdlog::set_default_logger(log);
}

// What an operator should look at stands out from what happens every day.
void Log(const CoordinatorEvent& event, const Coordinator& coordinator) {
  std::string line = event.kind;
  if (event.node) absl::StrAppend(&line, " node ", event.node->value());
  if (!event.text.empty()) absl::StrAppend(&line, ": ", event.text);
  if (event.kind == "view" && !coordinator.views().empty()) {
    absl::StrAppend(&line, ", decided in ",
                    absl::FormatDuration(
                        absl::Trunc(coordinator.views().back().took, absl::Microseconds(100))));
  }
  const bool trouble = event.kind == "lost" || event.kind == "refused" || event.kind == "suspect" ||
                       (event.kind == "audit" && absl::StartsWith(event.text, "refused"));
  spdlog::log(trouble ? spdlog::level::warn : spdlog::level::info, "{}", line);
}

struct LoadedPlan {
  ContactPlan plan;
  std::string text;  // with absolute times, for the members
  std::string summary;
};

std::string Count(size_t count, const char* what) {
  return absl::StrCat(count, " ", what, count == 1 ? "" : "s");
}

absl::StatusOr<LoadedPlan> LoadPlan(const std::string& path) {
  LoadedPlan loaded;
  if (path.empty()) return loaded;
  const absl::Time now = absl::Now();
  PERIGEE_ASSIGN_OR_RETURN(loaded.plan, LoadContactPlan(path, now));
  loaded.text = FormatContactPlan(loaded.plan, now);
  loaded.summary = absl::StrCat(", ", Count(loaded.plan.dark_intervals().size(), "dark interval"));
  if (!loaded.plan.contacts().empty()) {
    absl::StrAppend(&loaded.summary, " and ", Count(loaded.plan.contacts().size(), "contact"));
  }
  absl::StrAppend(&loaded.summary, " in ", path);
  return loaded;
}

// What ends the daemon: a signal, or a store that fails, which wakes whoever waits for a signal.
class Ending {
 public:
  // Before the first thread starts, so that all threads leave the signals to Wait.
  Ending() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGTERM);
    sigaddset(&signals_, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  }
  void Fail(const absl::Status& status) {
    {
      std::lock_guard lock(mutex_);
      status_ = status;
    }
    kill(getpid(), SIGTERM);
  }
  absl::Status Wait() {
    int signal = 0;
    sigwait(&signals_, &signal);
    std::lock_guard lock(mutex_);
    if (status_.ok()) spdlog::info("ending: {}", signal == SIGTERM ? "SIGTERM" : "SIGINT");
    return status_;
  }

 private:
  sigset_t signals_;
  std::mutex mutex_;
  absl::Status status_;
};

absl::StatusOr<std::unique_ptr<SqliteStore>> OpenStore(const Options& options) {
  if (options.store.empty()) return nullptr;
  return SqliteStore::Open(options.store, options.coordinator.events_max);
}

absl::Status Serve(const Options& options) {
  PERIGEE_ASSIGN_OR_RETURN(const std::string listen, ParseHostPort(options.listen, true));
  PERIGEE_ASSIGN_OR_RETURN(
      const std::optional<Credentials> credentials,
      ChooseCredentials(options.certs, options.insecure, Role::kCoordinator, absl::Now()));
  std::string http_address;
  if (!options.http.empty()) {
    PERIGEE_ASSIGN_OR_RETURN(http_address, ParseHostPort(options.http, true));
  }
  PERIGEE_ASSIGN_OR_RETURN(LoadedPlan plan, LoadPlan(options.contacts));
  SetUpLog();

  Ending ending;
  PERIGEE_ASSIGN_OR_RETURN(const std::unique_ptr<SqliteStore> store, OpenStore(options));
  ControlServer::Options server_options;
  server_options.listen = listen;
  server_options.credentials = credentials;
  server_options.insecure = options.insecure;
  server_options.coordinator = options.coordinator;
  server_options.on_event = Log;
  server_options.store = store.get();
  server_options.on_store_failure = [&ending](const absl::Status& status) { ending.Fail(status); };
  PERIGEE_ASSIGN_OR_RETURN(std::unique_ptr<ControlServer> server,
                           ControlServer::Start(server_options, plan.plan, plan.text));
  if (options.insecure) {
    spdlog::warn("--insecure: anybody who reaches {} can join and command this job",
                 server->address());
  }
  std::unique_ptr<MetricsHttp> http;
  if (!http_address.empty()) {
    PERIGEE_ASSIGN_OR_RETURN(http, MetricsHttp::Start(http_address, *server));
    absl::StrAppend(&plan.summary, ", metrics on http://", http->address(), "/metrics");
  }
  std::printf("perigeed %s ready on %s (%s)%s\n", kVersion, server->address().c_str(),
              options.insecure ? "insecure" : "mTLS", plan.summary.c_str());
  std::fflush(stdout);

  absl::Status ended = ending.Wait();
  http.reset();
  server->Stop();
  if (ended.ok()) return ended;
  return absl::Status(ended.code(), absl::StrCat(ended.message(),
                                                 "; ending, the members go on: see to the disk and "
                                                 "start perigeed again"));
}

}  // namespace
}  // namespace perigee

int main(int argc, char** argv) {
  // gRPC's own messages are about its inside; what matters comes back as a status.
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
  using namespace perigee;
  Options options;
  Program program("perigeed", "Coordinates the members of Perigee jobs.",
                  "perigeed --listen 0.0.0.0:7000 --certs certs --contacts plan.textproto\n"
                  "perigeed --certs certs --store /var/lib/perigee.db\n"
                  "perigeed --listen 127.0.0.1:7000 --insecure --http 127.0.0.1:9700");
  CLI::App& app = program.app();
  app.add_option("--listen", options.listen, "where members and operators connect")
      ->type_name("HOST:PORT")
      ->capture_default_str();
  app.add_option("--certs", options.certs,
                 "folder with the coordinator's certificate (perigeectl cert init)")
      ->type_name("DIR");
  app.add_flag("--insecure", options.insecure, "no TLS: anybody who reaches the port is trusted");
  app.add_option("--http", options.http,
                 "serve /metrics for Prometheus there, to anybody who reaches it; off by default")
      ->type_name("HOST:PORT");
  AddInputFile(app, "--contacts", &options.contacts,
               "contact plan, proto/constellation.proto as text");
  app.add_option(
         "--store", options.store,
         "file that keeps events, views, drains and evictions over restarts; made where it is "
         "missing")
      ->type_name("PATH");
  app.add_option("--min-members", options.coordinator.min_members, "no view has fewer members")
      ->type_name("N")
      ->check(CLI::Range(uint32_t{1}, uint32_t{10000}).description(""))
      ->capture_default_str();
  AddTime(app, "--suspect-after", &options.coordinator.suspect_after,
          "unplanned silence until a member is proposed for removal");
  AddTime(app, "--dark-lead", &options.coordinator.dark_lead,
          "at least how long before it goes dark a node is taken out; longer where steps are long");
  return program.Run(argc, argv, [&] { return Serve(options); });
}
