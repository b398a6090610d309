// One member of a job, for a training loop: collectives that outlive members.
//
//   PERIGEE_ASSIGN_OR_RETURN(auto comm, Communicator::Create(options));
//   absl::Status status = comm->AllReduce(buffer, ReduceOp::kSum, absl::Seconds(30));
//
// Start returns at once with a handle to Wait for or Cancel; the blocking forms are Start + Wait,
// the only wait there is. Every member makes the same calls in the same order. Thread-safe; calls
// are ordered as they are made, so a program with several threads orders them itself.
//
// A Communicator is one incarnation: when it is out (NextChange says LeftView), make a new one to
// come back.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <variant>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "collectives/buffer.h"
#include "runtime/control/steady_clock.h"
#include "runtime/host/flight_recorder.h"
#include "runtime/host/node_loop.h"
#include "runtime/node.h"
#include "transport/contact_plan.h"
#include "transport/view.h"

namespace perigee {

struct CommunicatorOptions {
  NodeId node;
  std::string coordinator = "127.0.0.1:7000";
  // The folder with a member's certificate (`perigeectl cert init` makes it), or, on a network that
  // is trusted, insecure: one of the two.
  std::string certs;
  bool insecure = false;
  // A new job is founded when this many members are registered; 0 joins a running job only.
  uint32_t start_members = 0;
  std::string listen = "127.0.0.1:0";
  SteadyClock clock;  // of the process, over all its incarnations
  // Capacity and one-way delay of links that the contact plan does not name.
  Link default_link = {125e6, absl::Microseconds(100)};
  std::optional<ChannelSettings> emulate;
  // The program fetches the training state before it takes part (Trainer does): no vote until
  // SetActive.
  bool needs_state = false;
  absl::Duration join_deadline = absl::Seconds(60);
  // Of the life that fell asleep (LeftView): this one goes on with its view, at its address.
  std::optional<Resumption> resumption;
  // Where waits that pass their deadline leave a record for `perigeectl explain --records`; without
  // a folder nowhere. A folder that cannot be written to is told with the error of the wait.
  FlightRecorderOptions flight_records;
  // Called about once per change of the connection to the coordinator, and when the first attempt
  // fails; from another thread; must not block.
  std::function<void(const absl::Status&)> on_connection;
};

// What an op came to at one point of waiting.
struct OpResult {
  // Set when the op waits for the caller (kFullSet): the view in which it goes on after Resume.
  std::optional<Epoch> needs_input_in;
  Epoch epoch;  // the view whose members the result sums over
  ContributionSet contributions;
  uint32_t flags = 0;
};

// What befell the member, in order.
using MemberChange = std::variant<ViewChanged, LeftView, StateSent, StateReceived>;

class Communicator {
 public:
  static constexpr size_t kChangesMax =
      10000;  // unread; the oldest StateSent and ViewChanged go first

  // Connects, registers, and waits for the first view that holds this member. InvalidArgument when
  // the options say neither `certs` nor `insecure`, or the folder cannot serve. DeadlineExceeded
  // says what it waits for; Unavailable when there is no coordinator; FailedPrecondition when it
  // refuses (version, duplicate).
  static absl::StatusOr<std::unique_ptr<Communicator>> Create(const CommunicatorOptions& options);
  ~Communicator();  // leaves; Close() first lets peers finish

  // The errors of Node::Start. Buffers stay valid until Wait returned or Cancel was called.
  absl::StatusOr<OpId> Start(const CollectiveRequest& request);
  // The result; or DeadlineExceeded, naming who is waited for (the op goes on: Wait again or
  // Cancel); or the op's own error. A result is handed out once; one thread waits for an op.
  absl::StatusOr<OpResult> Wait(OpId op, absl::Duration deadline);
  absl::Status Resume(OpId op, const CollectiveRequest& request);
  // The caller's buffers are free when it returns. The other members are not disturbed: what this
  // member put in stays in the sum.
  void Cancel(OpId op);

  // In place, over all members. On an error the op is cancelled and the buffer is what it was, or
  // the result.
  absl::Status AllReduce(Buffer buffer, ReduceOp reduce_op, absl::Duration deadline);
  absl::Status Broadcast(Buffer buffer, NodeId root, absl::Duration deadline);

  // For training loops that bring their own state (trainer.h).
  std::optional<MemberChange> NextChange();
  // As NextChange, but waits for one. Nothing when the deadline passes.
  std::optional<MemberChange> WaitForChange(absl::Duration deadline);
  absl::Status SendState(NodeId to, Epoch taken_in, absl::Span<const uint8_t> bytes);
  absl::Status ReceiveState(NodeId from, Epoch taken_in, absl::Span<uint8_t> bytes);
  void SetActive();
  void StepDone(StepId step);
  void SetStats(const MemberStats& stats);

  // Waits until everything that this member took part in is stable, then leaves. DeadlineExceeded
  // leaves anyway.
  absl::Status Close(absl::Duration deadline);

  View view() const;
  ContactPlan plan() const;
  // Tells calendar time, which the plan is about, as far as this member knows it.
  SteadyClock Calendar();
  SessionCounters counters();
  NodeId node() const { return options_.node; }
  const Incarnation& incarnation() const { return loop_->incarnation(); }

 private:
  struct OpRecord {
    std::optional<OpFinished> finished;
    std::optional<Epoch> needs_input_in;
    bool has_waiter = false;
  };

  explicit Communicator(const CommunicatorOptions& options)
      : options_(options), recorder_(options.flight_records, options.node) {}
  absl::Status WaitForFirstView();
  void OnEvent(absl::Time now, NodeEvent event);
  void OnConnection(const absl::Status& status);
  void PushChange(MemberChange change) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The error of a wait that passed its deadline, with a flight record where they are wanted.
  absl::Status DeadlinePassed(OpId op, absl::Duration deadline);
  // Whether `done` holds within `deadline`; it is looked at whenever something changes.
  bool Await(std::unique_lock<std::mutex>& lock, absl::Duration deadline,
             const std::function<bool()>& done);
  // Runs on the loop's thread and waits for it.
  void Call(const std::function<void(absl::Time, Node&)>& function);

  CommunicatorOptions options_;
  FlightRecorder recorder_;  // on the loop's thread, but for Write

  // Not absl::Mutex: ThreadSanitizer cannot see into a system's Abseil.
  mutable std::mutex mutex_;
  std::condition_variable changed_;  // any of what follows
  std::map<OpId, OpRecord> ops_ ABSL_GUARDED_BY(mutex_);
  std::deque<MemberChange> changes_ ABSL_GUARDED_BY(mutex_);
  std::optional<View> view_ ABSL_GUARDED_BY(mutex_);
  std::optional<LeftView> left_ ABSL_GUARDED_BY(mutex_);
  std::string plan_text_ ABSL_GUARDED_BY(mutex_);
  absl::Status connection_ ABSL_GUARDED_BY(mutex_) =
      absl::UnavailableError("not connected to the coordinator yet");
  bool connection_told_ ABSL_GUARDED_BY(mutex_) = false;

  std::unique_ptr<NodeLoop> loop_;  // last: it calls into the rest
};

}  // namespace perigee
