#include "runtime/control/control_client.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <thread>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "runtime/control/member_stream.h"
#include "runtime/control/steady_clock.h"
#include "transport/base/rng.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

using Event = MemberStream::Event;

// Connecting and the coordinator's first sign of life.
constexpr absl::Duration kConnectTimeout = absl::Seconds(2);
// The first attempt after a loss must come well within the coordinator's reconnect_grace.
constexpr absl::Duration kBackoffMin = absl::Milliseconds(20);
constexpr absl::Duration kBackoffMax = absl::Seconds(1);
// How long a failed stream may take to say why, and a cancelled one, which needs no peer, to end.
constexpr absl::Duration kStatusTimeout = absl::Milliseconds(500);
constexpr absl::Duration kCancelTimeout = absl::Seconds(5);

uint64_t RandomSeed() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

}  // namespace

// The queue between the threads, and the thread that owns the streams.
struct ControlClient::State : std::enable_shared_from_this<ControlClient::State> {
  State(const Options& options, Callbacks callbacks)
      : options(options), callbacks(std::move(callbacks)), rng(RandomSeed()) {}

  void Run();
  void Attempt();
  bool Serve(absl::Time connect_by);
  bool OnEvent(const Event& event);
  void Pump();
  absl::Status End(bool cancel);
  std::optional<Event> NextEvent(absl::Time deadline);
  bool WaitBeforeNextAttempt();
  bool Stopping();
  absl::Status Explain(const absl::Status& ended) const;
  void Post(Event event);

  const Options options;
  const Callbacks callbacks;
  const SteadyClock clock;

  // The client's thread only.
  Rng rng;
  absl::Duration backoff = kBackoffMin;
  uint64_t attempt = 0;
  std::unique_ptr<MemberStream> stream;
  bool connected = false;
  bool writing = false;
  bool writes_ended = false;
  absl::Status refused;  // by this side: the coordinator's message is malformed

  std::mutex mutex;  // of what follows
  std::condition_variable wake;
  std::deque<Event> events;  // a few per stream: one read, one write, its end
  std::deque<MemberMessage> queue;
  bool open = false;      // messages are taken
  bool overflow = false;  // the queue is full of what must not be dropped
  bool woken = false;     // there is something to send, or to stop
  std::optional<absl::Time> stop_by;
};

// ---- From any thread. ----

void ControlClient::State::Post(Event event) {
  {
    std::lock_guard lock(mutex);
    events.push_back(std::move(event));
  }
  wake.notify_all();
}

void ControlClient::Send(const MemberMessage& message) {
  State& state = *state_;
  {
    std::lock_guard lock(state.mutex);
    if (!state.open) return;
    if (state.queue.size() >= kQueueMax) {
      auto beat = std::find_if(state.queue.begin(), state.queue.end(), [](const MemberMessage& m) {
        return std::holds_alternative<Beat>(m);
      });
      if (beat != state.queue.end()) {
        state.queue.erase(beat);
      } else {
        state.overflow = true;
      }
    }
    if (!state.overflow) state.queue.push_back(message);
    state.woken = true;
  }
  state.wake.notify_all();
}

ControlClient::ControlClient(const Options& options, Callbacks callbacks)
    : state_(std::make_shared<State>(options, std::move(callbacks))) {
  PERIGEE_CHECK(options.credentials || options.insecure);
}

ControlClient::~ControlClient() { Stop(absl::ZeroDuration()); }

void ControlClient::Start() {
  PERIGEE_CHECK(!thread_.joinable());
  // Its first callback may destroy this object, but not before thread_ is there.
  std::lock_guard lock(state_->mutex);
  thread_ = std::thread([state = state_] {
    { std::lock_guard started(state->mutex); }
    state->Run();
  });
}

void ControlClient::Stop(absl::Duration deadline) {
  {
    std::lock_guard lock(state_->mutex);
    const absl::Time stop_by = state_->clock.Now() + deadline;
    state_->stop_by = std::min(stop_by, state_->stop_by.value_or(absl::InfiniteFuture()));
    state_->woken = true;
  }
  state_->wake.notify_all();
  if (!thread_.joinable()) return;
  // A callback may stop its own client, even destroy it: the thread then ends by itself and keeps
  // the state.
  if (thread_.get_id() == std::this_thread::get_id()) {
    thread_.detach();
  } else {
    thread_.join();
  }
}

// ---- The client's thread. ----

void ControlClient::State::Run() {
  do {
    Attempt();
  } while (WaitBeforeNextAttempt());
}

bool ControlClient::State::Stopping() {
  std::lock_guard lock(mutex);
  return stop_by.has_value();
}

// One connection, from the first packet to its end.
void ControlClient::State::Attempt() {
  if (Stopping()) return;
  connected = writing = writes_ended = false;
  refused = absl::OkStatus();
  {
    std::lock_guard lock(mutex);
    events.clear();
  }
  stream = MemberStream::Start(options, ++attempt, [self = shared_from_this()](Event event) {
    self->Post(std::move(event));
  });
  const absl::Time connect_by = clock.Now() + kConnectTimeout;
  while (Serve(connect_by)) {
  }
  {
    std::lock_guard lock(mutex);
    open = overflow = false;
    queue.clear();
  }
  const absl::Status ended = End(/*cancel=*/!refused.ok() || !connected || Stopping());
  if (Stopping()) return;
  if (connected) backoff = kBackoffMin;
  if (callbacks.on_disconnected) callbacks.on_disconnected(Explain(ended));
}

// Waits for one event and handles it; false when the stream is to be given up.
bool ControlClient::State::Serve(absl::Time connect_by) {
  absl::Time deadline = connected ? absl::InfiniteFuture() : connect_by;
  bool done_sending = false;
  {
    std::lock_guard lock(mutex);
    if (overflow) {
      refused = absl::UnavailableError(absl::StrCat("the coordinator at ", options.address,
                                                    " does not read: ", kQueueMax,
                                                    " messages are waiting for it"));
      return false;
    }
    if (stop_by) {
      if (!connected) return false;
      deadline = std::min(deadline, *stop_by);
      open = false;
      done_sending = queue.empty() && !writing;
    }
  }
  if (done_sending && !writes_ended) {
    // The coordinator ends the stream when it has read everything.
    stream->EndWrites();
    writes_ended = true;
  }
  if (clock.Now() >= deadline) return false;
  if (std::optional<Event> event = NextEvent(deadline)) {
    if (!OnEvent(*event)) return false;
  }
  Pump();
  return true;
}

bool ControlClient::State::OnEvent(const Event& event) {
  if (event.attempt != attempt) return true;
  switch (event.kind) {
    case Event::Kind::kConnected: {
      connected = true;
      {
        std::lock_guard lock(mutex);
        open = !stop_by.has_value();
      }
      stream->Read();
      if (callbacks.on_connected) callbacks.on_connected();
      return true;
    }
    case Event::Kind::kRead:
      if (!event.message.ok()) {
        refused = absl::InvalidArgumentError(
            absl::StrCat("the coordinator at ", options.address,
                         " sent a malformed message: ", event.message.status().message()));
        return false;
      }
      if (callbacks.on_message) callbacks.on_message(*event.message);
      stream->Read();
      return true;
    case Event::Kind::kWritten:
      writing = false;
      return true;
    case Event::Kind::kFailed:
    case Event::Kind::kDone:
      return false;
  }
  return false;
}

void ControlClient::State::Pump() {
  if (!connected || writing) return;
  std::optional<MemberMessage> message;
  {
    std::lock_guard lock(mutex);
    if (queue.empty()) return;
    message = std::move(queue.front());
    queue.pop_front();
  }
  writing = true;
  stream->Write(*message);
}

// Lets go of the stream and waits a bounded time for its status.
absl::Status ControlClient::State::End(bool cancel) {
  stream->Release();
  // A stream that failed here need not have ended there: without a status it is cancelled.
  for (const bool last : {cancel, true}) {
    if (last) stream->Cancel();
    const absl::Time by = clock.Now() + (last ? kCancelTimeout : kStatusTimeout);
    while (clock.Now() < by) {
      const std::optional<Event> event = NextEvent(by);
      if (event && event->attempt == attempt && event->kind == Event::Kind::kDone) {
        stream.reset();
        return event->status;
      }
      if (!last && Stopping()) break;
    }
  }
  MemberStream::Abandon(std::move(stream));
  return absl::UnavailableError("no answer");
}

// An event, or nothing when the deadline has passed or there is something to send or to stop.
std::optional<Event> ControlClient::State::NextEvent(absl::Time deadline) {
  // The end of time overflows the system's clock.
  const absl::Duration left = std::min(deadline - clock.Now(), absl::Hours(1));
  std::unique_lock lock(mutex);
  wake.wait_for(lock, absl::ToChronoNanoseconds(left), [&] { return !events.empty() || woken; });
  woken = false;
  if (events.empty()) return std::nullopt;
  Event event = std::move(events.front());
  events.pop_front();
  return event;
}

// False when the client was stopped.
bool ControlClient::State::WaitBeforeNextAttempt() {
  const absl::Duration pause = backoff * (0.5 + rng.Unit() / 2);
  backoff = std::min(backoff * 2, kBackoffMax);
  std::unique_lock lock(mutex);
  wake.wait_for(lock, absl::ToChronoNanoseconds(pause), [&] { return stop_by.has_value(); });
  return !stop_by.has_value();
}

absl::Status ControlClient::State::Explain(const absl::Status& ended) const {
  if (!refused.ok()) return refused;
  const std::string who = absl::StrCat("the coordinator at ", options.address);
  // May come before the stream is taken for connected.
  if (absl::IsPermissionDenied(ended) || absl::IsResourceExhausted(ended) ||
      absl::IsInvalidArgument(ended) || absl::IsUnauthenticated(ended)) {
    return absl::Status(ended.code(), absl::StrCat(who, " refused: ", ended.message()));
  }
  if (!connected) {
    return absl::UnavailableError(
        absl::StrCat("no coordinator at ", options.address, ": is perigeed running there",
                     options.credentials ? ", with certificates of the same CA?" : "?"));
  }
  if (ended.ok()) return absl::UnavailableError(absl::StrCat(who, " closed the stream"));
  return absl::UnavailableError(absl::StrCat("lost ", who, ": ", ended.message()));
}

}  // namespace perigee
