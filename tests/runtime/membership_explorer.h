// Every state that a small world of members and one or two proposers can reach, within stated
// bounds: each message may be lost, repeated and overtaken, members and the coordinator crash at
// any instant and come back as another incarnation, a member may act for the coordinator (deputy.h)
// while that one goes on, anybody may be suspected wrongly, and a toy engine starts, computes and
// delivers ops meanwhile.
//
//   Explorer explorer({.step_count = 2, .unplanned = true, .ballots = 3, .crashes = 1});
//   ExplorerResult result = explorer.Run();      // result.violation is empty, or a sentence and
//   the way to it
//
// The network is the set of all messages that were ever sent: delivering one does not take it out.
// So a message is lost in the worlds where it is never delivered, and repeated where it is
// delivered again. Membership and Proposer are the product's own; equal values are stored once
// (`Interned`) and what a message does to them is computed once, so a world is a few dozen numbers.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "runtime/membership.h"
#include "runtime/proposer.h"
#include "transport/base/rng.h"

namespace perigee {

constexpr NodeId kCoordinator(99);
constexpr NodeId kDeputy(98);
constexpr int kNodesMax = 4;
constexpr int kActingMax = 2;  // the coordinator, and a deputy
constexpr int kStepsMax = 3;
constexpr int kEpochsMax = 16;
constexpr int kNoBound = 255;

// What is broken on purpose, to see that the explorer finds it.
enum class PlantedBug : uint8_t {
  kNone,
  kVoteCountedTwice,      // the quorum is one too small
  kAcceptedValueIgnored,  // a higher ballot does not propose the value that was accepted before
  kFrozenDelivers,        // a frozen member goes on delivering
  kBarrierIgnored,        // a step behind the barrier is started
  kAmnesia,               // an acceptor comes back without memory, as the same incarnation
  kFrozenForEver,         // a coordinator does not end what was begun: neither when it takes over
  kUndecidedIgnored,      // nor when a member says that something is undecided
  kEndlessPatience,       // nobody ever says that patience is over
  kDeadVoteCounted,       // a new incarnation answers, and its votes count for the dead one
  kRemovedFrameCounted,   // an op that is to be repeated goes on with the frames of the removed
};

struct ExplorerOptions {
  int node_count = 3;
  int step_count = 2;  // ops to run, one per step
  // What the coordinator may propose, for no reason at all.
  bool unplanned = false;
  bool planned = false;
  uint32_t removable = 15;  // the nodes that it may want to take out, one bit each
  int steps_ahead = 0;
  // Bounds.
  int ballots = 3;  // begun by choice or by impatience
  int crashes = 0;  // of members
  int rejoins = 0;  // crashed members that come back as another incarnation
  int coordinator_restarts = 0;
  int deputies = 0;  // how often a member begins to act for the coordinator
  // How often an answer makes a proposer begin a higher ballot: two of them could overtake each
  // other for ever. At the bound such an answer is lost.
  int overtakings = kNoBound;
  uint64_t states_max = 50'000'000;  // a run that reaches it did not explore everything
  // One state in so many is continued without further faults, and must come to rest.
  uint64_t continue_one_in = 64;
  PlantedBug bug = PlantedBug::kNone;
};

struct ExplorerResult {
  uint64_t states = 0;
  uint64_t transitions = 0;
  uint64_t continued = 0;
  uint64_t decisions = 0;  // transitions in which a view was decided
  bool complete = false;   // everything within the bounds was visited
  std::string violation;
};

// Values by number; equal values (by their key) have equal numbers.
template <typename Value>
class Interned {
 public:
  uint32_t Id(const std::string& key, const Value& value) {
    auto [it, added] = ids_.try_emplace(key, static_cast<uint32_t>(values_.size()));
    if (added) values_.push_back(value);
    return it->second;
  }
  const Value& operator[](uint32_t id) const { return values_[id]; }

 private:
  std::map<std::string, uint32_t> ids_;
  std::deque<Value> values_;  // references stay good
};

class Explorer {
 public:
  explicit Explorer(const ExplorerOptions& options);
  // Everything within the bounds.
  ExplorerResult Run();
  // Random ways through worlds that are too large for that; every one is continued fairly at its
  // end.
  ExplorerResult Walk(uint64_t seed, int walks, int actions);

 private:
  struct ToyOp {
    enum Phase : uint8_t { kNone, kRunning, kHeld };  // a held result is delivered at once
    uint8_t phase = kNone;
    uint8_t epoch = 0;
    bool finishing = false;  // waits for somebody else's result, by decision
    bool stable = false;     // is known to be
  };
  struct Slot {
    bool alive = true;
    bool out = false;
    uint8_t incarnation = 1;
    uint8_t next_step = 0;
    uint8_t any_started = 0;
    uint8_t floor = 0;  // a newcomer has the state as of this step
    uint32_t membership = 0;
    std::array<ToyOp, kStepsMax> ops;
  };
  // The coordinator, or who acts for it.
  struct Acting {
    bool here = false;
    bool took_over = false;
    uint8_t life = 0;
    uint32_t proposer = 0;
    uint32_t view = 0;  // the proposal that it knows as the latest decided one
  };
  struct World {
    std::array<Slot, kNodesMax> slots;
    std::array<Acting, kActingMax> acting;
    // Left.
    uint8_t ballots = 0, crashes = 0, rejoins = 0, restarts = 0, deputies = 0, overtakings = 0;
    // By step and epoch, the nodes that gave their contribution.
    std::array<std::array<uint8_t, kEpochsMax>, kStepsMax> given{};
    // Ghosts: what was decided, and what each life of a node delivered (the epoch, 0 for nothing).
    std::array<uint32_t, kEpochsMax> decided{};
    std::array<std::array<std::array<uint8_t, kStepsMax>, 2>, kNodesMax> delivered{};
    std::vector<uint32_t> messages;  // sorted
  };
  struct Message {
    NodeId node;
    Incarnation incarnation;
    bool to_member = true;
    CoordinatorMessage down;
    MemberMessage up;
  };
  // What a message does to a member, or to the proposer; the same wherever it happens.
  struct MemberStep {
    uint32_t membership = 0;
    uint32_t reply = 0;
    Membership::InstallResult result = Membership::InstallResult::kIgnored;
    bool status_changed = false;
  };
  struct ProposerStep {
    uint32_t proposer = 0;
    std::vector<uint32_t> posts;
    uint32_t decision = 0;
    bool probe_ended = false;
    Ballot ballot;
  };
  // One thing that happens; Describe says it in words.
  struct Action {
    enum Kind : uint8_t {
      kDeliver,
      kStart,
      kHold,
      kCrash,
      kRejoin,
      kPropose,
      kPatience,
      kTakeOver,
      kLearn,
      kHearUndecided
    };
    Kind kind = kDeliver;
    uint32_t what = 0;  // the message, the number of the goal, the nodes that are heard
    int node = 0;
    int step = 0;
    int who = 0;  // 0: the coordinator, 1: the deputy
  };

  World First();
  static Incarnation IncarnationOf(int node, int life);
  void SetMembership(Slot& slot, const Membership& membership);
  LocalProgress Progress(const Slot& slot) const;
  uint32_t ProposalId(const Proposal& proposal);
  uint32_t MessageId(const Message& message);
  bool Post(World& world, uint32_t message);
  // Sends what the proposer has to say, and adopts what it decided.
  ProposerStep StepOf(Proposer proposer);
  bool Take(World& world, int who, const ProposerStep& step);
  void SendInstalls(World& world, const Proposal& proposal, const View& before);
  // Whether the message can reach the process that runs on its node now.
  bool Reaches(const Message& message, const World& world) const;
  const Ballot& PromisedBy(uint32_t membership);
  bool IsSpent(const World& world, const Message& message);
  void Prune(World& world);

  // Everything that can happen next (membership_explorer_search.cc), and what it does: false if
  // nothing changes.
  std::vector<Action> Actions(const World& world) const;
  void AppendActions(const World& world, int who, std::vector<Action>* actions) const;
  bool Act(World& world, const Action& action);
  std::string Describe(const Action& action) const;
  bool Deliver(World& world, uint32_t id);
  bool DeliverToMember(World& world, uint32_t id);
  MemberStep StepOf(Membership membership, const Message& message, const LocalProgress& progress);
  void Apply(World& world, int node, Membership::InstallResult result, const Proposal& proposal,
             bool first_view);
  bool Start(World& world, int node);
  bool Hold(World& world, int node, int step);
  bool Rejoin(World& world, int node);
  // Leavers register too, with the view before; a coordinator tells them of the next one.
  const View& ViewBefore(const World& world, const View& view) const;
  bool TakeOver(World& world, int who, uint32_t heard);
  bool Learn(World& world, int who, int node);
  bool HearUndecided(World& world, int who, int node);
  std::vector<ProposalGoal> Goals(const World& world, int who) const;
  void Propose(World& world, int who, const ProposalGoal& goal);
  const Proposer& ProposerOf(const World& world, int who) const {
    return proposers_[world.acting[who].proposer];
  }
  const Proposal& LatestOf(const World& world, int who) const {
    return proposals_[world.acting[who].view];
  }

  // Invariants; the first violation is kept.
  void CheckDecision(const World& world, int who, const Proposal& proposal, const Ballot& ballot);
  void CheckDeliveries(const World& world);
  // Goes on fairly and without further faults until everything rests. Of those who act, `who` goes
  // on and the other gives way.
  void CheckContinuation(World world, int who, bool break_streams);
  void CheckContinuations(const World& world);
  bool ContinueOnce(World& world, int who);
  void BreakStreams(World& world, int who);
  bool AtRest(const World& world, int who);
  bool Here(const World& world, int who, const Member& member) const;
  bool LeftTooEarly(const World& world, int who, int node) const;
  std::optional<ProposalGoal> FairGoal(World& world, int who);
  void Violation(const std::string& text);

  static std::array<uint64_t, 2> Key(const World& world);

  ExplorerOptions options_;
  ExplorerResult result_;
  Interned<Membership> memberships_;
  Interned<Proposer> proposers_;
  Interned<Proposal> proposals_;
  Interned<Message> messages_;
  absl::flat_hash_map<std::tuple<uint32_t, uint32_t, std::string>, MemberStep> member_steps_;
  absl::flat_hash_map<std::pair<uint32_t, uint32_t>, ProposerStep> proposer_steps_;
  absl::flat_hash_map<uint32_t, Ballot> promised_;  // by membership
  absl::flat_hash_set<std::array<uint64_t, 2>> visited_;
};

}  // namespace perigee
