#include "bench/link_real.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "bench/link_loop.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

constexpr absl::Duration kStartUp = absl::Milliseconds(200);
// The receiver goes on for a while after its last delivery, so that lost ACKs are repeated.
constexpr absl::Duration kLinger = absl::Seconds(1);

// What the child tells its parent, through a pipe, followed by the deliveries' times.
struct ReceiverResult {
  bool finished = false;
  bool intact = false;
  SessionCounters counters;
  int64_t cpu_nanoseconds = 0;
  int64_t first_data_nanoseconds = 0;  // 0: none
};

// CPU time of the first phase.
class PhaseCpu {
 public:
  void OnTurn(bool first_phase_done, absl::Duration content) {
    if (first_phase_done && !total_) total_ = ThreadCpuTime() - begin_ - content;
  }
  std::optional<absl::Duration> total() const { return total_; }

 private:
  absl::Duration begin_ = ThreadCpuTime();
  std::optional<absl::Duration> total_;
};

struct Sides {
  std::unique_ptr<UdpSocket> sockets[2];  // sender, receiver
  LinkLoop::Settings settings[2];
  absl::Time start;
};

absl::StatusOr<Sides> MakeSides(const LinkCase& link_case) {
  Sides sides;
  sides.start = absl::Now() + kStartUp;
  Rng rng(link_case.traffic.seed);
  const Incarnation incarnations[] = {rng.NextIncarnation(), rng.NextIncarnation()};
  for (auto& socket : sides.sockets) {
    PERIGEE_ASSIGN_OR_RETURN(socket, UdpSocket::Create("127.0.0.1:0"));
  }
  for (uint32_t side : {0u, 1u}) {
    const uint32_t other = 1 - side;
    sides.settings[side] = {.endpoint = {.self = NodeId(side), .incarnation = incarnations[side]},
                            .peer = {NodeId(other), incarnations[other], link_case.channel.link},
                            .peer_address = sides.sockets[other]->local_address(),
                            .channel = link_case.ChannelFrom(sides.start),
                            .seed = rng.Next()};
  }
  return sides;
}

bool WriteAll(int fd, const void* data, size_t bytes) {
  const char* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t written = ::write(fd, at, bytes);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    at += written;
    bytes -= static_cast<size_t>(written);
  }
  return true;
}

bool ReadAll(int fd, void* data, size_t bytes) {
  char* at = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t got = ::read(fd, at, bytes);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got;
    bytes -= static_cast<size_t>(got);
  }
  return true;
}

absl::Status Receive(const LinkCase& link_case, Sides& sides, int result_fd) {
  LinkLoop loop(sides.settings[1], std::move(sides.sockets[1]));
  LinkReceiver receiver(link_case.traffic, NodeId(0), loop.endpoint());
  const auto& down = sides.settings[1].channel.down;
  if (!down.empty()) loop.WatchForData(down.front().second);
  PhaseCpu cpu;
  PERIGEE_RETURN_IF_ERROR(receiver.Start(absl::Now()));
  const auto on_event = [&](absl::Time now, const TransportEvent& event) {
    return receiver.OnEvent(now, event);
  };
  const absl::Time limit = sides.start + link_case.TimeMax();
  absl::Time until = limit;
  while (absl::Now() < until) {
    PERIGEE_RETURN_IF_ERROR(loop.Turn(until, on_event));
    cpu.OnTurn(receiver.first_phase_done(), receiver.content_cpu());
    if (receiver.done() && until == limit) until = absl::Now() + kLinger;
  }
  ReceiverResult result{.finished = receiver.done(),
                        .intact = receiver.intact(),
                        .counters = loop.endpoint().CountersTotal()};
  if (cpu.total()) result.cpu_nanoseconds = absl::ToInt64Nanoseconds(*cpu.total());
  if (loop.first_data()) result.first_data_nanoseconds = absl::ToUnixNanos(*loop.first_data());
  std::vector<int64_t> delivered;
  for (absl::Time at : receiver.delivered_at()) delivered.push_back(absl::ToUnixNanos(at));
  if (!WriteAll(result_fd, &result, sizeof(result)) ||
      !WriteAll(result_fd, delivered.data(), delivered.size() * sizeof(int64_t))) {
    return absl::ErrnoToStatus(errno, "the receiver cannot tell its result");
  }
  return absl::OkStatus();
}

absl::Status Send(const LinkCase& link_case, Sides& sides, LinkRun& run) {
  LinkLoop loop(sides.settings[0], std::move(sides.sockets[0]));
  LinkSender sender(link_case.traffic, NodeId(1), loop.endpoint());
  sender.Start(sides.start + link_case.first_offer);
  std::optional<PhaseCpu> cpu;
  const auto on_event = [&](absl::Time now, const TransportEvent& event) {
    sender.OnEvent(now, event);
    return absl::OkStatus();
  };
  const absl::Time limit = sides.start + link_case.TimeMax();
  while (!sender.done()) {
    if (absl::Now() >= limit) {
      return absl::DeadlineExceededError(
          absl::StrCat("link: not done after ", absl::FormatDuration(link_case.TimeMax())));
    }
    if (!cpu && sender.NextOffer() <= absl::Now()) cpu.emplace();
    PERIGEE_RETURN_IF_ERROR(sender.OnTime(absl::Now()));
    PERIGEE_RETURN_IF_ERROR(loop.Turn(std::min(limit, sender.NextOffer()), on_event));
    if (cpu) cpu->OnTurn(sender.first_phase_done(), sender.content_cpu());
  }
  run.offered_at = sender.offered_at();
  run.sender = loop.endpoint().CountersTotal();
  if (cpu) run.cpu_send = cpu->total();
  return absl::OkStatus();
}

absl::Status ReadResult(int fd, const LinkTraffic& traffic, LinkRun& run) {
  ReceiverResult result;
  std::vector<int64_t> delivered(traffic.message_count());
  if (!ReadAll(fd, &result, sizeof(result)) ||
      !ReadAll(fd, delivered.data(), delivered.size() * sizeof(int64_t))) {
    return absl::AbortedError("link: the receiving process ended without a result");
  }
  if (!result.finished) return absl::DeadlineExceededError("link: not all messages were delivered");
  run.intact = result.intact;
  run.receiver = result.counters;
  run.cpu_receive = absl::Nanoseconds(result.cpu_nanoseconds);
  if (result.first_data_nanoseconds != 0) {
    run.first_data = absl::FromUnixNanos(result.first_data_nanoseconds);
  }
  for (int64_t at : delivered) run.delivered_at.push_back(absl::FromUnixNanos(at));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<LinkRun> RunLinkReal(const LinkCase& link_case) {
  PERIGEE_ASSIGN_OR_RETURN(Sides sides, MakeSides(link_case));
  int result_pipe[2];
  if (pipe(result_pipe) != 0) return absl::ErrnoToStatus(errno, "cannot make a pipe");
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child < 0) return absl::ErrnoToStatus(errno, "cannot start the receiving process");
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(result_pipe[0]);
    sides.sockets[0].reset();
    const absl::Status status = Receive(link_case, sides, result_pipe[1]);
    if (!status.ok()) std::fprintf(stderr, "receiver: %s\n", status.ToString().c_str());
    _exit(status.ok() ? 0 : 1);
  }
  close(result_pipe[1]);
  sides.sockets[1].reset();
  LinkRun run;
  if (link_case.outage) run.link_up = sides.settings[0].channel.down.front().second;
  absl::Status status = Send(link_case, sides, run);
  if (status.ok()) status = ReadResult(result_pipe[0], link_case.traffic, run);
  close(result_pipe[0]);
  if (!status.ok()) kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  if (!status.ok()) return status;
  return run;
}

}  // namespace perigee
