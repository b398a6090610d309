#include "runtime/cli/flags.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace perigee {
namespace {

struct Outcome {
  int exit_code = -1;
  std::string out, err;
};

struct LinkOptions {
  uint64_t bytes = 16 << 20;
  double rate = 25e6;
  absl::Duration delay = absl::Milliseconds(5);
  double loss = 0;
  std::string contacts;
};

// A program with one command, as the benchmark has them.
Outcome RunLink(std::vector<std::string> arguments, LinkOptions* options,
                absl::Status result = absl::OkStatus()) {
  Program program("perigee-bench", "Measures Perigee.", "perigee-bench link --loss 1%");
  CLI::App& link = program.AddCommand("link", "One link.", "perigee-bench link --rate 1Gbit",
                                      [&] { return result; });
  AddSize(link, "--bytes", &options->bytes, "length of a message");
  AddRate(link, "--rate", &options->rate, "capacity per directed link");
  AddTime(link, "--delay", &options->delay, "one way");
  AddProbability(link, "--loss", &options->loss, "of a packet");
  AddInputFile(link, "--contacts", &options->contacts, "contact plan");

  std::vector<char*> argv = {const_cast<char*>("perigee-bench")};
  for (std::string& argument : arguments) argv.push_back(argument.data());
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  Outcome outcome;
  outcome.exit_code = program.Run(static_cast<int>(argv.size()), argv.data());
  outcome.out = testing::internal::GetCapturedStdout();
  outcome.err = testing::internal::GetCapturedStderr();
  return outcome;
}

Outcome RunLink(std::vector<std::string> arguments) {
  LinkOptions options;
  return RunLink(std::move(arguments), &options);
}

TEST(Flags, FillsTheOptionsAndRunsTheCommand) {
  LinkOptions options;
  const Outcome outcome = RunLink({"link", "--bytes", "64KiB", "--rate=1Gbit", "--delay", "6.5ms",
                                   "--loss", "1%", "--contacts", "/dev/null"},
                                  &options);
  EXPECT_EQ(outcome.exit_code, kExitOk);
  EXPECT_EQ(outcome.err, "");
  EXPECT_EQ(options.bytes, 65536u);
  EXPECT_EQ(options.rate, 125e6);
  EXPECT_EQ(options.delay, absl::Microseconds(6500));
  EXPECT_EQ(options.loss, 0.01);
  EXPECT_EQ(options.contacts, "/dev/null");
}

TEST(Flags, AUsageErrorIsOneLineAndExitsWithTwo) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"link", "--bytes", "lots"}, "--bytes: 'lots' is not a size"},
      {{"link", "--rate", "0"}, "--rate: '0' is not a rate"},
      {{"link", "--delay", "-5ms"}, "'-5ms' is not a time"},
      {{"link", "--loss", "101%"}, "'101%' is not a probability"},
      {{"link", "--loss"}, "--loss"},
      {{"link", "--colour", "blue"}, "--colour"},
      {{"link", "stray"}, "stray"},
      {{"link", "--contacts", "/no/such/file"}, "cannot read the file '/no/such/file'"},
      {{"link", "--contacts", "/"}, "cannot read the file '/'"},
      {{"--colour"}, "--colour"},
      {{"lnik"}, "lnik"},
      {{}, "One of: link"},
  };
  for (const auto& [arguments, expected] : cases) {
    const Outcome outcome = RunLink(arguments);
    EXPECT_EQ(outcome.exit_code, kExitUsage) << expected;
    EXPECT_EQ(outcome.out, "") << expected;
    EXPECT_NE(outcome.err.find(expected), std::string::npos) << outcome.err;
    EXPECT_NE(outcome.err.find("--help"), std::string::npos) << outcome.err;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  }
}

TEST(Flags, HelpShowsExamplesAndDefaults) {
  const Outcome program = RunLink({"--help"});
  EXPECT_EQ(program.exit_code, kExitOk);
  EXPECT_EQ(program.err, "");
  EXPECT_NE(program.out.find("perigee-bench link --loss 1%"), std::string::npos) << program.out;

  const Outcome command = RunLink({"link", "--help"});
  EXPECT_EQ(command.exit_code, kExitOk);
  for (const char* expected : {"perigee-bench link --rate 1Gbit", "16 MiB", "200 Mbit/s", "5ms"}) {
    EXPECT_NE(command.out.find(expected), std::string::npos) << command.out;
  }

  const Outcome version = RunLink({"--version"});
  EXPECT_EQ(version.exit_code, kExitOk);
  EXPECT_EQ(version.out, "perigee-bench 0.1.0\n");
}

TEST(Flags, AnActionsErrorIsOneLine) {
  LinkOptions options;
  Outcome outcome =
      RunLink({"link"}, &options, absl::InvalidArgumentError("graph.txt:3: no\nrate"));
  EXPECT_EQ(outcome.exit_code, kExitUsage);
  EXPECT_EQ(outcome.err, "perigee-bench: graph.txt:3: no rate\n");
  outcome = RunLink({"link"}, &options, absl::DeadlineExceededError("op 4.0: no data"));
  EXPECT_EQ(outcome.exit_code, kExitFailed);
  EXPECT_EQ(outcome.err, "perigee-bench: op 4.0: no data\n");
}

}  // namespace
}  // namespace perigee
