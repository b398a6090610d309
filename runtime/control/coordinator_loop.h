// The one thread that touches the Coordinator. Everything else posts tasks to its mailbox:
//
//   loop.Post([](absl::Time now, Coordinator& coordinator) { coordinator.OnMessage(now, id,
//   message); });
//
// After every task the coordinator's messages go to their streams, its new events to `on_event` and
// to the watchers. The clock that the tasks see never goes back, whatever the system's does.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "absl/time/time.h"
#include "runtime/control_message.h"
#include "runtime/coordinator.h"

namespace perigee {

class CoordinatorLoop {
 public:
  // Requests of operators that wait for the loop; more are refused.
  static constexpr size_t kRequestsMax = 256;
  // A stream that is to close is cancelled when its peer has not read the rest by then.
  static constexpr absl::Duration kCloseGrace = absl::Seconds(2);

  // Sees every event once, in order, on the loop's thread; the coordinator as it is after that.
  using EventSink =
      std::function<void(const CoordinatorEvent& event, const Coordinator& coordinator)>;
  using Task = std::function<void(absl::Time now, Coordinator& coordinator)>;

  // A member's stream. Called on the loop's thread only.
  class Stream {
   public:
    virtual ~Stream() = default;
    virtual void Send(const CoordinatorMessage& message) = 0;
    // Ends the stream when everything before is sent.
    virtual void Close() = 0;
    // Ends it now, although its peer may not read.
    virtual void Cancel() = 0;
    // Its member has not registered within the time that it had.
    virtual void OnSilent() = 0;
  };
  // Somebody who follows the events. Called on the loop's thread only.
  class Watcher {
   public:
    virtual ~Watcher() = default;
    virtual void OnEvents(Coordinator& coordinator) = 0;
    virtual void Close() = 0;
  };

  CoordinatorLoop(Coordinator coordinator, EventSink on_event);
  ~CoordinatorLoop();  // stops

  // From any thread. The caller bounds how many tasks it has here: a stream posts the next message
  // only when the one before was handled, so that a sender in a hurry waits for its turn instead of
  // filling the mailbox.
  void Post(Task task);
  // The same for requests; false when kRequestsMax are waiting.
  bool Request(Task task);
  // Closes all streams and watchers and waits until they are gone and everything posted was done.
  void Stop();
  // Asks all streams and watchers to close, and returns at once.
  void CloseAll();

  // On the loop's thread only. What is added must be removed before it is destroyed.
  // A stream is unregistered until its member is known, which must be within this time.
  StreamId AddStream(Stream* stream, absl::Duration register_within);
  void Registered(StreamId id) { unregistered_.erase(id); }
  void RemoveStream(StreamId id);
  size_t stream_count() const { return streams_.size(); }
  size_t unregistered_count() const { return unregistered_.size(); }
  void AddWatcher(Watcher* watcher) { watchers_.insert(watcher); }
  void RemoveWatcher(Watcher* watcher) { watchers_.erase(watcher); }
  size_t watcher_count() const { return watchers_.size(); }

 private:
  void Run();
  absl::Time Now();
  void Route();
  void Close(StreamId id, Stream* stream);
  void EndOverdue();
  void Announce();

  // The loop's thread only.
  Coordinator coordinator_;
  EventSink on_event_;
  absl::Time now_ = absl::InfinitePast();
  StreamId last_stream_ = 0;
  uint64_t last_event_ = 0;
  std::map<StreamId, Stream*> streams_;
  std::deque<std::pair<absl::Time, StreamId>> closing_;  // by time; of streams that may be gone
  std::map<StreamId, absl::Time> unregistered_;          // until when; by time, too
  std::set<Watcher*> watchers_;

  std::mutex mutex_;  // of what follows
  std::condition_variable wake_;
  std::deque<Task> mailbox_;
  size_t requests_ = 0;
  bool stopping_ = false;

  std::thread thread_;  // last: it uses all of the above
};

}  // namespace perigee
