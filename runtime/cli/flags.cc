#include "runtime/cli/flags.h"

#include <cstdio>
#include <exception>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "runtime/cli/quantity.h"
#include "runtime/version.h"

namespace perigee {
namespace {

template <typename T>
CLI::Option* AddQuantity(CLI::App& app, const std::string& name, T* value,
                         absl::StatusOr<T> (*parse)(absl::string_view)) {
  CLI::Option* option = app.add_option_function<std::string>(name, [=](const std::string& text) {
    absl::StatusOr<T> parsed = parse(text);
    if (!parsed.ok()) throw CLI::ValidationError(name, std::string(parsed.status().message()));
    *value = *parsed;
  });
  return option;
}

constexpr char kExitCodes[] =
    "Exit codes:\n  0  success\n  1  the run or a check failed, or nobody answered\n"
    "  2  usage: a flag, a command or a file that cannot be read\n";

std::string Footer(const std::string& examples) {
  if (examples.empty()) return "";
  std::string footer = "Examples:\n";
  for (absl::string_view line : absl::StrSplit(examples, '\n')) {
    absl::StrAppend(&footer, "  ", line, "\n");
  }
  return footer;
}

// A script that reads stderr sees one line, whatever the library or the system put into the
// message.
std::string OneLine(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"\r", ""}, {"\n", " "}});
}

int UsageError(const std::string& name, absl::string_view what) {
  std::fprintf(stderr, "%s: %s; see %s --help\n", name.c_str(), OneLine(what).c_str(),
               name.c_str());
  return kExitUsage;
}

}  // namespace

CLI::Option* AddSize(CLI::App& app, const std::string& name, uint64_t* value,
                     const std::string& help) {
  return AddQuantity<uint64_t>(app, name, value, ParseSize)
      ->description(help)
      ->type_name("SIZE")
      ->default_str(FormatSize(*value));
}

CLI::Option* AddRate(CLI::App& app, const std::string& name, double* bytes_per_second,
                     const std::string& help) {
  return AddQuantity<double>(app, name, bytes_per_second, ParseRate)
      ->description(help)
      ->type_name("RATE")
      ->default_str(FormatRate(*bytes_per_second));
}

CLI::Option* AddTime(CLI::App& app, const std::string& name, absl::Duration* value,
                     const std::string& help) {
  return AddQuantity<absl::Duration>(app, name, value, ParseTime)
      ->description(help)
      ->type_name("TIME")
      ->default_str(absl::FormatDuration(*value));
}

CLI::Option* AddProbability(CLI::App& app, const std::string& name, double* value,
                            const std::string& help) {
  return AddQuantity<double>(app, name, value, ParseProbability)
      ->description(help)
      ->type_name("P")
      ->default_str(absl::StrCat(*value));
}

CLI::Option* AddInputFile(CLI::App& app, const std::string& name, std::string* path,
                          const std::string& help) {
  auto readable = [name](const std::string& text) -> std::string {
    std::FILE* file = std::fopen(text.c_str(), "r");
    // A folder opens, but its first byte cannot be read.
    const bool ok = file != nullptr && (std::fgetc(file) != EOF || !std::ferror(file));
    if (file != nullptr) std::fclose(file);
    return ok ? "" : absl::StrCat("cannot read the file '", text, "'");
  };
  return app.add_option(name, *path, help)->type_name("FILE")->check(readable, "");
}

Program::Program(const std::string& name, const std::string& what, const std::string& examples)
    : name_(name), app_(what, name) {
  app_.set_version_flag("--version", absl::StrCat(name, " ", kVersion));
  app_.set_help_flag("--help,-h", "show this help");
  app_.footer(absl::StrCat(Footer(examples), kExitCodes));
}

CLI::App& Program::AddCommand(const std::string& name, const std::string& what,
                              const std::string& examples, std::function<absl::Status()> action) {
  return AddCommand(app_, name, what, examples, std::move(action));
}

CLI::App& Program::AddGroup(const std::string& name, const std::string& what) {
  CLI::App* group = app_.add_subcommand(name, what);
  group->require_subcommand(1);
  group->footer("");
  return *group;
}

CLI::App& Program::AddCommand(CLI::App& group, const std::string& name, const std::string& what,
                              const std::string& examples, std::function<absl::Status()> action) {
  CLI::App* command = group.add_subcommand(name, what);
  command->footer(Footer(examples));
  command->callback([this, action = std::move(action)] { chosen_ = action; });
  return *command;
}

int Program::Run(int argc, char** argv, std::function<absl::Status()> main) {
  chosen_ = std::move(main);
  std::string name = name_;
  try {
    app_.parse(argc, argv);
  } catch (const CLI::Success& help_or_version) {
    return app_.exit(help_or_version);
  } catch (const CLI::ParseError& error) {
    for (const CLI::App* command : app_.get_subcommands())
      absl::StrAppend(&name, " ", command->get_name());
    return UsageError(name, error.what());
  }
  if (!chosen_) {
    const auto join_name = [](std::string* out, const CLI::App* command) {
      out->append(command->get_name());
    };
    return UsageError(
        name, absl::StrCat("which command? One of: ",
                           absl::StrJoin(app_.get_subcommands([](const CLI::App*) { return true; }),
                                         ", ", join_name)));
  }
  const absl::Status status = chosen_();
  if (status.ok()) return kExitOk;
  std::fprintf(stderr, "%s: %s\n", name.c_str(), OneLine(status.message()).c_str());
  return absl::IsInvalidArgument(status) ? kExitUsage : kExitFailed;
}

}  // namespace perigee
