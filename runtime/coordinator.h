// The coordinator: keeps track of who is there, decides what the next view should be (ComputeView, pure), and
// proposes it (Proposer). A core without I/O: streams, timers and files belong to the driver (control/, sim/).
//
//   coordinator.OnMessage(now, stream, message);   coordinator.OnStreamClosed(now, stream);
//   while (auto out = coordinator.NextMessage()) ...   // send, or close the stream
//   coordinator.OnTimeout(now);  coordinator.NextTimeout();
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "runtime/control_message.h"
#include "transport/base/ids.h"
#include "transport/base/rng.h"
#include "transport/contact_plan.h"
#include "transport/view.h"

namespace perigee {

using StreamId = uint64_t;  // chosen by the driver, never reused

enum class MemberState : uint8_t { kJoining, kSyncing, kActive, kDraining, kDark, kDrained, kLost };
const char* Name(MemberState state);

struct MemberRecord {
  NodeId node;
  Incarnation incarnation;
  std::string address;
  MemberState state = MemberState::kJoining;
  std::string reason;       // why it is in that state
  absl::Time since;         // of the state
  std::optional<StreamId> stream;
  absl::Time last_heard = absl::InfinitePast();
  uint32_t start_members = 0;
  bool drain_requested = false;
  absl::Time drain_at = absl::InfinitePast();
  Beat beat;
};

struct CoordinatorOptions {
  NodeId self = NodeId(0xffffffff);  // the proposer's id in ballots; has no vote
  std::string version;
  absl::Duration beat_interval = absl::Milliseconds(100);
  // Unplanned silence of a control stream before a member is proposed for removal; never below 150 ms or 3 beats.
  absl::Duration suspect_after = absl::Milliseconds(800);
  // A closed stream (the process died, or its connection did) is silence that is known at once; a member may
  // reconnect within this time.
  absl::Duration reconnect_grace = absl::Milliseconds(200);
  // A planned view begins this many steps after the furthest member; doubled when a member was already further.
  uint64_t steps_ahead = 2;
  // A node that goes dark is taken out this long before, and in again only after the interval's end.
  absl::Duration dark_lead = absl::Seconds(3);
  absl::Duration proposal_timeout = absl::Seconds(1);  // then a new ballot
  uint32_t min_members = 1;
  size_t members_max = 10000;
  size_t events_max = 10000;  // kept for `perigeectl events`
};

// What the next view should be; the Proposer makes it happen.
struct ViewChange {
  bool found = false;    // view 1
  bool planned = true;
  std::vector<Member> members;
  std::string reason;
};
struct ViewDecision {
  std::optional<ViewChange> change;
  std::string reason;  // why, or why not: names who is missing and when the plan brings them back
};

struct ClusterState {
  std::map<NodeId, MemberRecord> members;
  std::optional<View> view;
  ContactPlan plan;
};

// Pure. In order: found, remove the lost (unplanned; also drops joiners that are not active yet), take out who
// drains or goes dark (planned), admit joiners without votes, give votes to who became active.
ViewDecision ComputeView(absl::Time now, const ClusterState& state,
                         const CoordinatorOptions& options);

struct CoordinatorEvent {
  uint64_t number = 0;
  absl::Time time;
  std::string kind;  // "registered", "view", "lost", "draining", "dark", "left", "refused", ...
  std::optional<NodeId> node;
  std::string text;
};

struct ViewRecord {
  Proposal proposal;
  absl::Time decided;
  absl::Duration took;  // from the first ballot of the change to the decision
};

class Coordinator {
 public:
  Coordinator(const CoordinatorOptions& options, ContactPlan plan, std::string plan_text, Rng rng);

  void OnMessage(absl::Time now, StreamId stream, const MemberMessage& message);
  void OnStreamClosed(absl::Time now, StreamId stream);
  void OnTimeout(absl::Time now);
  absl::Time NextTimeout() const;

  struct Outgoing {
    StreamId stream = 0;
    CoordinatorMessage message;
    bool close_after = false;
  };
  std::optional<Outgoing> NextMessage();

  // Operators. NotFound for a node that was never seen, FailedPrecondition with what to do instead.
  absl::Status Drain(absl::Time now, NodeId node, absl::Time at, const std::string& who);
  absl::Status Undrain(absl::Time now, NodeId node, const std::string& who);

  // Reading.
  const ClusterState& state() const { return state_; }
  const std::deque<ViewRecord>& views() const { return views_; }
  const std::deque<CoordinatorEvent>& events() const { return events_; }
  const std::string& waiting_reason() const { return waiting_reason_; }  // of the last ComputeView

 private:
  CoordinatorOptions options_;
  ClusterState state_;
  std::deque<ViewRecord> views_;
  std::deque<CoordinatorEvent> events_;
  std::string waiting_reason_;
  // ... (proposer, outgoing messages, timers)
};

}  // namespace perigee
