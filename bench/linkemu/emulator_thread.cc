#include "bench/linkemu/emulator_thread.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "bench/linkemu/thread_priority.h"
#include "transport/base/status.h"

namespace perigee::linkemu {
namespace {

// Frames read from one device before the others and what is due get their turn: at 64 KiB each,
// some 50 us of work.
constexpr int kReadsInTurn = 4;
// Arrivals between two looks at the devices: more than what the frames of four nodes are cut into
// meanwhile, or what is due would fall behind while senders offer more than the links take.
constexpr int kArrivalsInTurn = 64;
constexpr int kEventsMax = 64;
constexpr int kWakeupEvent = -1;

double ThreadCpuSeconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return absl::ToDoubleSeconds(absl::DurationFromTimespec(time));
}

}  // namespace

absl::Time EmulatorNow() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return absl::TimeFromTimespec(time);
}

EmulatorThread::EmulatorThread(const Network& network, const Emulator::Options& options,
                               const std::vector<int>& tuns)
    : emulator_(network, options), tuns_(tuns) {}

absl::StatusOr<std::unique_ptr<EmulatorThread>> EmulatorThread::Start(
    const Network& network, const Emulator::Options& options, const std::vector<int>& tuns) {
  std::unique_ptr<EmulatorThread> started(new EmulatorThread(network, options, tuns));
  PERIGEE_RETURN_IF_ERROR(started->OpenEvents());
  started->thread_ = std::thread([thread = started.get()] {
    // Lateness is what the emulator adds to the network, so it goes first.
    const ThreadPriority priority(ThreadPriority::Rank::kEmulator);
    thread->real_time_ = priority.real_time();
    thread->Run();
  });
  // It runs, and its priority is known, when it has answered.
  PERIGEE_RETURN_IF_ERROR(started->Call([](Emulator&, absl::Time) { return absl::OkStatus(); }));
  return started;
}

absl::Status EmulatorThread::OpenEvents() {
  epoll_ = FileDescriptor(epoll_create1(EPOLL_CLOEXEC));
  wakeup_ = FileDescriptor(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  const auto Watch = [this](int fd, int node) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = node;
    return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
  };
  bool ok = Watch(wakeup_.get(), kWakeupEvent);
  for (size_t i = 0; i < tuns_.size(); ++i) ok = ok && Watch(tuns_[i], static_cast<int>(i));
  if (ok) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("cannot watch the TUN devices: ", std::strerror(errno)));
}

EmulatorThread::~EmulatorThread() {
  if (!thread_.joinable()) return;
  Call([this](Emulator&, absl::Time) {
    stop_ = true;
    return absl::OkStatus();
  }).IgnoreError();
  thread_.join();
}

void EmulatorThread::Run() {
  while (!stop_) {
    DeliverDue();
    // A device that has been emptied leaves the list until epoll names it again.
    readable_.erase(std::remove_if(readable_.begin(), readable_.end(),
                                   [this](int node) { return !ReadSome(node); }),
                    readable_.end());
    Wait();
  }
}

void EmulatorThread::Wait() {
  absl::Duration wait = emulator_.NextTimeout() - EmulatorNow();
  if (!readable_.empty() || wait < absl::ZeroDuration()) wait = absl::ZeroDuration();
  const timespec timeout = absl::ToTimespec(wait);
  epoll_event events[kEventsMax];
  const int count = epoll_pwait2(epoll_.get(), events, kEventsMax,
                                 wait == absl::InfiniteDuration() ? nullptr : &timeout, nullptr);
  for (int i = 0; i < count; ++i) {
    const int node = events[i].data.fd;
    if (node == kWakeupEvent) {
      RunCalls();
    } else if (std::find(readable_.begin(), readable_.end(), node) == readable_.end()) {
      readable_.push_back(node);
    }
  }
}

bool EmulatorThread::ReadSome(int node) {
  for (int i = 0; i < kReadsInTurn; ++i) {
    const absl::Span<uint8_t> inbox = emulator_.Inbox();
    const ssize_t size = read(tuns_[static_cast<size_t>(node)], inbox.data(), inbox.size());
    if (size <= 0) return false;
    emulator_.OnFrame(EmulatorNow(), node, static_cast<size_t>(size));
  }
  return true;
}

void EmulatorThread::DeliverDue() {
  absl::Time now = EmulatorNow();
  for (int i = 0; i < kArrivalsInTurn; ++i) {
    const std::optional<Emulator::Arrival> arrival = emulator_.NextArrival(now);
    if (!arrival) return;
    const iovec parts[2] = {
        {const_cast<uint8_t*>(arrival->head.data()), arrival->head.size()},
        {const_cast<uint8_t*>(arrival->payload.data()), arrival->payload.size()},
    };
    const int tun = tuns_[static_cast<size_t>(arrival->to)];
    if (writev(tun, parts, arrival->payload.empty() ? 1 : 2) < 0) ++write_errors_;
    lateness_.Add(now - arrival->due);
    now = EmulatorNow();
  }
}

void EmulatorThread::RunCalls() {
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t size = read(wakeup_.get(), &count, sizeof(count));
  std::vector<PendingCall*> calls;
  {
    const std::lock_guard lock(mutex_);
    calls.swap(calls_);
  }
  for (PendingCall* call : calls) {
    const absl::Status status = call->action(emulator_, EmulatorNow());
    const std::lock_guard lock(mutex_);
    call->status = status;
    call->done = true;
  }
  call_done_.notify_all();
}

absl::Status EmulatorThread::Call(
    const std::function<absl::Status(Emulator&, absl::Time now)>& action) {
  PendingCall call{.action = action};
  std::unique_lock lock(mutex_);
  calls_.push_back(&call);
  const uint64_t one = 1;
  PERIGEE_CHECK(write(wakeup_.get(), &one, sizeof(one)) == sizeof(one));
  call_done_.wait(lock, [&call] { return call.done; });
  return call.status;
}

EmulatorFigures EmulatorThread::Figures() {
  EmulatorFigures figures;
  Call([&](Emulator& emulator, absl::Time) {
    for (const EmulatedLink& link : emulator.links()) figures.links.push_back(link.counters());
    figures.frames = emulator.counters();
    figures.lateness = lateness_;
    figures.write_errors = write_errors_;
    figures.cpu_seconds = ThreadCpuSeconds();
    return absl::OkStatus();
  }).IgnoreError();
  return figures;
}

void EmulatorThread::ResetLateness() {
  Call([this](Emulator&, absl::Time) {
    lateness_ = DurationHistogram();
    return absl::OkStatus();
  }).IgnoreError();
}

}  // namespace perigee::linkemu
