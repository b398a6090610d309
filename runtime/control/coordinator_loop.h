// The one thread that touches the Coordinator. Everything else posts tasks to its mailbox:
//
//   loop.Post([](absl::Time now, Coordinator& coordinator) {
//     coordinator.OnMessage(now, id, message);
//   });
//
// A turn of the loop: some tasks and the timer, then the coordinator's records go to the store in
// one transaction, and only when they are on disk its messages go to their streams, the answers to
// operators (AfterCommit), and its new events to `on_event` and to the watchers. Whoever was told
// anything was told what a kill cannot take back. A store that fails ends all that: nobody is told
// anything any more.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "runtime/control/steady_clock.h"
#include "runtime/control/store.h"
#include "runtime/control_message.h"
#include "runtime/coordinator.h"

namespace perigee {

class CoordinatorLoop {
 public:
  // Requests of operators that wait for the loop; more are refused.
  static constexpr size_t kRequestsMax = 256;
  // Tasks of one turn: a commit serves many of them, and what they ask for is bounded.
  static constexpr size_t kTurnTasksMax = 64;
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

  struct Options {
    Store* store = nullptr;  // of a durable coordinator; outlives the loop
    SteadyClock clock;       // of the process
    EventSink on_event = nullptr;
    // Once, on the loop's thread: nothing that came after the last commit is known to anybody. What
    // is left to do is to stop.
    std::function<void(const absl::Status& status)> on_store_failure = nullptr;
  };

  // The events that the coordinator was restored with are not announced again.
  CoordinatorLoop(Coordinator coordinator, Options options);
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

  // How late the loop was at most in the last 10 to 20 s. On the loop's thread only.
  absl::Duration lateness() const { return std::max(late_before_, late_); }

  // On the loop's thread only, in a task: done at the end of this turn, with what became of the
  // records: OK, or why nothing that the coordinator has done in this turn may be told.
  using Reply = std::function<void(const absl::Status& committed)>;
  void AfterCommit(Reply reply) { replies_.push_back(std::move(reply)); }
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
  bool Wait();
  void RunTurn();
  void EndTurn();
  absl::Status Commit();
  void NoteLateness(absl::Time now, absl::Time meant);
  absl::Time Now();
  void Route(bool committed);
  void Close(StreamId id, Stream* stream);
  void EndOverdue();
  void Announce();

  // The loop's thread only.
  Coordinator coordinator_;
  Options options_;
  absl::Status store_status_;  // an error stays
  absl::Time now_ = absl::InfinitePast();
  absl::Time late_since_ = absl::InfinitePast();  // beginning of the span of `late_`
  absl::Duration late_before_;
  absl::Duration late_;
  StreamId last_stream_ = 0;
  uint64_t last_event_ = 0;
  std::map<StreamId, Stream*> streams_;
  std::deque<std::pair<absl::Time, StreamId>> closing_;  // by time; of streams that may be gone
  std::map<StreamId, absl::Time> unregistered_;          // until when; by time, too
  std::set<Watcher*> watchers_;
  std::vector<Reply> replies_;
  std::deque<Task> tasks_;  // taken from the mailbox

  std::mutex mutex_;  // of what follows
  std::condition_variable wake_;
  std::deque<Task> mailbox_;
  size_t requests_ = 0;
  bool stopping_ = false;

  std::thread thread_;  // last: it uses all of the above
};

}  // namespace perigee
