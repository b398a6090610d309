// perigeed and perigeectl as their users run them: flags, exit codes, one line on standard error.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "runtime/cli/child_process.h"

namespace perigee {
namespace {

constexpr absl::Duration kDeadline = absl::Seconds(60);

struct Outcome {
  int exit_code = -1;
  std::string out, err;
};

std::string ErrorFile() { return testing::TempDir() + "/perigee_programs_test.err"; }

Outcome RunProgram(const std::vector<std::string>& argv) {
  std::remove(ErrorFile().c_str());
  auto child = ChildProcess::Start(argv, ErrorFile());
  EXPECT_TRUE(child.ok()) << child.status();
  Outcome outcome;
  ReadLines({&*child}, absl::Now() + kDeadline, [&](size_t, const std::string& line) {
    absl::StrAppend(&outcome.out, line, "\n");
    return true;
  });
  outcome.exit_code = child->Wait(kDeadline);
  std::ifstream file(ErrorFile());
  outcome.err = (std::stringstream() << file.rdbuf()).str();
  return outcome;
}

void ExpectOneLine(const std::vector<std::string>& argv, int exit_code, const std::string& text) {
  const Outcome outcome = RunProgram(argv);
  EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  EXPECT_NE(outcome.err.find(text), std::string::npos) << outcome.err;
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
}

// A perigeed on a port of its own, until it goes out of scope.
class Daemon {
 public:
  explicit Daemon(const std::vector<std::string>& trust = {"--insecure"})
      : child_(*ChildProcess::Start(Command(trust))) {
    ReadLines({&child_}, absl::Now() + kDeadline, [&](size_t, const std::string& line) {
      ready_ = line;
      return false;
    });
  }
  const std::string& ready() const { return ready_; }
  // "perigeed 0.1.0 ready on 127.0.0.1:40001 (insecure)"
  std::string address() const {
    const std::vector<std::string> words = absl::StrSplit(ready_, ' ');
    return words.size() > 4 ? words[4] : "";
  }
  ChildProcess& child() { return child_; }

 private:
  static std::vector<std::string> Command(const std::vector<std::string>& trust) {
    std::vector<std::string> argv = {PERIGEED, "--listen", "127.0.0.1:0"};
    argv.insert(argv.end(), trust.begin(), trust.end());
    return argv;
  }

  ChildProcess child_;
  std::string ready_;
};

TEST(Programs, UsageErrorsAreOneLineAndExitWithTwo) {
  ExpectOneLine({PERIGEED}, 2, "perigeectl cert init --out DIR");
  ExpectOneLine({PERIGEED}, 2, "pass --insecure");
  ExpectOneLine({PERIGEED, "--certs", "/no/such"}, 2, "/no/such/ca.pem");
  ExpectOneLine({PERIGEED, "--certs", "certs", "--insecure"}, 2, "exclude each other");
  ExpectOneLine({PERIGEED, "--listen", "here", "--insecure"}, 2, "'here' is not a HOST:PORT");
  ExpectOneLine({PERIGEED, "--insecure", "--contacts", "/no/such"}, 2, "/no/such");
  ExpectOneLine({PERIGEED, "--insecure", "--suspect-after", "soon"}, 2, "'soon' is not a time");
  ExpectOneLine({PERIGEED, "--insecure", "--colour"}, 2, "--colour");
  ExpectOneLine({PERIGEECTL, "status"}, 2, "pass --insecure");
  ExpectOneLine({PERIGEECTL, "cert"}, 2, "subcommand is required");
  ExpectOneLine({PERIGEECTL, "cert", "init"}, 2, "--out is required");
  ExpectOneLine({PERIGEECTL, "cert", "init", "--out", "x", "--days", "0"}, 2, "--days");
  ExpectOneLine({PERIGEECTL, "--insecure"}, 2, "which command?");
  ExpectOneLine({PERIGEECTL, "--insecure", "drain"}, 2, "NODE");
  ExpectOneLine({PERIGEECTL, "--insecure", "drain", "x"}, 2, "NODE");
  ExpectOneLine({PERIGEECTL, "--insecure", "drain", "1", "--at", "then"}, 2, "'then'");
  ExpectOneLine({PERIGEECTL, "--insecure", "nodes", "-o", "xml"}, 2, "xml");
  ExpectOneLine({PERIGEECTL, "store"}, 2, "subcommand");
  ExpectOneLine({PERIGEECTL, "store", "check"}, 2, "PATH");
  ExpectOneLine({PERIGEECTL, "store", "backup", "x"}, 2, "--to");
  ExpectOneLine({PERIGEECTL, "--insecure", "explain", "12.x"}, 2, "'12.x' is not an op");
  ExpectOneLine({PERIGEECTL, "explain", "--records", "/no/such"}, 2, "/no/such");
  ExpectOneLine({PERIGEECTL, "--insecure", "nodes", "--watch=soon"}, 2, "'soon'");
  ExpectOneLine({PERIGEECTL, "--insecure", "events", "--follow", "--watch"}, 2, "--watch");
  ExpectOneLine({PERIGEECTL, "--insecure", "plan"}, 2, "subcommand");
  ExpectOneLine({PERIGEECTL, "completion", "fish"}, 2, "'fish'");
  ExpectOneLine({PERIGEED, "--insecure", "--http", "here"}, 2, "'here' is not a HOST:PORT");
}

TEST(Programs, ADaemonServesItsOperatorAndEndsCleanly) {
  Daemon daemon;
  EXPECT_TRUE(absl::StrContains(daemon.ready(), "ready on 127.0.0.1:")) << daemon.ready();
  const std::string address = daemon.address();

  const Outcome status =
      RunProgram({PERIGEECTL, "--address", address, "--insecure", "status", "-o", "json"});
  EXPECT_EQ(status.exit_code, 0) << status.err;
  const auto json = nlohmann::json::parse(status.out);
  EXPECT_EQ(json["address"], address);
  EXPECT_EQ(json["nodes_known"], 0);
  for (const char* command : {"status", "nodes", "views", "ops", "explain", "links", "contacts",
                              "eclipses", "plan show", "events"}) {
    for (const char* form : {"table", "wide", "json", "yaml"}) {
      std::vector<std::string> argv = {PERIGEECTL};
      for (const auto& word : absl::StrSplit(command, ' ')) argv.emplace_back(word);
      argv.insert(argv.end(), {"--insecure", "--address", address, "-o", form});
      const Outcome shown = RunProgram(argv);
      EXPECT_EQ(shown.exit_code, 0) << shown.err;
      EXPECT_EQ(shown.err, "");
      EXPECT_NE(shown.out, "") << command;
    }
  }
  ExpectOneLine({PERIGEECTL, "--insecure", "--address", address, "drain", "9"}, 1, "node 9");
  ExpectOneLine({PERIGEED, "--insecure", "--listen", address}, 1, "is in use");

  daemon.child().Signal(SIGTERM);
  EXPECT_EQ(daemon.child().Wait(kDeadline), 0);
  ExpectOneLine({PERIGEECTL, "--insecure", "--address", address, "status"}, 1,
                absl::StrCat("no coordinator at ", address, ": is perigeed running there?"));
}

TEST(Programs, AStoreIsCheckedAndCopiedWhileItsDaemonRuns) {
  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) / absl::StrCat("perigee_programs_", getpid());
  std::filesystem::remove_all(folder);
  std::filesystem::create_directory(folder);
  const std::string store = folder / "perigee.db";
  const std::string copy = folder / "copy.db";
  Daemon daemon({"--insecure", "--store", store});
  ASSERT_NE(daemon.address(), "");
  ExpectOneLine({PERIGEED, "--insecure", "--listen", "127.0.0.1:0", "--store", store}, 1,
                absl::StrCat("is held by process ", daemon.child().pid()));

  const Outcome check = RunProgram({PERIGEECTL, "store", "check", store, "-o", "json"});
  EXPECT_EQ(check.exit_code, 0) << check.err;
  const auto json = nlohmann::json::parse(check.out);
  EXPECT_EQ(json["result"], "whole");
  EXPECT_EQ(json["schema"], 2);
  EXPECT_EQ(json["drains"], 0);
  EXPECT_EQ(json["evictions"], 0);
  EXPECT_TRUE(json["job"].is_null());
  const Outcome backup = RunProgram({PERIGEECTL, "store", "backup", store, "--to", copy});
  EXPECT_EQ(backup.exit_code, 0) << backup.err;
  EXPECT_NE(backup.out.find("whole"), std::string::npos) << backup.out;
  ExpectOneLine({PERIGEECTL, "store", "backup", store, "--to", copy}, 1, "is there already");
  ExpectOneLine({PERIGEECTL, "store", "check", "/no/such"}, 1, "/no/such: there is no store");
  daemon.child().Signal(SIGTERM);
  EXPECT_EQ(daemon.child().Wait(kDeadline), 0);

  std::ofstream(copy, std::ios::binary) << "notes";
  ExpectOneLine({PERIGEED, "--insecure", "--listen", "127.0.0.1:0", "--store", copy}, 1,
                "not a store of perigeed: choose another --store");
  ExpectOneLine({PERIGEECTL, "store", "check", copy}, 1, "not a store of perigeed");
  std::filesystem::remove_all(folder);
}

TEST(Programs, CertificatesAreMadeAndThenNothingGoesWithoutThem) {
  std::string folder = testing::TempDir() + "/perigee-programs-XXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  const std::string certs = folder + "/certs", watcher = folder + "/watcher";
  const Outcome made = RunProgram({PERIGEECTL, "cert", "init", "--out", certs, "--days", "2"});
  EXPECT_EQ(made.exit_code, 0) << made.err;
  ExpectOneLine({PERIGEECTL, "cert", "init", "--out", certs}, 1, "is there already");
  const Outcome shown = RunProgram({PERIGEECTL, "cert", "show", "--in", certs, "-o", "json"});
  EXPECT_EQ(nlohmann::json::parse(shown.out).size(), 5u) << shown.out << shown.err;
  std::filesystem::create_directory(watcher);
  for (const char* file : {"ca.pem", "observer.pem", "observer.key"}) {
    std::filesystem::copy_file(certs + "/" + file, watcher + "/" + file);
  }

  Daemon daemon({"--certs", certs});
  EXPECT_TRUE(absl::StrContains(daemon.ready(), " (mTLS)")) << daemon.ready();
  const std::string address = daemon.address();
  ExpectOneLine({PERIGEECTL, "--insecure", "--address", address, "status"}, 1, "no coordinator");
  ExpectOneLine({PERIGEECTL, "--certs", watcher, "--address", address, "drain", "1"}, 1,
                "Drain needs the role operator; this certificate has the role observer");
  ExpectOneLine({PERIGEECTL, "--certs", certs, "--address", address, "drain", "1"}, 1,
                "node 1 was never seen");
  const Outcome status =
      RunProgram({PERIGEECTL, "--certs", certs, "--address", address, "status", "-o", "json"});
  ASSERT_EQ(status.exit_code, 0) << status.err;
  EXPECT_EQ(nlohmann::json::parse(status.out)["refused"]["wrong_role"], 1);
  const Outcome events =
      RunProgram({PERIGEECTL, "--certs", watcher, "--address", address, "events"});
  EXPECT_TRUE(absl::StrContains(events.out, "audit")) << events.out << events.err;
  std::filesystem::remove_all(folder);
}

TEST(Programs, AWatchDrawsUntilItIsInterrupted) {
  Daemon daemon;
  auto watch = ChildProcess::Start(
      {PERIGEECTL, "nodes", "--watch=0.1", "--insecure", "--address", daemon.address()});
  ASSERT_TRUE(watch.ok()) << watch.status();
  int frames = 0;
  ReadLines({&*watch}, absl::Now() + kDeadline, [&](size_t, const std::string& line) {
    EXPECT_EQ(line, "no node has registered yet");
    return ++frames < 3;
  });
  EXPECT_EQ(frames, 3);
  watch->Signal(SIGINT);
  EXPECT_EQ(watch->Wait(kDeadline), 0);
}

TEST(Programs, HelpSaysWhatExitCodesMean) {
  for (const char* program : {PERIGEED, PERIGEECTL}) {
    const Outcome help = RunProgram({program, "--help"});
    EXPECT_EQ(help.exit_code, 0);
    EXPECT_TRUE(absl::StrContains(help.out, "Exit codes:\n")) << help.out;
  }
}

TEST(Programs, MetricsAreServedWhereAsked) {
  Daemon daemon({"--insecure", "--http", "127.0.0.1:0"});
  EXPECT_TRUE(absl::StrContains(daemon.ready(), ", metrics on http://127.0.0.1:"))
      << daemon.ready();
  daemon.child().Signal(SIGTERM);
  EXPECT_EQ(daemon.child().Wait(kDeadline), 0);
}

// ---- Completion, compared with what --help says. ----

// The first words of a section's lines that begin with `prefix`.
std::set<std::string> HelpWords(const std::string& help, const std::string& section,
                                const std::string& prefix) {
  std::set<std::string> words;
  bool inside = false;
  for (const absl::string_view line : absl::StrSplit(help, '\n')) {
    if (!absl::StartsWith(line, " ")) inside = line == section;
    if (!inside || !absl::StartsWith(line, "  ") || absl::StartsWith(line, "   ")) continue;
    const absl::string_view names = line.substr(2, line.find(' ', 2) - 2);
    for (const absl::string_view word : absl::StrSplit(names, ',')) {
      const absl::string_view name = word.substr(0, word.find('{'));
      if (absl::StartsWith(name, prefix)) words.emplace(name);
    }
  }
  return words;
}

// What bash offers after `line`, of words that begin with `prefix`.
std::set<std::string> Completions(const std::vector<std::string>& line, const std::string& prefix) {
  std::string words;
  for (const std::string& word : line) absl::StrAppend(&words, " ", word);
  const std::string script = absl::StrCat(
      "source <(", PERIGEECTL, " completion bash); COMP_WORDS=(perigeectl", words, " '", prefix,
      "'); COMP_CWORD=", line.size() + 1, "; _perigeectl; printf '%s\\n' \"${COMPREPLY[@]}\"");
  const Outcome outcome = RunProgram({"/bin/bash", "-c", script});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  std::set<std::string> offered;
  for (const auto& word : absl::StrSplit(outcome.out, '\n', absl::SkipEmpty())) {
    if (prefix == "-" || !absl::StartsWith(word, "-")) offered.emplace(word);
  }
  return offered;
}

TEST(Programs, CompletionOffersWhatHelpLists) {
  const std::string help = RunProgram({PERIGEECTL, "--help"}).out;
  const std::set<std::string> commands = HelpWords(help, "Subcommands:", "");
  const std::set<std::string> common = HelpWords(help, "Options:", "-");
  EXPECT_GT(commands.size(), 10u) << help;
  EXPECT_TRUE(common.contains("--watch")) << help;
  EXPECT_EQ(Completions({}, ""), commands);
  EXPECT_EQ(Completions({}, "-"), common);
  for (const std::string& command : commands) {
    const std::string own = RunProgram({PERIGEECTL, command, "--help"}).out;
    std::set<std::string> options = HelpWords(own, "Options:", "-");
    options.insert(common.begin(), common.end());
    EXPECT_EQ(Completions({command}, "-"), options) << command;
    EXPECT_EQ(Completions({command}, ""), HelpWords(own, "Subcommands:", "")) << command;
  }
}

}  // namespace
}  // namespace perigee
