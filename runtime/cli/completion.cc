#include "runtime/cli/completion.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"

namespace perigee {
namespace {

struct Word {
  std::string text;
  std::string description;
};
// What may stand after the commands of `path`: "", "nodes", "plan show".
struct Place {
  std::string path;
  std::vector<Word> commands;
  std::vector<Word> options;
};

std::vector<Word> OptionsOf(const CLI::App& app) {
  std::vector<Word> words;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_group().empty()) continue;  // hidden
    for (const std::string& name : option->get_lnames()) {
      words.push_back({absl::StrCat("--", name), option->get_description()});
    }
    for (const std::string& name : option->get_snames()) {
      words.push_back({absl::StrCat("-", name), option->get_description()});
    }
  }
  return words;
}

// The options of a program may also stand after its commands.
void Collect(const CLI::App& app, const std::string& path, const std::vector<Word>& inherited,
             std::vector<Place>* places) {
  Place place{.path = path, .options = OptionsOf(app)};
  for (const Word& word : inherited) {
    const bool own = std::any_of(place.options.begin(), place.options.end(),
                                 [&](const Word& option) { return option.text == word.text; });
    if (!own) place.options.push_back(word);
  }
  const std::vector<const CLI::App*> commands =
      app.get_subcommands([](const CLI::App* command) { return !command->get_name().empty(); });
  for (const CLI::App* command : commands) {
    place.commands.push_back({command->get_name(), command->get_description()});
  }
  places->push_back(place);
  for (const CLI::App* command : commands) {
    const std::string below =
        path.empty() ? command->get_name() : absl::StrCat(path, " ", command->get_name());
    Collect(*command, below, place.options, places);
  }
}

// The loop that both shells share: follows the commands that stand on the line already into `at`.
std::string FollowCommands(const std::vector<Place>& places, const std::string& words) {
  std::vector<std::string> known;
  for (const Place& place : places) {
    for (const Word& command : place.commands) {
      known.push_back(absl::StrCat("\"", place.path, "/", command.text, "\""));
    }
  }
  return absl::StrCat("  local at=\"\" word\n  for word in ", words,
                      "; do\n    case \"$at/$word\" in\n      ", absl::StrJoin(known, "|"),
                      ") at=\"${at:+$at }$word\" ;;\n    esac\n  done\n");
}

std::string BashScript(const std::string& name, const std::vector<Place>& places) {
  std::string script =
      absl::StrCat("# bash completion of ", name, "; made by: ", name, " completion bash\n_", name,
                   "() {\n", FollowCommands(places, "\"${COMP_WORDS[@]:1:COMP_CWORD-1}\""),
                   "  local words=\"\"\n  case \"$at\" in\n");
  const auto text = [](std::string* out, const Word& word) { out->append(word.text); };
  for (const Place& place : places) {
    absl::StrAppend(&script, "    \"", place.path, "\") words=\"",
                    absl::StrJoin(place.commands, " ", text), place.commands.empty() ? "" : " ",
                    absl::StrJoin(place.options, " ", text), "\" ;;\n");
  }
  absl::StrAppend(&script,
                  "  esac\n  mapfile -t COMPREPLY < <(compgen -W \"$words\" -- "
                  "\"${COMP_WORDS[COMP_CWORD]}\")\n}\ncomplete -o default -F _",
                  name, " ", name, "\n");
  return script;
}

// 'status:The job at a glance.', as _describe wants it.
std::string ZshWords(const std::vector<Word>& words) {
  return absl::StrJoin(words, " ", [](std::string* out, const Word& word) {
    const std::string description =
        absl::StrReplaceAll(word.description, {{"'", "'\\''"}, {"\n", " "}});
    absl::StrAppend(out, "'", word.text, ":", description, "'");
  });
}

std::string ZshScript(const std::string& name, const std::vector<Place>& places) {
  std::string script =
      absl::StrCat("#compdef ", name, "\n# made by: ", name, " completion zsh\n_", name, "() {\n",
                   FollowCommands(places, "\"${(@)words[2,CURRENT-1]}\""),
                   "  local -a commands options\n  case \"$at\" in\n");
  for (const Place& place : places) {
    absl::StrAppend(&script, "    \"", place.path, "\")\n      commands=(",
                    ZshWords(place.commands), ")\n      options=(", ZshWords(place.options),
                    ") ;;\n");
  }
  absl::StrAppend(&script,
                  "  esac\n"
                  "  if [[ \"$words[CURRENT]\" == -* ]]; then _describe -o option options\n"
                  "  elif (( ${#commands} )); then _describe command commands\n"
                  "  else _files; fi\n}\n"
                  "if [[ \"$funcstack[1]\" == _",
                  name, " ]]; then _", name, " \"$@\"; else compdef _", name, " ", name, "; fi\n");
  return script;
}

}  // namespace

absl::StatusOr<std::string> CompletionScript(const CLI::App& app, const std::string& shell) {
  std::vector<Place> places;
  Collect(app, "", {}, &places);
  if (shell == "bash") return BashScript(app.get_name(), places);
  if (shell == "zsh") return ZshScript(app.get_name(), places);
  return absl::InvalidArgumentError(
      absl::StrCat("'", shell, "' has no completion here: bash and zsh have"));
}

}  // namespace perigee
