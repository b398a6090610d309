#include "bench/linkemu/supervisor.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "transport/base/status.h"

namespace perigee::linkemu {
namespace {

// Output that is still on its way when the last process has ended.
constexpr absl::Duration kDrain = absl::Seconds(1);

sigset_t EndingSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&signals, signal);
  return signals;
}

}  // namespace

void BlockEndingSignals() {
  const sigset_t signals = EndingSignals();
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

Supervisor::Supervisor(Options options, EmulatorThread& emulator, ControlServer& control,
                       std::function<std::string()> status)
    : options_(std::move(options)),
      emulator_(emulator),
      control_(control),
      status_(std::move(status)),
      start_(EmulatorNow()) {
  const sigset_t signals = EndingSignals();
  signals_ = FileDescriptor(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  std::stable_sort(options_.at.begin(), options_.at.end(),
                   [](const TimedCommand& a, const TimedCommand& b) { return a.at < b.at; });
}

void Supervisor::Add(Node node) {
  const std::string prefix = options_.prefix ? absl::StrCat("[", node.name, "] ") : "";
  const int output = options_.output_to_error ? STDERR_FILENO : STDOUT_FILENO;
  printers_.emplace_back(std::move(node.process.output()), output, prefix);
  printers_.emplace_back(std::move(node.process.error()), STDERR_FILENO, prefix);
  nodes_.push_back(std::move(node));
}

absl::Status Supervisor::Run() {
  while (!Over()) {
    PollOnce();
    ReadSignal();
    control_.Serve([this](absl::string_view line) { return Answer(line); });
    for (LinePrinter& printer : printers_) printer.Pump();
    CollectEnds();
    const absl::Time now = EmulatorNow();
    RunTimed(now);
    if (!ending_ && options_.timeout > absl::ZeroDuration() && now >= start_ + options_.timeout) {
      EndAll(absl::DeadlineExceededError(
          absl::StrCat("not over after --timeout ", absl::FormatDuration(options_.timeout))));
    }
    if (now >= kill_at_) {
      for (Node& node : nodes_) node.process.Kill();
      kill_at_ = absl::InfiniteFuture();
    }
  }
  const absl::Time drained = EmulatorNow() + kDrain;
  const auto ended = [](const LinePrinter& printer) { return printer.ended(); };
  while (!std::all_of(printers_.begin(), printers_.end(), ended) && EmulatorNow() < drained) {
    for (LinePrinter& printer : printers_) printer.Pump();
  }
  return result_;
}

bool Supervisor::Over() const {
  return std::all_of(nodes_.begin(), nodes_.end(),
                     [](const Node& node) { return node.exit_code.has_value(); });
}

absl::Time Supervisor::NextWakeUp() const {
  absl::Time next = kill_at_;
  if (!ending_ && timed_done_ < options_.at.size()) {
    next = std::min(next, start_ + options_.at[timed_done_].at);
  }
  if (!ending_ && options_.timeout > absl::ZeroDuration()) {
    next = std::min(next, start_ + options_.timeout);
  }
  return next;
}

void Supervisor::PollOnce() {
  std::vector<pollfd> fds = {{signals_.get(), POLLIN, 0}};
  for (const int fd : control_.fds()) fds.push_back({fd, POLLIN, 0});
  for (const LinePrinter& printer : printers_) {
    if (!printer.ended()) fds.push_back({printer.fd(), POLLIN, 0});
  }
  for (const Node& node : nodes_) {
    if (!node.exit_code) fds.push_back({node.process.exit_fd(), POLLIN, 0});
  }
  const absl::Duration wait = std::max(NextWakeUp() - EmulatorNow(), absl::ZeroDuration());
  const timespec timeout = absl::ToTimespec(wait);
  ppoll(fds.data(), fds.size(), wait == absl::InfiniteDuration() ? nullptr : &timeout, nullptr);
}

void Supervisor::ReadSignal() {
  signalfd_siginfo info;
  while (read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
    if (ending_) kill_at_ = EmulatorNow();  // asked twice: at once
    EndAll(absl::CancelledError(
        absl::StrCat("ended by ", info.ssi_signo == SIGINT ? "Ctrl-C" : "a signal")));
  }
}

void Supervisor::RunTimed(absl::Time now) {
  while (!ending_ && timed_done_ < options_.at.size() &&
         start_ + options_.at[timed_done_].at <= now) {
    const TimedCommand& timed = options_.at[timed_done_++];
    const absl::Status done = Obey(timed.command);
    if (!done.ok()) {
      EndAll(absl::Status(done.code(), absl::StrCat("--at '", timed.text, "': ", done.message())));
    }
  }
}

void Supervisor::CollectEnds() {
  for (Node& node : nodes_) {
    if (node.exit_code) continue;
    if (const std::optional<int> code = node.process.Poll()) OnEnd(node, *code);
  }
}

void Supervisor::OnEnd(Node& node, int exit_code) {
  node.exit_code = exit_code;
  if (ending_) return;
  if (node.service || (exit_code != 0 && !node.signalled)) {
    const std::string what = absl::StrCat("node ", node.name, " ended with exit code ", exit_code);
    if (!options_.keep_going) return EndAll(absl::AbortedError(what));
    std::fprintf(stderr, "perigee-linkemu: %s\n", what.c_str());
    if (result_.ok()) result_ = absl::AbortedError(what);
  }
  const bool waiting = std::any_of(nodes_.begin(), nodes_.end(), [](const Node& other) {
    return other.awaited && !other.exit_code;
  });
  if (!waiting) EndAll(absl::OkStatus());
}

void Supervisor::EndAll(absl::Status why) {
  if (ending_) return;
  ending_ = true;
  if (result_.ok()) result_ = std::move(why);
  kill_at_ = EmulatorNow() + kGrace;
  for (Node& node : nodes_) {
    if (node.exit_code) continue;
    node.process.Signal(SIGTERM);
    node.process.Signal(SIGCONT);  // a stopped process takes no SIGTERM
  }
}

std::string Supervisor::Answer(absl::string_view line) {
  const absl::StatusOr<ControlCommand> command =
      ParseControlCommand(line, static_cast<int>(nodes_.size()));
  if (!command.ok()) return absl::StrCat("error: ", command.status().message());
  if (command->kind == ControlCommand::Kind::kStatus) return status_();
  const absl::Status done = Obey(*command);
  return done.ok() ? "ok" : absl::StrCat("error: ", done.message());
}

absl::Status Supervisor::Obey(const ControlCommand& command) {
  if (command.kind == ControlCommand::Kind::kSignal) {
    Node& node = nodes_[static_cast<size_t>(command.node)];
    node.signalled = true;
    node.process.Signal(command.signal);
    return absl::OkStatus();
  }
  return emulator_.Call([&](Emulator& emulator, absl::Time now) -> absl::Status {
    for (const auto& [from, to] : command.links) {
      PERIGEE_RETURN_IF_ERROR(emulator.Change(now, from, to, command.change));
    }
    return absl::OkStatus();
  });
}

}  // namespace perigee::linkemu
