// One satellite: its endpoint, its membership and its running collectives; the only place where
// layers meet. A core: a driver (host/node_loop, sim/cluster) feeds it and does what it asks.
//
//   node.OnDatagram(now, bytes);  node.OnControl(now, message);  node.OnTimeout(now);
//   StatusOr<OpId> op = node.Start(now, request);
//   for (;;) drain NextTransmit, NextControl, NextReduce, NextEvent
//
// An op runs in the view of its step. When a member is lost, the op that it took part in is
// repeated in the next view (FailurePolicy); results are delivered at all members of the next view
// or at none (membership.md).
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "collectives/buffer.h"
#include "collectives/collective_op.h"
#include "collectives/contribution_set.h"
#include "collectives/reduce_kernels.h"
#include "collectives/schedule.h"
#include "runtime/control_message.h"
#include "runtime/deputy.h"
#include "runtime/hibernation.h"
#include "runtime/member_clock.h"
#include "runtime/membership.h"
#include "runtime/node_event.h"
#include "runtime/peer_message.h"
#include "runtime/state_transfer.h"
#include "runtime/step_times.h"
#include "transport/base/ids.h"
#include "transport/base/rng.h"
#include "transport/contact_plan.h"
#include "transport/endpoint.h"
#include "transport/view.h"

namespace perigee {

struct NodeOptions {
  NodeId self;
  Incarnation incarnation;
  std::string address;
  std::string version;
  uint32_t start_members = 0;  // see Register
  // The link to a peer where the contact plan has none for it.
  Link default_link = {125e6, absl::Microseconds(100)};
  // A member whose state comes from a peer sets itself active when it has it (SetActive).
  bool needs_state = false;
  size_t chunk_bytes_min = 32 << 10;
  size_t chunk_bytes_max = 1 << 20;
};

class Node {
 public:
  // Unstable ops at one time; Start refuses more.
  static constexpr size_t kOpsWindow = 64;
  // A planned leaver whose last ops do not come to an end goes after this long without progress.
  static constexpr absl::Duration kLeaveLimit = absl::Seconds(5);
  // How long one that falls asleep waits for the others to know what it is done with.
  static constexpr absl::Duration kTellLimit = absl::Milliseconds(500);
  // How long a session with a planned leaver stays after the last op with it.
  static constexpr absl::Duration kLinger = absl::Seconds(2);
  // Nothing follows an op for so long, or longer on slow links: then a message tells that it is
  // finished.
  static constexpr absl::Duration kRestMin = absl::Milliseconds(20);
  // A loop that is later than this cannot tell a silent peer from its own absence.
  static constexpr absl::Duration kLatenessMax = absl::Milliseconds(50);
  static constexpr size_t kQueueMax =
      1 << 20;  // events, control messages, reductions waiting for the driver

  Node(const NodeOptions& options, Rng rng);
  ~Node();

  // The next life of a member that slept: before anything else, with the incarnation that the view
  // of the resumption has for this node.
  void Wake(absl::Time now, const Resumption& resumption);

  // ---- Requests. ----
  // FailedPrecondition when this incarnation is out, InvalidArgument for a bad request,
  // ResourceExhausted past kOpsWindow. FailedPrecondition before the first view (ViewChanged).
  // Behind a view that is about to begin, the op waits.
  absl::StatusOr<OpId> Start(absl::Time now, const CollectiveRequest& request);
  // After OpNeedsInput: goes on with this input (and its contributions and flags) in the present
  // view.
  absl::Status Resume(absl::Time now, OpId op, const CollectiveRequest& request);
  // Frees the caller's buffers now, whatever the op does: it goes on from a copy of the input, so
  // that no other member is disturbed, and its result is thrown away. OpFinished(Cancelled)
  // follows. Unknown ops are fine.
  void Cancel(absl::Time now, OpId op);
  // A peer's copy of the training state, at the step boundary where a newcomer joins. `bytes` must
  // stay valid until StateSent, LeftView, or an unplanned ViewChanged (which ends the transfer).
  // `taken_in` is the epoch of the first view that has the newcomer: both ends name it, however
  // many views were decided since.
  absl::Status SendState(absl::Time now, NodeId to, Epoch taken_in,
                         absl::Span<const uint8_t> bytes);
  absl::Status ReceiveState(absl::Time now, NodeId from, Epoch taken_in, absl::Span<uint8_t> bytes);
  void SetActive(absl::Time now);
  void SetPlan(absl::Time now, ContactPlan plan);
  void SetStats(const MemberStats& stats) { stats_ = stats; }
  // The driver's loop called so much later than it was asked to. A member that was late itself
  // accuses nobody of the silence until then.
  void SetLoopLateness(absl::Time now, absl::Duration lateness);
  // No more calls for steps up to this one will come: a planned leaver may go when they are stable.
  // Calls without a step, and a call that is refused because the member leaves, say so by
  // themselves.
  void StepDone(absl::Time now, StepId step);
  // Tells all peers now what is finished here, instead of with the next op or after a rest.
  void TellDone(absl::Time now);
  // Says goodbye to the coordinator, or to who acts for it; a member of a view then leaves it by
  // plan.
  void Leave(absl::Time now, const std::string& reason);

  // ---- Network and control plane. ----
  void OnDatagram(absl::Time now, absl::Span<const uint8_t> datagram);
  void OnControlConnected(absl::Time now);
  void OnControlDisconnected(absl::Time now);
  void OnControl(absl::Time now, const CoordinatorMessage& message);
  void OnReduced(absl::Time now, uint64_t ticket);
  void OnTimeout(absl::Time now);
  absl::Time NextTimeout() const;

  std::optional<Endpoint::Transmit> NextTransmit(absl::Time now, absl::Span<uint8_t> out);
  std::optional<MemberMessage> NextControl();
  std::optional<ReduceTask> NextReduce();
  std::optional<NodeEvent> NextEvent();

  // ---- Reading. ----
  const View* view() const;  // the latest decided one; null before the first
  bool frozen() const { return membership_.frozen(); }
  bool out() const { return out_; }
  size_t unstable_op_count() const { return ops_.size(); }
  // Peers have acknowledged everything that they were told.
  bool all_told() const { return endpoint_.UnackedControlCount() == 0; }
  // What the beats say (node_report.cc).
  std::vector<OpReport> OpReports(absl::Time now) const;
  CallReport Calls(absl::Time now) const;
  // Of all peers, by node. Goodput is that of the last beats.
  std::vector<LinkReport> Links(absl::Time now) const;
  // A beat with all links, for a flight record.
  Beat Report(absl::Time now) const;
  // Peers whose transfers are posted here and have not come, and how many.
  std::vector<std::pair<NodeId, size_t>> MissingTransfers() const;
  const std::string& waiting_reason() const { return waiting_reason_; }
  // Calendar time at `now`, as far as it is known.
  absl::Time Calendar(absl::Time now) const { return clock_.Calendar(now); }
  // "op 5.0 (epoch 3, 12 of 18 chunks): waiting for node 4; coordinator: view 4 needs 3 of 5 votes,
  // missing ...".
  std::string Describe(absl::Time now, OpId op) const;
  const Endpoint& endpoint() const { return endpoint_; }
  const Deputy& deputy() const { return deputy_; }
  const NodeOptions& options() const { return options_; }

 private:
  enum class OpState : uint8_t { kWaiting, kNeedsInput, kRunning, kDelivered };
  struct RunningOp {
    CollectiveRequest request;
    std::string call_text;  // "allreduce sum of 1000 f32": what every member must have called
    OpState state = OpState::kWaiting;
    Epoch epoch;      // of its transfers
    Epoch summed_in;  // where the sum was begun; a result that is handed on keeps it
    absl::Time started;
    absl::Time progressed;  // when the last message of it came or was acknowledged
    bool cancelled = false;
    bool handed_out = false;  // the caller has the result; what still runs is for the others
    // A broadcast whose root is not in the view. The members meet in an empty allreduce before it
    // fails, so that it cannot fail at one member in a step that a planned view claims for the
    // others.
    bool root_lost = false;
    std::vector<uint8_t> cancelled_memory;  // stands in for the caller's buffers
    std::vector<NodeId> nodes;              // members of the view it runs in, by rank
    OpId tells;  // its frames tell all of them that everything up to here is finished,
    absl::Duration tells_within;  // unless it stands still for longer than this
    std::unique_ptr<Schedule> schedule;
    std::unique_ptr<CollectiveOp> op;
    // An earlier attempt whose result is handed on by `op`.
    std::unique_ptr<CollectiveOp> holder;
    std::unique_ptr<Schedule> holder_schedule;
    // What the endpoint may still touch, to withdraw it before memory goes.
    std::vector<std::pair<NodeId, TransferKey>> receives;
    std::vector<std::pair<NodeId, TransferKey>> sends;
    bool sends_cancelled = false;
  };
  struct Ticket {
    OpId id;
    CollectiveOp* op = nullptr;
    uint64_t inner = 0;
  };
  // Finished by others in a view that is over, before it was called here: the result comes from
  // `holder`.
  struct Finished {
    NodeId holder;
    Epoch summed_in;
  };
  // An attempt that was given up while the reducer still worked on its memory.
  struct Retired {
    std::unique_ptr<Schedule> schedule;
    std::unique_ptr<CollectiveOp> op;
  };

  // What a peer's counters were when its link was last reported.
  struct LinkSample {
    absl::Time at;
    uint64_t new_bytes = 0;
    double goodput_bps = 0;
  };

  // Reporting (node_report.cc).
  Beat ReportWithoutLinks(absl::Time now) const;
  std::vector<LinkReport> NextLinks(absl::Time now);
  std::set<NodeId> UrgentLinks(absl::Time now) const;
  LinkReport LinkOf(absl::Time now, NodeId peer) const;
  void SampleGoodput(absl::Time now, NodeId peer);

  // Requests and their end (node.cc).
  absl::Status ValidateRequest(const CollectiveRequest& request) const;
  void Emit(NodeEvent event);
  void DrainEndpoint(absl::Time now);
  void OnTransportEvent(absl::Time now, const TransportEvent& event);

  // The coordinator and the members that act for it (node_control.cc).
  void Handle(absl::Time now, const CoordinatorMessage& message);
  Register Registration() const;
  // Whether this life has to fall asleep before `view`.
  bool SleepsBefore(const View& view) const {
    return HasNextLife(view, options_.self, options_.incarnation);
  }
  void SendToCoordinator(MemberMessage message);
  void SendControl(absl::Time now, MemberMessage message);
  void PumpDeputy(absl::Time now);
  void SendBeat(absl::Time now);
  void SendSuspicion(absl::Time now, NodeId node, absl::Time since);

  // Running ops (node_ops.cc).
  void TryBegin(absl::Time now, OpId id);
  void TryBeginAll(absl::Time now);
  void Begin(absl::Time now, OpId id, const View& view, Rank self);
  OpInput InputOf(const RunningOp& running, const View& view) const;
  std::unique_ptr<Schedule> MakeSchedule(const RunningOp& running, const View& view) const;
  void PumpOp(absl::Time now, OpId id);
  absl::Status Execute(absl::Time now, OpId id, RunningOp& running, const OpAction& action);
  void OnTransfer(absl::Time now, NodeId peer, const TransferKey& key, bool delivered);
  void Deliver(absl::Time now, OpId id, const absl::Status& status);
  void FailOp(absl::Time now, OpId id, const absl::Status& status, bool tell_others);
  void Withdraw(RunningOp& running);
  void Retire(RunningOp& running);
  bool IsStable(OpId id, const RunningOp& running) const;
  void ForgetStable(absl::Time now);
  OpId DoneThrough() const;
  bool RunningOpTellsDone(absl::Time now) const;
  absl::Duration DelayMax(const std::vector<NodeId>& nodes, absl::Time now) const;
  std::vector<NodeId> WithoutLaterOps(const RunningOp& running) const;

  // Results that go from a member that has them to those that do not (node_results.cc).
  void FollowDecisions(absl::Time now, const Proposal& proposal, const std::vector<View>& before);
  Epoch SummedIn(OpId id, const std::vector<View>& before) const;
  void PassResult(absl::Time now, OpId id, const View& view, NodeId holder,
                  const std::vector<NodeId>& receivers);

  // Views and peers (node_view.cc).
  LocalProgress Progress() const;
  void OnInstall(absl::Time now, const Install& install);
  // Ops of this step and later that began in an older view (see
  // Membership::InstallResult::kPlanned).
  void RepeatFrom(StepId first_step);
  void ApplyUnplanned(absl::Time now, const Proposal& proposal, const std::vector<View>& before);
  void Thaw(absl::Time now);
  // Sessions with the members of all views in use. Who fell out is fenced at once, or (planned
  // leavers) may still fetch acknowledgements for a while.
  void UpdatePeers(absl::Time now, bool fence);
  void DropLingering(absl::Time now);
  void BeginPlannedLeave(absl::Time now, const Proposal& proposal);
  void CheckPlannedLeave(absl::Time now);
  void GoOut(absl::Time now, const LeftView& left);
  void OnPeerMessage(absl::Time now, NodeId peer, const PeerMessage& message);
  void AnnounceCall(absl::Time now, OpId id, const RunningOp& running, Rank self);
  void CompareCall(absl::Time now, NodeId peer, const CallMessage& call);
  void SendDone(absl::Time now, const std::vector<NodeId>& peers);
  void SendPeer(absl::Time now, NodeId peer, const PeerMessage& message);
  Link LinkTo(NodeId peer, absl::Time now) const;

  NodeOptions options_;
  Endpoint endpoint_;
  Membership membership_;
  Deputy deputy_;
  ContactPlan plan_;
  MemberClock clock_;
  StepTimes step_times_;
  StateTransfer state_transfer_;

  std::map<OpId, RunningOp> ops_;  // not stable
  std::vector<Retired> retired_;
  std::map<uint64_t, Ticket> tickets_;
  uint64_t next_ticket_ = 1;
  OpId last_started_;  // OpId() before the first
  absl::Time last_started_at_;
  OpId failed_;  // the last op that failed here; OpId(): none
  absl::Time failed_at_;
  std::string failure_;
  StepId begun_step_;  // the furthest step of which an op began to run
  bool any_begun_ = false;
  std::optional<StepId> steps_done_;
  std::optional<Welcome> welcome_;    // of the coordinator; who acts for it knows no plan text
  OpId done_floor_;                   // ops up to here were before this member's time
  std::map<NodeId, OpId> peer_done_;  // every op up to this one is finished there
  std::map<std::pair<OpId, NodeId>, CallMessage>
      calls_;  // announced by a neighbour, not started here; bounded
  // Of ops that were not called here yet; what is called takes its entry out.
  std::map<OpId, Finished> finished_elsewhere_;
  std::map<OpId, absl::Status> failed_elsewhere_;  // bounded
  std::deque<TransportEvent> held_;                // arrived while frozen

  std::deque<NodeEvent> events_;
  std::deque<MemberMessage> controls_;
  std::deque<ReduceTask> reduces_;
  std::map<NodeId, Incarnation> peers_;
  std::map<NodeId, absl::Time> lingering_;
  absl::Time punctual_since_ = absl::InfinitePast();
  std::map<NodeId, absl::Time> silent_;  // peers that do not answer, and since when
  std::map<NodeId, LinkSample> link_samples_;
  NodeId next_link_;  // whose turn in the beats it is

  bool connected_ = false;
  bool active_ = false;
  bool out_ = false;
  // Out by plan: what began before the new view still runs here.
  bool leaving_ = false;
  std::string leaving_reason_;
  absl::Time leave_deadline_ = absl::InfiniteFuture();
  std::optional<Epoch> asleep_;  // the view in which the job sleeps without this life
  std::string waiting_reason_;
  MemberStats stats_;
  absl::Duration loop_lateness_;
  absl::Duration beat_interval_ = absl::Milliseconds(100);
  absl::Time next_beat_ = absl::InfiniteFuture();
  absl::Time idle_done_at_ = absl::InfiniteFuture();
};

}  // namespace perigee
