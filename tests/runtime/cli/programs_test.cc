// perigeed and perigeectl as their users run them: flags, exit codes, one line on standard error.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
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
  Daemon() : child_(*ChildProcess::Start({PERIGEED, "--listen", "127.0.0.1:0", "--insecure"})) {
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
  ChildProcess child_;
  std::string ready_;
};

TEST(Programs, UsageErrorsAreOneLineAndExitWithTwo) {
  ExpectOneLine({PERIGEED}, 2, "pass --insecure");
  ExpectOneLine({PERIGEED, "--listen", "here", "--insecure"}, 2, "'here' is not a HOST:PORT");
  ExpectOneLine({PERIGEED, "--insecure", "--contacts", "/no/such"}, 2, "/no/such");
  ExpectOneLine({PERIGEED, "--insecure", "--suspect-after", "soon"}, 2, "'soon' is not a time");
  ExpectOneLine({PERIGEED, "--insecure", "--colour"}, 2, "--colour");
  ExpectOneLine({PERIGEECTL, "status"}, 2, "pass --insecure");
  ExpectOneLine({PERIGEECTL, "--insecure"}, 2, "which command?");
  ExpectOneLine({PERIGEECTL, "--insecure", "drain"}, 2, "NODE");
  ExpectOneLine({PERIGEECTL, "--insecure", "drain", "x"}, 2, "NODE");
  ExpectOneLine({PERIGEECTL, "--insecure", "drain", "1", "--at", "then"}, 2, "'then'");
  ExpectOneLine({PERIGEECTL, "--insecure", "nodes", "-o", "xml"}, 2, "xml");
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
  for (const char* command : {"status", "nodes", "views", "ops", "events"}) {
    const Outcome table = RunProgram({PERIGEECTL, command, "--insecure", "--address", address});
    EXPECT_EQ(table.exit_code, 0) << table.err;
    EXPECT_EQ(table.err, "");
    EXPECT_NE(table.out, "");
  }
  ExpectOneLine({PERIGEECTL, "--insecure", "--address", address, "drain", "9"}, 1, "node 9");
  ExpectOneLine({PERIGEED, "--insecure", "--listen", address}, 1, "is in use");

  daemon.child().Signal(SIGTERM);
  EXPECT_EQ(daemon.child().Wait(kDeadline), 0);
  ExpectOneLine({PERIGEECTL, "--insecure", "--address", address, "status"}, 1,
                absl::StrCat("no coordinator at ", address, ": is perigeed running there?"));
}

}  // namespace
}  // namespace perigee
