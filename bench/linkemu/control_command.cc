#include "bench/linkemu/control_command.h"

#include <signal.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "bench/linkemu/emulator.h"
#include "runtime/cli/quantity.h"
#include "transport/base/status.h"

namespace perigee::linkemu {
namespace {

using Words = std::vector<absl::string_view>;

absl::Status Wrong(absl::string_view word, absl::string_view wanted) {
  return absl::InvalidArgumentError(absl::StrCat("'", word, "': ", wanted));
}

absl::StatusOr<int> ParseNode(absl::string_view word, int node_count, bool any_allowed) {
  if (any_allowed && word == "*") return Emulator::kAny;
  int node = 0;
  if (absl::SimpleAtoi(word, &node) && node >= 0 && node < node_count) return node;
  return Wrong(word, absl::StrCat("nodes are 0 to ", node_count - 1, any_allowed ? ", or *" : ""));
}

absl::StatusOr<int> ParseSignal(absl::string_view word) {
  struct Named {
    absl::string_view name;
    int number;
  };
  constexpr Named kSignals[] = {{"KILL", SIGKILL}, {"STOP", SIGSTOP}, {"CONT", SIGCONT},
                                {"TERM", SIGTERM}, {"INT", SIGINT},   {"USR1", SIGUSR1},
                                {"USR2", SIGUSR2}};
  for (const Named& signal : kSignals) {
    if (absl::StripPrefix(word, "SIG") == signal.name) return signal.number;
  }
  return Wrong(word, "signals are KILL, STOP, CONT, TERM, INT, USR1, USR2");
}

template <typename T, typename U>
absl::Status Set(absl::string_view word, absl::StatusOr<T> (*parse)(absl::string_view),
                 std::optional<U>* value) {
  PERIGEE_ASSIGN_OR_RETURN(*value, parse(word));
  return absl::OkStatus();
}

absl::Status ParseValue(absl::string_view name, absl::string_view value, LinkChange* change) {
  if (name == "rate") return Set(value, ParseRate, &change->bytes_per_second);
  if (name == "delay") return Set(value, ParseTime, &change->delay);
  if (name == "loss") return Set(value, ParseProbability, &change->loss);
  if (name == "burst") return Set(value, ParseTime, &change->burst_mean);
  if (name == "burst-loss") return Set(value, ParseProbability, &change->burst_loss);
  if (name == "reorder") return Set(value, ParseProbability, &change->reorder);
  if (name == "duplicate") return Set(value, ParseProbability, &change->duplicate);
  if (name == "bit-flip") return Set(value, ParseProbability, &change->bit_flip);
  if (name == "queue") return Set(value, ParseSize, &change->queue_bytes_max);
  return Wrong(name,
               "a change is down, up, or rate, delay, loss, burst, burst-loss, reorder, duplicate, "
               "bit-flip or queue with a value");
}

absl::StatusOr<LinkChange> ParseChange(const Words& words, size_t at) {
  LinkChange change;
  if (at >= words.size()) return Wrong(absl::StrJoin(words, " "), "ends before it says what");
  while (at < words.size()) {
    const absl::string_view name = words[at++];
    if (name == "down" || name == "up") {
      change.down = name == "down";
      continue;
    }
    const absl::string_view value = at < words.size() ? words[at++] : absl::string_view();
    PERIGEE_RETURN_IF_ERROR(ParseValue(name, value, &change));
  }
  return change;
}

absl::StatusOr<ControlCommand> ParseNodeCommand(const Words& words, int node_count) {
  ControlCommand command;
  PERIGEE_ASSIGN_OR_RETURN(command.node, ParseNode(words[1], node_count, false));
  if (words.size() == 4 && words[2] == "signal") {
    command.kind = ControlCommand::Kind::kSignal;
    PERIGEE_ASSIGN_OR_RETURN(command.signal, ParseSignal(words[3]));
    return command;
  }
  command.kind = ControlCommand::Kind::kChange;
  command.links = {{command.node, Emulator::kAny}, {Emulator::kAny, command.node}};
  PERIGEE_ASSIGN_OR_RETURN(command.change, ParseChange(words, 2));
  return command;
}

}  // namespace

absl::StatusOr<ControlCommand> ParseControlCommand(absl::string_view text, int node_count) {
  const Words words = absl::StrSplit(text, absl::ByAnyChar(" \t\r\n"), absl::SkipEmpty());
  if (words.size() == 1 && words[0] == "status") return ControlCommand();
  if (words.size() > 1 && words[0] == "node") return ParseNodeCommand(words, node_count);
  if (words.size() > 2 && words[0] == "link") {
    ControlCommand command{.kind = ControlCommand::Kind::kChange};
    PERIGEE_ASSIGN_OR_RETURN(const int from, ParseNode(words[1], node_count, true));
    PERIGEE_ASSIGN_OR_RETURN(const int to, ParseNode(words[2], node_count, true));
    command.links = {{from, to}};
    PERIGEE_ASSIGN_OR_RETURN(command.change, ParseChange(words, 3));
    return command;
  }
  return Wrong(text,
               "a command is 'link A B CHANGE...', 'node A CHANGE...', 'node A signal NAME' "
               "or 'status'");
}

absl::StatusOr<TimedCommand> ParseTimedCommand(absl::string_view text, int node_count) {
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(absl::StripLeadingAsciiWhitespace(text), absl::MaxSplits(' ', 1));
  TimedCommand timed{.text = std::string(text)};
  PERIGEE_ASSIGN_OR_RETURN(timed.at, ParseTime(parts.first));
  PERIGEE_ASSIGN_OR_RETURN(timed.command, ParseControlCommand(parts.second, node_count));
  return timed;
}

}  // namespace perigee::linkemu
