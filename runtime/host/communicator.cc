#include "runtime/host/communicator.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "runtime/orbit/plan_file.h"
#include "runtime/version.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

// A member whose ops are all stable stays this long for peers to acknowledge that it has told them
// so. The last acknowledgement of all can be lost with nobody left to ask for it.
constexpr absl::Duration kTellLimit = absl::Milliseconds(500);
// What "forever" means to a condition variable, whose clock would overflow.
constexpr absl::Duration kAwaitMax = absl::Hours(24 * 365);

}  // namespace

absl::StatusOr<std::unique_ptr<Communicator>> Communicator::Create(
    const CommunicatorOptions& options) {
  PERIGEE_ASSIGN_OR_RETURN(
      std::optional<Credentials> credentials,
      ChooseCredentials(options.certs, options.insecure, Role::kMember, absl::Now()));
  std::unique_ptr<Communicator> comm(new Communicator(options));
  NodeLoopOptions loop{.node = {.self = options.node,
                                .version = kVersion,
                                .start_members = options.start_members,
                                .default_link = options.default_link,
                                .needs_state = options.needs_state},
                       .listen = options.listen,
                       .coordinator = options.coordinator,
                       .credentials = std::move(credentials),
                       .insecure = options.insecure,
                       .clock = options.clock,
                       .emulate = options.emulate,
                       .resumption = options.resumption};
  Communicator* self = comm.get();
  PERIGEE_ASSIGN_OR_RETURN(
      comm->loop_,
      NodeLoop::Create(
          std::move(loop),
          [self](absl::Time now, NodeEvent event) { self->OnEvent(now, std::move(event)); },
          [self](const absl::Status& status) { self->OnConnection(status); }));
  comm->loop_->SetOnControl([self](absl::Time now, const MemberMessage& message) {
    self->recorder_.OnControl(now, message);
  });
  comm->loop_->Start();
  PERIGEE_RETURN_IF_ERROR(comm->WaitForFirstView());
  return comm;
}

Communicator::~Communicator() {
  if (loop_ != nullptr) loop_->Stop();
}

absl::Status Communicator::WaitForFirstView() {
  std::unique_lock lock(mutex_);
  Await(lock, options_.join_deadline, [this] { return view_.has_value() || left_.has_value(); });
  if (left_ && !view_) {
    return absl::FailedPreconditionError(absl::StrCat("the coordinator at ", options_.coordinator,
                                                      " refuses node ", options_.node.value(), ": ",
                                                      left_->reason));
  }
  if (view_) return absl::OkStatus();
  const std::string waited = absl::StrCat("node ", options_.node.value(), " waited ",
                                          absl::FormatDuration(options_.join_deadline));
  if (!connection_.ok()) {
    return absl::UnavailableError(absl::StrCat(waited, ": ", connection_.message()));
  }
  return absl::DeadlineExceededError(absl::StrCat(
      waited, " to be taken into a view",
      options_.start_members > 0
          ? absl::StrCat(" (a new job starts with ", options_.start_members, " members)")
          : "",
      ": see `perigeectl nodes`"));
}

// ---- From the loop's thread. ----

void Communicator::OnEvent(absl::Time now, NodeEvent event) {
  recorder_.OnEvent(now, event);
  std::lock_guard lock(mutex_);
  if (auto* finished = std::get_if<OpFinished>(&event)) {
    auto it = ops_.find(finished->op);
    if (it != ops_.end()) it->second.finished = std::move(*finished);
  } else if (auto* needs = std::get_if<OpNeedsInput>(&event)) {
    auto it = ops_.find(needs->op);
    if (it != ops_.end()) it->second.needs_input_in = needs->epoch;
  } else if (auto* changed = std::get_if<ViewChanged>(&event)) {
    view_ = changed->proposal.view;
    PushChange(std::move(*changed));
  } else if (auto* left = std::get_if<LeftView>(&event)) {
    left_ = *left;
    PushChange(std::move(*left));
  } else if (auto* plan = std::get_if<PlanReceived>(&event)) {
    plan_text_ = std::move(plan->text);
  } else if (auto* sent = std::get_if<StateSent>(&event)) {
    PushChange(*sent);
  } else if (auto* received = std::get_if<StateReceived>(&event)) {
    PushChange(std::move(*received));
  }
  changed_.notify_all();
}

bool Communicator::Await(std::unique_lock<std::mutex>& lock, absl::Duration deadline,
                         const std::function<bool()>& done) {
  const auto until =
      std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(std::min(deadline, kAwaitMax));
  return changed_.wait_until(lock, until, done);
}

void Communicator::OnConnection(const absl::Status& status) {
  recorder_.OnConnection(options_.clock.Now(), status);
  {
    std::lock_guard lock(mutex_);
    const bool same = connection_told_ && connection_.ok() == status.ok();
    connection_ = status;
    connection_told_ = true;
    if (same) return;
  }
  if (options_.on_connection) options_.on_connection(status);
}

void Communicator::PushChange(MemberChange change) {
  if (changes_.size() >= kChangesMax) changes_.pop_front();
  changes_.push_back(std::move(change));
}

void Communicator::Call(const std::function<void(absl::Time, Node&)>& function) {
  std::mutex mutex;
  std::condition_variable called;
  bool done = false;
  loop_->Post([&](absl::Time now, Node& node) {
    function(now, node);
    std::lock_guard lock(mutex);
    done = true;
    called.notify_one();
  });
  std::unique_lock lock(mutex);
  called.wait(lock, [&] { return done; });
}

// ---- Ops. ----

absl::StatusOr<OpId> Communicator::Start(const CollectiveRequest& request) {
  absl::StatusOr<OpId> op;
  Call([&](absl::Time now, Node& node) {
    op = node.Start(now, request);
    if (!op.ok()) return;
    recorder_.OnStarted(now, *op);
    std::lock_guard lock(mutex_);
    ops_[*op];
  });
  return op;
}

absl::StatusOr<OpResult> Communicator::Wait(OpId op, absl::Duration deadline) {
  {
    std::unique_lock lock(mutex_);
    auto it = ops_.find(op);
    if (it == ops_.end()) {
      return absl::NotFoundError(
          absl::StrCat("op ", ToString(op), " is over or was never started"));
    }
    OpRecord* record = &it->second;
    record->has_waiter = true;
    Await(lock, deadline,
          [record] { return record->finished.has_value() || record->needs_input_in.has_value(); });
    record->has_waiter = false;
    if (record->finished) {
      const OpFinished finished = *std::move(record->finished);
      ops_.erase(it);
      PERIGEE_RETURN_IF_ERROR(finished.status);
      return OpResult{.epoch = finished.epoch,
                      .contributions = finished.contributions,
                      .flags = finished.flags};
    }
    if (record->needs_input_in) {
      return OpResult{.needs_input_in = std::exchange(record->needs_input_in, std::nullopt)};
    }
  }
  return DeadlinePassed(op, deadline);
}

absl::Status Communicator::DeadlinePassed(OpId op, absl::Duration deadline) {
  std::string text;
  std::optional<FlightRecord> record;
  Call([&](absl::Time now, Node& node) {
    text = absl::StrCat(node.Describe(now, op), "; nothing for ", absl::FormatDuration(deadline));
    record = recorder_.Take(now, node, text);
  });
  if (record) {
    const absl::Status written = recorder_.Write(*record);
    if (!written.ok()) absl::StrAppend(&text, "; ", written.message());
  }
  return absl::DeadlineExceededError(text);
}

absl::Status Communicator::Resume(OpId op, const CollectiveRequest& request) {
  absl::Status status;
  Call([&](absl::Time now, Node& node) { status = node.Resume(now, op, request); });
  return status;
}

void Communicator::Cancel(OpId op) {
  Call([&](absl::Time now, Node& node) { node.Cancel(now, op); });
  std::lock_guard lock(mutex_);
  auto it = ops_.find(op);
  if (it == ops_.end()) return;
  if (!it->second.has_waiter) {
    ops_.erase(it);
  } else if (!it->second.finished) {
    it->second.finished = OpFinished{.op = op, .status = absl::CancelledError("cancelled")};
    changed_.notify_all();
  }
}

absl::Status Communicator::AllReduce(Buffer buffer, ReduceOp reduce_op, absl::Duration deadline) {
  PERIGEE_ASSIGN_OR_RETURN(const OpId op, Start({.kind = CollectiveKind::kAllReduce,
                                                 .reduce_op = reduce_op,
                                                 .input = {buffer.data, buffer.count, buffer.dtype},
                                                 .output = buffer}));
  const absl::StatusOr<OpResult> result = Wait(op, deadline);
  if (absl::IsDeadlineExceeded(result.status())) Cancel(op);
  return result.status();
}

absl::Status Communicator::Broadcast(Buffer buffer, NodeId root, absl::Duration deadline) {
  PERIGEE_ASSIGN_OR_RETURN(const OpId op, Start({.kind = CollectiveKind::kBroadcast,
                                                 .input = {buffer.data, buffer.count, buffer.dtype},
                                                 .output = buffer,
                                                 .root = root}));
  const absl::StatusOr<OpResult> result = Wait(op, deadline);
  if (absl::IsDeadlineExceeded(result.status())) Cancel(op);
  return result.status();
}

// ---- Changes and state. ----

std::optional<MemberChange> Communicator::NextChange() {
  return WaitForChange(absl::ZeroDuration());
}

std::optional<MemberChange> Communicator::WaitForChange(absl::Duration deadline) {
  std::unique_lock lock(mutex_);
  if (!Await(lock, deadline, [this] { return !changes_.empty(); })) return std::nullopt;
  std::optional<MemberChange> change(std::move(changes_.front()));
  changes_.pop_front();
  return change;
}

absl::Status Communicator::SendState(NodeId to, Epoch taken_in, absl::Span<const uint8_t> bytes) {
  absl::Status status;
  Call([&](absl::Time now, Node& node) { status = node.SendState(now, to, taken_in, bytes); });
  return status;
}

absl::Status Communicator::ReceiveState(NodeId from, Epoch taken_in, absl::Span<uint8_t> bytes) {
  absl::Status status;
  Call([&](absl::Time now, Node& node) { status = node.ReceiveState(now, from, taken_in, bytes); });
  return status;
}

void Communicator::SetActive() {
  Call([](absl::Time now, Node& node) { node.SetActive(now); });
}

void Communicator::StepDone(StepId step) {
  Call([&](absl::Time now, Node& node) { node.StepDone(now, step); });
}

void Communicator::SetStats(const MemberStats& stats) {
  loop_->Post([stats](absl::Time, Node& node) { node.SetStats(stats); });
}

absl::Status Communicator::Close(absl::Duration deadline) {
  const absl::Time end = options_.clock.Now() + deadline;
  absl::Time told_by = end;
  bool stable = false;
  Call([](absl::Time now, Node& node) { node.TellDone(now); });
  // Stability comes with the peers' acknowledgements; no event that a caller needs goes with it.
  for (bool over = false; !over;) {
    bool told = false;
    Call([&](absl::Time now, Node& node) {
      const bool was_stable = std::exchange(stable, node.out() || node.unstable_op_count() == 0);
      if (stable && !was_stable) told_by = std::min(end, now + kTellLimit);
      told = node.out() || node.all_told();
    });
    over = (stable && told) || options_.clock.Now() >= told_by;
    if (!over) absl::SleepFor(absl::Milliseconds(2));
  }
  Call([](absl::Time now, Node& node) { node.Leave(now, "finished"); });
  loop_->Stop();
  return stable ? absl::OkStatus()
                : absl::DeadlineExceededError(
                      absl::StrCat("some peers did not acknowledge the last results within ",
                                   absl::FormatDuration(deadline)));
}

// ---- Reading. ----

View Communicator::view() const {
  std::lock_guard lock(mutex_);
  return view_.value_or(View());
}

ContactPlan Communicator::plan() const {
  std::lock_guard lock(mutex_);
  if (plan_text_.empty()) return ContactPlan();
  return ParseContactPlan(plan_text_, "plan of the coordinator", options_.clock.Now())
      .value_or(ContactPlan());
}

SteadyClock Communicator::Calendar() {
  absl::Duration ahead;
  Call([&](absl::Time now, Node& node) { ahead = node.Calendar(now) - now; });
  return options_.clock.Ahead(ahead);
}

SessionCounters Communicator::counters() {
  SessionCounters counters;
  Call([&](absl::Time, Node& node) { counters = node.endpoint().CountersTotal(); });
  return counters;
}

}  // namespace perigee
