// What members and the coordinator say to each other, as plain structs. runtime/control carries
// them over gRPC, runtime/sim in virtual time. Delivery per stream is in order; a stream may break
// at any time, and everything here may be repeated without harm.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "transport/base/ids.h"
#include "transport/view.h"

namespace perigee {

// ---- The decision of one epoch (membership.md). ----

struct OpStatus {
  OpId op;
  Epoch epoch;                // in which it runs here
  bool holds_result = false;  // all finals are here
  friend bool operator==(const OpStatus&, const OpStatus&) = default;
};

struct OpDecision {
  enum class Kind : uint8_t { kFinish, kAbort };
  OpId op;
  Kind kind = Kind::kAbort;
  NodeId holder;                // kFinish: who hands the result on
  std::vector<NodeId> missing;  // kFinish: who lacks it, in order
  friend bool operator==(const OpDecision&, const OpDecision&) = default;
};

struct Proposal {
  View view;
  // A planned view begins at view.first_step and leaves running ops alone; an unplanned one begins
  // at once, and every op that is not stable is decided.
  bool planned = true;
  // A hibernating view (hibernation.h): planned, and its members wake up at this time.
  std::optional<absl::Time> wakes = {};
  std::vector<OpDecision> decisions;
  std::string reason;  // for people: "node 4: no beat for 620ms"
  friend bool operator==(const Proposal&, const Proposal&) = default;
};

// ---- Member to coordinator. ----

struct Register {
  NodeId node;
  Incarnation incarnation;
  std::string address;  // of the Perigee socket
  std::string version;  // of the library; must equal the coordinator's
  // A new job is founded once this many members without a view are registered. 0: only join a
  // running one.
  uint32_t start_members = 0;
  std::optional<Proposal> installed;  // what a member of a running job holds
};
// What one running op waits for. `waiting_for` also tells the coordinator of ops that a planned
// leaver left unfinished; the rest is for people.
struct OpReport {
  enum class Phase : uint8_t {
    kRunning,      // waits for `waiting_for`
    kAwaitsView,   // for a view that is about to begin
    kAwaitsInput,  // for this member's own program (FailurePolicy::kFullSet)
  };
  OpId op;
  Epoch epoch;
  double progress = 0;
  absl::Duration age;
  std::vector<NodeId> waiting_for;
  Phase phase = Phase::kRunning;
  absl::Duration stalled;  // since the last message of this op came or was acknowledged
  std::string call;        // "allreduce sum of 1000 f32"
};
// One directed link, as the member that sends over it sees it.
struct LinkReport {
  NodeId peer;
  // How long no acknowledgement came although one was due; zero: nothing is due.
  absl::Duration unanswered;
  absl::Duration heard_ago = absl::InfiniteDuration();  // anything at all; infinite: nothing yet
  absl::Duration round_trip;
  double goodput_bps = 0;  // of new data, since the report before
  uint64_t packets_lost = 0;
  uint64_t packets_repaired = 0;
};
// What a member's program did last: the calls of a loop that is stuck elsewhere stop.
struct CallReport {
  OpId last;  // OpId(): none yet
  absl::Duration ago;
  // The last op that failed here, and why: members that call different things end like this.
  OpId failed;  // OpId(): none
  absl::Duration failed_ago;
  std::string failure;
};
// Small numbers for people; the coordinator only shows them.
struct MemberStats {
  double training_loss = 0;  // mean over the step; 0: nothing is trained
  double allreduce_seconds = 0;
  double goodput_bps = 0;
  uint64_t packets_lost = 0;
  uint64_t packets_repaired = 0;
};
// Both ends of a member's pause between hearing from a coordinator and this beat (clock_offset.h).
struct ClockReport {
  absl::Time clock;          // the member's own, when this was said
  absl::Time heard;          // what the coordinator told of its clock last
  absl::Duration heard_for;  // how long ago, by the member's clock
};
struct Beat {
  // Links without an answer and those over which an op waits first, then the others in turn.
  static constexpr size_t kLinksMax = 16;
  static constexpr size_t kTextBytesMax = 256;  // of a call or a failure; the rest is cut

  StepId step;          // the last step that was started here
  Epoch epoch;          // of the latest view installed here
  bool active = false;  // the state is in sync: may vote
  // It has promised or accepted something of the next epoch and knows of no decision: whoever began
  // that may be gone, and somebody must end it.
  bool undecided = false;
  bool hears_coordinator = false;  // the one of the control plane, not a member that acts for it
  absl::Duration loop_lateness;
  MemberStats stats;
  std::vector<OpReport> ops;  // bounded by the ops window
  bool frozen = false;        // an unplanned view is being agreed: nothing of this epoch goes on
  CallReport calls;
  std::vector<LinkReport> links;
  std::optional<ClockReport> clock;  // nothing before this coordinator's was heard
  absl::Duration step_interval;      // how long steps and ops take here (step_times.h);
  absl::Duration op_length;          // zero: not known yet
};
struct Promise {
  Epoch epoch;
  Ballot ballot;         // that was asked for
  bool granted = false;  // else `promised` is the higher one
  Ballot promised;
  StepId started;            // the last step that was started here
  bool any_started = false;  // else `started` means nothing
  // An unplanned view was promised: nothing of this epoch is delivered here until the next one is
  // decided.
  bool frozen = false;
  std::vector<OpStatus> status;  // unplanned: every op that is not stable
  std::optional<Ballot> accepted_ballot;
  std::optional<Proposal> accepted;
};
struct Accepted {
  Epoch epoch;
  Ballot ballot;
  bool granted = false;
  Ballot promised;  // refused and equal to `ballot`: the planned view would begin at a step that
                    // runs already
  StepId started;
  bool any_started = false;  // else `started` means nothing
};
// The process ends or has left the view for good; not an error.
struct Leave {
  std::string reason;
};
// A peer is silent although the plan says it should be heard.
struct Suspect {
  NodeId node;
  Incarnation incarnation;
  absl::Duration silent_for;
};
using MemberMessage = std::variant<Register, Beat, Promise, Accepted, Leave, Suspect>;

// ---- Coordinator to member. ----

// What views are proposed by; the members follow it, too, while the coordinator is away (deputy.h).
struct ViewPolicy {
  absl::Duration beat_interval = absl::Milliseconds(100);
  // Unplanned silence of a control stream before a member is proposed for removal; never below 150
  // ms or 3 beats.
  absl::Duration suspect_after = absl::Milliseconds(800);
  // A coordinator that says nothing for so long is away. It speaks to every member three times in
  // this time.
  absl::Duration lease = absl::Milliseconds(1500);
  // A node that goes dark is taken out at least this long before (DepartureTime in coordinator.h:
  // earlier where steps are long), and in again only after the interval's end.
  absl::Duration dark_lead = absl::Seconds(3);
  // A planned view begins this many steps after the furthest member; doubled when a member was
  // already further.
  uint64_t steps_ahead = 2;
  uint32_t min_members = 1;  // no view has fewer
};
struct Welcome {
  Incarnation coordinator;
  ViewPolicy policy;
  std::string plan_text;  // the contact plan as protobuf text; empty where there is none
  std::optional<absl::Time> clock = std::nullopt;  // of who sends this, then
};
struct Prepare {
  Epoch epoch;
  Ballot ballot;
  bool planned = true;
};
struct Accept {
  Ballot ballot;  // may be higher than proposal.view.ballot when an earlier value is proposed again
  Proposal proposal;
};
struct Install {
  Proposal proposal;
};
// This incarnation is out; come back with another one, or not at all.
struct Removed {
  bool may_rejoin = true;
  std::string reason;
};
// Why no next view can be made at present: "view 7 needs 3 of 5 votes; missing: node 2 (lost 14s
// ago)". Empty: nothing is missing. Said again and again, so that members know that the coordinator
// is there.
struct Waiting {
  std::string reason;
  std::optional<absl::Time> clock = std::nullopt;  // of who sends this, then
  // How far calendar time is ahead of the receiver's clock; nothing while that is not known.
  std::optional<absl::Duration> calendar_ahead = std::nullopt;
};
using CoordinatorMessage = std::variant<Welcome, Prepare, Accept, Install, Removed, Waiting>;

}  // namespace perigee
