// A coordinator and processes that answer it, in virtual time: what the coordinator's tests run in.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/clock_offset.h"
#include "runtime/coordinator.h"
#include "runtime/membership.h"
#include "transport/base/rng.h"

namespace perigee {

inline const absl::Time kStart = absl::FromUnixSeconds(1'700'000'000);
constexpr absl::Duration kTick = absl::Milliseconds(20);

// One process: an acceptor that beats and says that it is at some step.
struct Process {
  Process(uint32_t node, uint64_t life)
      : node(node), membership(NodeId(node), {.high = life, .low = node}) {
    incarnation = {.high = life, .low = node};
  }
  std::optional<ClockReport> Clock(absl::Time now) const {
    return tells_clock ? heard.Report(now + clock) : std::nullopt;
  }
  uint32_t node;
  Incarnation incarnation;
  Membership membership;
  std::optional<StreamId> stream;
  uint64_t step = 0;
  bool active = true;
  bool stopped = false;  // as by SIGSTOP
  bool out = false;
  std::vector<OpReport> ops;
  std::vector<LinkReport> links;
  std::vector<std::string> removed;
  std::string waiting;
  absl::Duration clock;  // ahead of the coordinator's
  HeardClock heard;
  bool tells_clock = true;
  absl::Duration step_interval;
  absl::Duration op_length;
  std::optional<absl::Duration> calendar_ahead;  // as it was told
  absl::Time next_beat;
  absl::Time reconnect_at = absl::InfiniteFuture();
};

// A coordinator and processes, in virtual time.
class CoordinatorWorld {
 public:
  explicit CoordinatorWorld(ContactPlan plan = {}, uint64_t seed = 1)
      : plan_(std::move(plan)), rng_(seed) {
    options.version = "1.0";
    StartCoordinator();
  }

  void StartCoordinator() {
    coordinator = std::make_unique<Coordinator>(options, plan_, "", rng_.Fork());
    for (auto& process : processes) process->stream.reset();
  }
  // What a durable coordinator has written until now, or the first `count` records of that.
  CoordinatorSnapshot Written(size_t count = SIZE_MAX) const {
    CoordinatorSnapshot snapshot;
    for (size_t i = 0; i < std::min(count, log.size()); ++i) {
      Apply(log[i], options.events_max, &snapshot);
    }
    return snapshot;
  }
  // Kills the coordinator and starts one that knows the first `count` records, the others are gone.
  // Who had a stream comes back to it later (Run).
  void RestoreCoordinator(size_t count = SIZE_MAX) {
    log.resize(std::min(count, log.size()));
    for (auto& process : processes) {
      if (process->stream && !process->out) process->reconnect_at = now + 2 * kTick;
    }
    StartCoordinator();
    coordinator->Restore(now, Written());
    crash_at = SIZE_MAX;
    Deliver();
  }
  Process& Add(uint32_t node, uint64_t life = 1, uint32_t start_members = 0,
               const std::string& version = "1.0") {
    processes.push_back(std::make_unique<Process>(node, life));
    start_members_ = start_members;
    Connect(*processes.back(), version);
    return *processes.back();
  }
  void Found(uint32_t count) {
    for (uint32_t node = 0; node < count; ++node) Add(node, 1, count);
    Run(absl::Milliseconds(100));
  }
  void Connect(Process& process, const std::string& version = "1.0") {
    process.stream = ++last_stream_;
    process.heard = HeardClock();
    process.reconnect_at = absl::InfiniteFuture();
    process.next_beat = now + options.beat_interval;
    coordinator->OnMessage(now, *process.stream,
                           Register{.node = NodeId(process.node),
                                    .incarnation = process.incarnation,
                                    .address = absl::StrCat("host", process.node),
                                    .version = version,
                                    .start_members = start_members_,
                                    .installed = process.membership.installed()});
    Deliver();
  }
  void Close(Process& process) {
    if (!process.stream) return;
    const StreamId stream = *process.stream;
    process.stream.reset();
    coordinator->OnStreamClosed(now, stream);
    Deliver();
  }
  void Kill(uint32_t node) {
    Process& process = *Find(node);
    process.out = true;
    Close(process);
  }
  Process* Find(uint32_t node) {
    for (auto it = processes.rbegin(); it != processes.rend(); ++it) {
      if ((*it)->node == node) return it->get();
    }
    return nullptr;
  }

  void Run(absl::Duration duration) {
    for (const absl::Time end = now + duration; now < end; now += kTick) {
      for (auto& process : processes) {
        if (now >= process->reconnect_at && !process->stopped && !process->out) Connect(*process);
        if (!process->stream || process->stopped || now < process->next_beat) continue;
        process->next_beat += options.beat_interval;
        const auto& installed = process->membership.installed();
        const auto barrier = process->membership.barrier();
        const bool waits =
            process->membership.frozen() || (barrier && *barrier <= StepId(process->step + 1));
        if (steps_go_on && installed && !waits) ++process->step;
        coordinator->OnMessage(now, *process->stream,
                               Beat{.step = StepId(process->step),
                                    .epoch = installed ? installed->view.epoch : Epoch(),
                                    .active = process->active && installed,
                                    .ops = process->ops,
                                    .links = process->links,
                                    .clock = process->Clock(now),
                                    .step_interval = process->step_interval,
                                    .op_length = process->op_length});
        Deliver();
      }
      if (now >= coordinator->NextTimeout()) coordinator->OnTimeout(now);
      Deliver();
    }
  }

  std::string View() const {
    const auto& view = coordinator->state().view;
    return view ? WithoutStep(ToString(*view)) : "none";
  }
  // "view 3 {0,1} from step 8: why" -> "view 3 {0,1}: why".
  static std::string WithoutStep(std::string text) {
    const size_t from = text.find(" from step ");
    if (from == std::string::npos) return text;
    const size_t to = text.find(':', from);
    return text.erase(from, to == std::string::npos ? to : to - from);
  }
  std::vector<std::string> Events(const std::set<std::string>& kinds) const {
    std::vector<std::string> lines;
    for (const CoordinatorEvent& event : coordinator->events()) {
      if (!kinds.contains(event.kind)) continue;
      lines.push_back(absl::StrCat(event.kind,
                                   event.node ? absl::StrCat(" ", event.node->value()) : "", ": ",
                                   WithoutStep(event.text)));
    }
    return lines;
  }
  MemberState State(uint32_t node) const {
    return coordinator->state().members.at(NodeId(node)).state;
  }

  // Takes what the coordinator has to say, after what it has to write down.
  void Deliver() {
    while (Commit()) {
      const auto out = coordinator->NextMessage();
      if (!out) return;
      for (auto& process : processes) {
        if (process->stream != out->stream) continue;
        // What a stopped process does not read is lost here; it asks again when it registers.
        if (!process->stopped) Answer(*process, out->message);
        if (out->close_after) process->stream.reset();
      }
    }
  }

  CoordinatorOptions options;
  std::vector<CoordinatorRecord> log;
  // A durable coordinator is killed, and another one restored, instead of writing the record after
  // this many.
  size_t crash_at = SIZE_MAX;
  // Every Install that reached a process: what had been written by then.
  std::map<Epoch, size_t> installed_at;
  std::map<Epoch, Proposal> installed;
  bool steps_go_on = true;  // one with every beat
  absl::Time now = kStart;
  std::unique_ptr<Coordinator> coordinator;
  std::vector<std::unique_ptr<Process>> processes;

 private:
  // False when the coordinator was killed meanwhile.
  bool Commit() {
    while (auto record = coordinator->NextRecord()) {
      if (log.size() == crash_at) {
        RestoreCoordinator();
        return false;
      }
      log.push_back(*std::move(record));
    }
    return true;
  }
  void Answer(Process& process, const CoordinatorMessage& message) {
    process.heard.OnMessage(now + process.clock, message);
    const LocalProgress progress{.started = StepId(process.step), .any_started = process.step > 0};
    if (const auto* prepare = std::get_if<Prepare>(&message)) {
      coordinator->OnMessage(now, *process.stream,
                             process.membership.OnPrepare(*prepare, progress));
    } else if (const auto* accept = std::get_if<Accept>(&message)) {
      coordinator->OnMessage(now, *process.stream, process.membership.OnAccept(*accept, progress));
    } else if (const auto* install = std::get_if<Install>(&message)) {
      process.membership.OnInstall(*install);
      installed_at.try_emplace(install->proposal.view.epoch, log.size());
      installed.try_emplace(install->proposal.view.epoch, install->proposal);
    } else if (const auto* removed = std::get_if<Removed>(&message)) {
      process.removed.push_back(
          absl::StrCat(removed->may_rejoin ? "may rejoin: " : "for good: ", removed->reason));
    } else if (const auto* waiting = std::get_if<Waiting>(&message)) {
      process.waiting = waiting->reason;
      if (waiting->calendar_ahead) process.calendar_ahead = waiting->calendar_ahead;
    }
  }

  ContactPlan plan_;
  Rng rng_;
  StreamId last_stream_ = 0;
  uint32_t start_members_ = 0;
};

}  // namespace perigee
