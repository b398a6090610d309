// The coordinator: keeps track of who is there, decides what the next view should be (ComputeView,
// pure), and proposes it (Proposer). A core without I/O: streams, timers and files belong to the
// driver (control/, sim/).
//
//   coordinator.OnMessage(now, stream, message);   coordinator.OnStreamClosed(now, stream);
//   while (auto record = coordinator.NextRecord()) ...  // to disk, before anything that follows
//   while (auto out = coordinator.NextMessage()) ...    // send, or close the stream
//   coordinator.OnTimeout(now);  coordinator.NextTimeout();
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "runtime/clock_offset.h"
#include "runtime/control_message.h"
#include "runtime/coordinator_record.h"
#include "runtime/proposer.h"
#include "transport/base/ids.h"
#include "transport/base/rng.h"
#include "transport/contact_plan.h"
#include "transport/view.h"

namespace perigee {

using StreamId = uint64_t;  // chosen by the driver, never reused

enum class MemberState : uint8_t { kJoining, kSyncing, kActive, kDraining, kDark, kDrained, kLost };
const char* Name(MemberState state);

// What a member said last of one of its links; a beat tells of some of them only.
struct KnownLink {
  LinkReport report;
  absl::Time at;
};

struct MemberRecord {
  NodeId node;
  Incarnation incarnation;
  std::string address;
  MemberState state = MemberState::kJoining;
  std::string reason;  // why it is in that state
  absl::Time since;    // of the state
  std::optional<StreamId> stream;
  absl::Time last_heard = absl::InfinitePast();
  uint32_t start_members = 0;
  bool drain_requested = false;
  absl::Time drain_at = absl::InfinitePast();
  bool drain_due = false;  // it was when the operator said so, whatever the clocks say later
  Beat beat;
  absl::Time beat_at = absl::InfinitePast();
  std::map<NodeId, KnownLink> links;  // by peer; at most Coordinator::kLinksMax, of late
  ClockEstimate clock;
  bool clock_unused = false;  // what was said of its clock last: the calendar goes without
  bool leaving = false;       // it said Leave
  std::string removed;  // an unplanned view left this incarnation out, and why; empty otherwise
  Epoch installed;      // the latest view it holds, or that was sent on its stream
  absl::Time install_sent = absl::InfinitePast();
  absl::Time lost_at = absl::InfiniteFuture();  // when its silence becomes a loss
  std::map<NodeId, absl::Time> suspected_by;  // members that cannot hear it, and when they said so
};

struct CoordinatorOptions : ViewPolicy {
  NodeId self = NodeId(0xffffffff);  // the proposer's id in ballots; a coordinator has no vote
  std::string version;
  // A closed stream (the process died, or its connection did) is silence that is known at once; a
  // member may reconnect within this time.
  absl::Duration reconnect_grace = absl::Milliseconds(200);
  absl::Duration proposal_timeout = absl::Seconds(1);  // then a new ballot
  // How far the calendar was ahead of this clock when it was known last (a member that acts).
  std::optional<absl::Duration> calendar_ahead;
  size_t members_max = 10000;
  size_t events_max = 10000;  // kept for `perigeectl events`
  // The driver writes down what NextRecord says, so that the next coordinator can be restored from
  // it. Without: nothing is recorded, and the next one knows what the members tell it.
  bool durable = false;
};

// What the next view should be; the Proposer makes it happen.
struct ViewChange {
  bool found = false;  // view 1
  bool planned = true;
  std::vector<Member> members;
  std::string reason;
  std::set<NodeId> counted_out;     // as in ProposalGoal
  std::optional<absl::Time> wakes;  // as in Proposal
};
struct ViewDecision {
  std::optional<ViewChange> change;
  std::string reason;  // why, or why not: names who is missing and when the plan brings them back
};

// The next life of a member in a hibernating view, of which nothing was heard yet.
bool Sleeps(const MemberRecord& record);

struct ClusterState {
  std::map<NodeId, MemberRecord> members;
  std::optional<View> view;
  bool hibernates = false;                       // that view; who has not registered sleeps
  absl::Time view_since = absl::InfinitePast();  // when this coordinator learned of it
  // Nodes that planned views took out since the last unplanned one, whose ops may still run; a
  // coordinator that has started again does not know them.
  std::set<NodeId> left_by_plan;
  bool left_by_plan_unknown = false;
  std::map<NodeId, Eviction> evictions;  // by operators, until a view without them is decided
  ContactPlan plan;
  // The contact plan and the drains are about calendar time, what most clocks say
  // (coordinator_clocks.cc); silence is measured by the own clock alone.
  absl::Duration calendar_ahead;  // of the own clock
  bool calendar_unknown = false;  // the members' clocks are not known yet: nothing goes by the plan
  absl::Duration departure_time;  // by what the members say of their steps; zero: not known
  absl::Time Calendar(absl::Time now) const { return now + calendar_ahead; }
};

// The eviction of this very incarnation; null where there is none.
const Eviction* FindEviction(const ClusterState& state, NodeId node,
                             const Incarnation& incarnation);
// Members of the view whose votes operators have counted out by force.
std::set<NodeId> CountedOut(const ClusterState& state, const View& view);

// Why a node should not be in the view at `now`, whatever it does.
struct Absence {
  MemberState state = MemberState::kDark;  // or kDrained
  std::string reason;                      // "dark until 12:00:05Z"
};
std::optional<Absence> PlannedAbsence(absl::Time now, const MemberRecord& record,
                                      const ClusterState& state, const CoordinatorOptions& options);
// What it takes to let a node leave by plan:
//   (steps_ahead + 1) x step + op + kDepartureMargin, at most kDepartureMax
// because the view without it begins steps_ahead steps after one that runs, the ops of its last
// step come to an end, and the agreement and the calendar's error take what is left. A node is
// taken out this long before it goes dark, or dark_lead where that is longer. Once it leaves it
// does so until twice that: a step that was short brings nobody back.
inline constexpr absl::Duration kDepartureMargin = absl::Seconds(1);
inline constexpr absl::Duration kDepartureMax = absl::Minutes(10);
absl::Duration DepartureTime(absl::Duration step, absl::Duration op, uint64_t steps_ahead);

// Pure. In order: found, remove the lost (unplanned; also drops joiners that are not active yet,
// and ends ops that a planned leaver left unfinished), take out who drains or goes dark (planned),
// admit joiners without votes, give votes to who became active.
ViewDecision ComputeView(absl::Time now, const ClusterState& state,
                         const CoordinatorOptions& options);

// Since this coordinator began; they only grow.
struct CoordinatorCounters {
  uint64_t views_planned = 0;  // decided, or learned of
  uint64_t views_unplanned = 0;
  uint64_t registrations_refused = 0;
};

class Coordinator {
 public:
  // Links that are kept per member; one that is not told of again is forgotten.
  static constexpr size_t kLinksMax = 128;
  static constexpr absl::Duration kLinkKept = absl::Seconds(5);
  // A clock that is known less well, or is further off than that, is not used and shown to people.
  static constexpr absl::Duration kClockBoundMax = absl::Milliseconds(500);
  static constexpr absl::Duration kClockAheadMax = absl::Seconds(1);
  // The driver takes all records and messages after a few calls; this many at once is a bug of the
  // driver.
  static constexpr size_t kOutgoingMax = size_t{1} << 20;

  Coordinator(const CoordinatorOptions& options, ContactPlan plan, std::string plan_text, Rng rng);
  // Goes on where the coordinator ended that wrote this. Before anything else. It knows the latest
  // view, but proposes nothing before a majority of that view's votes has registered: the members
  // may have gone on meanwhile.
  void Restore(absl::Time now, const CoordinatorSnapshot& snapshot);

  void OnMessage(absl::Time now, StreamId stream, const MemberMessage& message);
  void OnStreamClosed(absl::Time now, StreamId stream);
  void OnTimeout(absl::Time now);
  absl::Time NextTimeout() const;

  struct Outgoing {
    StreamId stream = 0;
    CoordinatorMessage message;
    bool close_after = false;
  };
  // What has to be on disk before any message is sent that is taken after it, and before an
  // operator or a watcher learns what the calls until now did. Nothing unless `durable`.
  std::optional<CoordinatorRecord> NextRecord();
  // Not while there is a record.
  std::optional<Outgoing> NextMessage();

  // Operators. NotFound for a node that was never seen, FailedPrecondition with what to do instead.
  absl::Status Drain(absl::Time now, NodeId node, absl::Time at, const std::string& who);
  absl::Status Undrain(absl::Time now, NodeId node, const std::string& who);
  // Takes this incarnation out of the view at once, as if it were lost. Without `force` the others
  // must hold a majority. With it the node's vote is counted out, so that what is left of a view
  // whose majority died can go on: it must not be heard, and the operator answers for it that it is
  // fenced. If it did live on the other side of a cut, two jobs would go on as one. Either way it
  // holds until a view without this incarnation is decided.
  absl::Status Evict(absl::Time now, NodeId node, bool force, const std::string& who);
  // What the driver wants remembered of operators' actions and of what it refused: an event
  // "audit".
  void Audit(absl::Time now, std::optional<NodeId> node, const std::string& text) {
    AddEvent(now, "audit", node, text);
  }

  // Reading.
  const ClusterState& state() const { return state_; }
  // How far the member's clock is ahead of calendar time; nothing while that is not known.
  std::optional<ClockOffset> ClockOf(absl::Time now, const MemberRecord& record) const;
  const std::string& plan_text() const { return plan_text_; }
  const std::deque<ViewRecord>& views() const { return views_; }
  const std::deque<CoordinatorEvent>& events() const { return events_; }
  // The number of the last event that Restore brought; 0 without.
  uint64_t restored_event() const { return restored_event_; }
  const CoordinatorCounters& counters() const { return counters_; }
  const std::string& waiting_reason() const { return waiting_reason_; }  // of the last ComputeView

 private:
  void OnRegister(absl::Time now, StreamId stream, const Register& message);
  void OnHeard(absl::Time now, MemberRecord& record);
  void OnBeat(absl::Time now, MemberRecord& record, const Beat& beat);
  void KeepLinks(absl::Time now, MemberRecord& record) const;
  void OnLeave(absl::Time now, MemberRecord& record, const Leave& leave);
  void OnSuspect(absl::Time now, const MemberRecord& reporter, const Suspect& suspect);
  // Why the newcomer may not register at all; empty if it may.
  std::string Refusal(absl::Time now, StreamId stream, const Register& message) const;
  static MemberRecord AnotherLife(absl::Time now, const MemberRecord& record,
                                  const Incarnation& incarnation);
  MemberRecord& MakeRecord(absl::Time now, StreamId stream, const Register& message);
  bool MakeRoom();
  void Learn(absl::Time now, const Proposal& installed);
  void Place(absl::Time now, MemberRecord& record);
  bool LeavesByPlan(const MemberRecord& record) const;

  // What operators want (coordinator_operators.cc).
  absl::Status MayEvict(const View& view, const Member& member, bool force) const;
  void LoseEvicted(absl::Time now);
  void ForgetEvictions(const View& view);

  // What is known of earlier views, and how it gets to those who lack it.
  void AddView(absl::Time decided, absl::Duration took, const Proposal& proposal);
  void AdoptIfMajority(absl::Time now);
  void RecordViews();
  void FoundJob(absl::Time now, const ViewChange& change);
  void SetView(absl::Time now, absl::Duration took, const Proposal& proposal);
  void PlaceMembers(absl::Time now, const Proposal& proposal, const View& before);
  bool SendInstalls(absl::Time now, MemberRecord& record);
  std::optional<size_t> FirstMissingView(const MemberRecord& record) const;

  // One of the entry points is about to act at `now`: everybody gets time if our own loop was late.
  void Begin(absl::Time now);
  // Follows the clock and what changed: states, proposals, messages, the next timeout.
  void Finish(absl::Time now);
  void Watch(absl::Time now);
  absl::Time LostAt(const MemberRecord& record) const;
  void WatchMember(absl::Time now, MemberRecord& record);
  void WatchOutsider(absl::Time now, MemberRecord& record, std::vector<NodeId>* gone);
  bool PutToSleep(absl::Time now, MemberRecord& record);
  void Reconsider(absl::Time now);
  std::optional<ProposalGoal> NextGoal(const ViewDecision& decision);
  void StartProposal(absl::Time now, ProposalGoal goal);
  void PumpProposer(absl::Time now);
  std::string AdoptionReason() const;
  // A member of another job than the one that the store is of, while nobody of that one is here
  // yet.
  bool IsStranger(const Register& message) const;
  void SetAside(absl::Time now, StreamId stream, const Register& message);
  void RefuseStrangers(absl::Time now);
  // Tells the members what the next view waits for, or that it waits for nothing.
  void TellWaiting(absl::Time now);
  // Calendar time and how long a departure takes, from what the members say.
  void FollowClocks(absl::Time now);
  void FollowSteps();
  void SetCalendar(absl::Duration ahead);
  void FlagClocks(absl::Time now);

  // The view that counts: the decided one, or the one that is being adopted. Null before the first.
  const View* CurrentView() const;
  bool InView(const MemberRecord& record) const;
  // The incarnation by which the view knows it: of one that has not fallen asleep yet, the next.
  Incarnation LifeInView(const MemberRecord& record) const;
  bool SuspectedByQuorum(absl::Time now, const MemberRecord& record) const;
  absl::Duration SilenceLimit() const;
  void SetState(absl::Time now, MemberRecord& record, MemberState state, const std::string& reason);
  void Detach(MemberRecord& record);
  void Remove(absl::Time now, MemberRecord& record, const std::string& reason);
  void Refuse(absl::Time now, StreamId stream, NodeId node, const std::string& reason);
  void Send(StreamId stream, CoordinatorMessage message, bool close_after = false);
  void AddEvent(absl::Time now, const std::string& kind, std::optional<NodeId> node,
                const std::string& text);
  void Record(CoordinatorRecord record);

  CoordinatorOptions options_;
  std::string plan_text_;
  Rng rng_;
  Incarnation incarnation_;
  ClusterState state_;
  std::map<StreamId, NodeId> streams_;  // registered ones
  Proposer proposer_;
  absl::Time proposal_began_ = absl::InfiniteFuture();
  absl::Time proposal_deadline_ = absl::InfiniteFuture();
  std::pair<Ballot, Proposer::Phase> proposal_at_;  // what the deadline is for
  // The latest view that the store or members of a running job told of, until a majority of its
  // votes is here.
  std::optional<Proposal> adopting_;
  bool took_over_ = false;  // what an earlier coordinator began may need to be ended
  bool changed_ = false;    // something that ComputeView looks at
  absl::Time watch_at_ = absl::InfiniteFuture();
  absl::Time no_suspicion_before_ = absl::InfinitePast();
  std::deque<CoordinatorRecord> records_;
  std::deque<Outgoing> outgoing_;
  std::deque<ViewRecord> views_;  // by epoch
  // Of views_: told of by members, and not recorded before a majority of its votes is here.
  std::set<Epoch> unrecorded_views_;
  bool restored_ = false;                 // with a view
  std::map<StreamId, NodeId> strangers_;  // streams that were set aside
  std::string strangers_reason_;          // why
  std::deque<CoordinatorEvent> events_;
  uint64_t events_count_ = 0;
  uint64_t restored_event_ = 0;
  CoordinatorCounters counters_;
  absl::Time clocks_at_ = absl::InfinitePast();      // when to look at the clocks again
  absl::Time calendar_by_ = absl::InfiniteFuture();  // whoever's clock is not known by then
  bool calendar_settled_ = false;                    // all clocks were known, or that has passed
  bool own_clock_unused_ = false;                    // as MemberRecord::clock_unused
  std::string waiting_reason_;
  std::string to_tell_;
  std::string told_;
  absl::Time told_at_ = absl::InfinitePast();
};

}  // namespace perigee
