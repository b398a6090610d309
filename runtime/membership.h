// The member's half of the agreement: an acceptor of single-decree Paxos per epoch, in memory (a
// crashed acceptor never returns as the same incarnation). A core without I/O.
//
//   membership.OnPrepare(prepare, local) -> Promise to send back
//   membership.OnAccept(accept, local)   -> Accepted to send back
//   membership.OnInstall(install)        -> what changed for the engine
//
// A promise or an acceptance counts only for the epoch after the installed one, and only from a
// member of it. In a hibernating view (hibernation.h) a life that has not fallen asleep answers for
// its next one, and only about an unplanned view: somebody was lost before all slept. From then on
// it must not sleep before that is decided (frozen()), so that no vote is given twice.
//
// Between the promise for an unplanned view and its decision the member is frozen(): it delivers
// nothing, makes and forwards no final, and gives the same status to every ballot (membership.md,
// "Flush").
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "runtime/control_message.h"
#include "transport/base/ids.h"
#include "transport/view.h"

namespace perigee {

// Whether `nodes` hold more than half of the view's votes, or exactly half with the tie-breaker
// among them. Nodes outside the view count nothing.
bool IsQuorum(const View& view, const std::set<NodeId>& nodes);
// The same members, of whom these have no vote: what an operator counts out by force, because they
// are fenced and will never vote again.
View WithoutVotesOf(View view, const std::set<NodeId>& nodes);

// What the engine says of itself when it is asked.
struct LocalProgress {
  StepId started;  // the last step of which an op was started here
  bool any_started = false;
  std::vector<OpStatus> unstable;  // every op that is not known to be stable, in order
};

class Membership {
 public:
  enum class InstallResult : uint8_t {
    kIgnored,  // old, or of another job
    // The next view is known; it begins at its first step. An op of that step or a later one that
    // already runs here in an older view is repeated in the new one: somebody accepted the view
    // before starting that step, so no such op can have finished. It happens to a member that the
    // majority did not wait for.
    kPlanned,
    kUnplanned,   // begins now: apply the decisions
    kOutPlanned,  // this incarnation is not in the planned view: leave when the ops before
                  // first_step are stable
    kOutNow,  // removed, or a view in between is missing for good: everything of this job ends here
  };

  Membership(NodeId self, const Incarnation& incarnation);

  Promise OnPrepare(const Prepare& prepare, const LocalProgress& local);
  Accepted OnAccept(const Accept& accept, const LocalProgress& local);
  InstallResult OnInstall(const Install& install);

  // The latest decided view and all of its proposal; nothing before the first.
  const std::optional<Proposal>& installed() const { return installed_; }
  bool frozen() const { return frozen_; }
  // Something of the next epoch was promised or accepted here that somebody must end: frozen, or an
  // accepted planned view whose barrier stays.
  bool undecided() const { return frozen_ || accepted_.has_value(); }
  // Ops of this step and later wait: a planned view was accepted and may begin there, but is not
  // decided yet.
  std::optional<StepId> barrier() const;
  // The view in which an op of `step` runs: the latest one that begins at or before it. Null before
  // view 1.
  const View* ViewForStep(StepId step) const;
  // Views older than the one for `step` are not needed any more.
  void ForgetBefore(StepId step);

  // Decided views that are still in use, oldest first.
  const std::vector<View>& views() const { return views_; }

  // For the explorer and the simulator: equal states, equal bytes.
  std::string Fingerprint() const;

  // Older ones are forgotten without ForgetBefore: nothing is in flight over so many views.
  static constexpr size_t kViewsMax = 1000;

 private:
  bool MayVote(const JobId* job, Epoch epoch, bool planned) const;

  NodeId self_;
  Incarnation incarnation_;
  std::optional<Proposal> installed_;
  std::vector<View> views_;  // decided and still in use, by epoch
  // The front view runs steps below its first step too: an unplanned view closes all earlier ones.
  bool front_is_open_ = false;
  bool frozen_ = false;
  std::vector<OpStatus> frozen_status_;
  Ballot promised_;  // for epoch installed + 1
  std::optional<Ballot> accepted_ballot_;
  std::optional<Proposal> accepted_;
};

// Appends bytes that are equal exactly for equal values.
void AppendFingerprint(const Ballot& ballot, std::string* out);
void AppendFingerprint(const Proposal& proposal, std::string* out);
void AppendFingerprint(const std::vector<OpStatus>& status, std::string* out);
void AppendFingerprint(uint64_t value, std::string* out);

}  // namespace perigee
