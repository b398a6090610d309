#include "runtime/control/coordinator_loop.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "transport/base/status.h"

namespace perigee {
namespace {

// An idle coordinator has no next timeout; waiting for the end of time overflows the system's
// clock.
constexpr absl::Duration kWaitMax = absl::Hours(1);
constexpr absl::Duration kLatenessSpan = absl::Seconds(10);

}  // namespace

CoordinatorLoop::CoordinatorLoop(Coordinator coordinator, Options options)
    : coordinator_(std::move(coordinator)),
      options_(std::move(options)),
      last_event_(coordinator_.restored_event()),
      thread_([this] { Run(); }) {}

CoordinatorLoop::~CoordinatorLoop() { Stop(); }

void CoordinatorLoop::Post(Task task) {
  {
    std::lock_guard lock(mutex_);
    mailbox_.push_back(std::move(task));
  }
  wake_.notify_one();
}

bool CoordinatorLoop::Request(Task task) {
  {
    std::lock_guard lock(mutex_);
    if (requests_ >= kRequestsMax) return false;
    ++requests_;
  }
  Post([this, task = std::move(task)](absl::Time now, Coordinator& coordinator) {
    {
      std::lock_guard lock(mutex_);
      --requests_;
    }
    task(now, coordinator);
  });
  return true;
}

void CoordinatorLoop::CloseAll() {
  Post([this](absl::Time, Coordinator&) {
    // A stream that closes removes itself later, in a task of its own.
    for (const auto& [id, stream] : streams_) Close(id, stream);
    for (Watcher* watcher : watchers_) watcher->Close();
  });
}

void CoordinatorLoop::Stop() {
  if (!thread_.joinable()) return;
  CloseAll();
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

StreamId CoordinatorLoop::AddStream(Stream* stream, absl::Duration register_within) {
  streams_[++last_stream_] = stream;
  unregistered_[last_stream_] = now_ + register_within;
  return last_stream_;
}

void CoordinatorLoop::RemoveStream(StreamId id) {
  streams_.erase(id);
  unregistered_.erase(id);
}

absl::Time CoordinatorLoop::Now() {
  now_ = options_.clock.Now();
  return now_;
}

void CoordinatorLoop::Run() {
  EndTurn();  // a coordinator that was restored has recorded that
  while (Wait()) RunTurn();
}

// False when there is nothing left to do.
bool CoordinatorLoop::Wait() {
  if (!tasks_.empty()) return true;
  absl::Time timeout = std::min(coordinator_.NextTimeout(), Now() + kWaitMax);
  if (!closing_.empty()) timeout = std::min(timeout, closing_.front().first);
  if (!unregistered_.empty()) timeout = std::min(timeout, unregistered_.begin()->second);
  std::unique_lock lock(mutex_);
  const bool alone = streams_.empty() && watchers_.empty();
  const absl::Duration pause = std::max(timeout - now_, absl::ZeroDuration());
  wake_.wait_for(lock, absl::ToChronoNanoseconds(pause),
                 [&] { return !mailbox_.empty() || (stopping_ && alone); });
  NoteLateness(Now(), timeout);
  tasks_.swap(mailbox_);
  return !(tasks_.empty() && stopping_ && alone);
}

void CoordinatorLoop::RunTurn() {
  for (size_t i = 0; i < kTurnTasksMax && !tasks_.empty(); ++i) {
    const Task task = std::move(tasks_.front());
    tasks_.pop_front();
    task(Now(), coordinator_);
  }
  EndOverdue();
  if (coordinator_.NextTimeout() <= Now()) coordinator_.OnTimeout(now_);
  EndTurn();
}

void CoordinatorLoop::EndTurn() {
  const absl::Status committed = Commit();
  Route(committed.ok());
  for (const Reply& reply : std::exchange(replies_, {})) reply(committed);
  if (committed.ok()) Announce();
}

absl::Status CoordinatorLoop::Commit() {
  std::vector<CoordinatorRecord> records;
  while (std::optional<CoordinatorRecord> record = coordinator_.NextRecord()) {
    records.push_back(*std::move(record));
  }
  if (!store_status_.ok() || records.empty()) return store_status_;
  PERIGEE_CHECK(options_.store != nullptr);  // the coordinator is durable
  store_status_ = options_.store->Append(records);
  if (!store_status_.ok() && options_.on_store_failure) options_.on_store_failure(store_status_);
  return store_status_;
}

void CoordinatorLoop::NoteLateness(absl::Time now, absl::Time meant) {
  if (now > late_since_ + kLatenessSpan) {
    late_before_ = std::exchange(late_, absl::ZeroDuration());
    late_since_ = now;
  }
  late_ = std::max(late_, now - meant);
}

void CoordinatorLoop::Route(bool committed) {
  while (std::optional<Coordinator::Outgoing> out = coordinator_.NextMessage()) {
    auto it = streams_.find(out->stream);
    if (it == streams_.end() || !committed) continue;
    it->second->Send(out->message);
    if (out->close_after) Close(out->stream, it->second);
  }
}

void CoordinatorLoop::Close(StreamId id, Stream* stream) {
  stream->Close();
  closing_.emplace_back(now_ + kCloseGrace, id);
}

void CoordinatorLoop::EndOverdue() {
  for (; !closing_.empty() && closing_.front().first <= Now(); closing_.pop_front()) {
    auto it = streams_.find(closing_.front().second);
    if (it != streams_.end()) it->second->Cancel();
  }
  while (!unregistered_.empty() && unregistered_.begin()->second <= Now()) {
    const StreamId id = unregistered_.begin()->first;
    unregistered_.erase(unregistered_.begin());
    streams_.at(id)->OnSilent();
  }
}

void CoordinatorLoop::Announce() {
  const std::deque<CoordinatorEvent>& events = coordinator_.events();
  if (events.empty() || events.back().number <= last_event_) return;
  auto first = std::upper_bound(
      events.begin(), events.end(), last_event_,
      [](uint64_t number, const CoordinatorEvent& event) { return number < event.number; });
  if (options_.on_event) {
    for (; first != events.end(); ++first) options_.on_event(*first, coordinator_);
  }
  last_event_ = events.back().number;
  for (Watcher* watcher : watchers_) watcher->OnEvents(coordinator_);
}

}  // namespace perigee
