// Flags of all programs, over CLI11: the same names, the same quantities, the same errors.
//
//   Program program("perigee-bench", "Measures Perigee.", "perigee-bench link --loss 1%");
//   AddRate(program.app(), "--rate", &rate, "capacity per directed link");
//   return program.Run(argc, argv, [&] { return RunLink(options); });
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace perigee {

constexpr int kExitOk = 0;
constexpr int kExitFailed = 1;  // the run or a check failed
constexpr int kExitUsage = 2;

// Each shows the value's present content as the default. Bad text ends in one line that names the
// flag.
CLI::Option* AddSize(CLI::App& app, const std::string& name, uint64_t* value,
                     const std::string& help);
CLI::Option* AddRate(CLI::App& app, const std::string& name, double* bytes_per_second,
                     const std::string& help);
CLI::Option* AddTime(CLI::App& app, const std::string& name, absl::Duration* value,
                     const std::string& help);
CLI::Option* AddProbability(CLI::App& app, const std::string& name, double* value,
                            const std::string& help);
// A file that is read: one that is missing is a usage error.
CLI::Option* AddInputFile(CLI::App& app, const std::string& name, std::string* path,
                          const std::string& help);

class Program {
 public:
  // `examples` is shown at the end of --help, one command per line.
  Program(const std::string& name, const std::string& what, const std::string& examples);
  CLI::App& app() { return app_; }
  // A subcommand with its own examples and its own action.
  CLI::App& AddCommand(const std::string& name, const std::string& what,
                       const std::string& examples, std::function<absl::Status()> action);
  // A name before several commands, as in `perigeectl store check`.
  CLI::App& AddGroup(const std::string& name, const std::string& what);
  CLI::App& AddCommand(CLI::App& group, const std::string& name, const std::string& what,
                       const std::string& examples, std::function<absl::Status()> action);

  // Parses, then runs the chosen subcommand's action (or `main`, where there are no subcommands).
  // --help and --version print and exit with 0. A usage error is one line on stderr, "NAME: what;
  // see NAME --help", exit 2. An action's InvalidArgument, NotFound of input files etc. is one line
  // on stderr, exit 2 for InvalidArgument, else 1.
  int Run(int argc, char** argv, std::function<absl::Status()> main = nullptr);

 private:
  std::string name_;
  CLI::App app_;
  std::function<absl::Status()> chosen_;
};

}  // namespace perigee
