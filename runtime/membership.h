// The member's half of the agreement: an acceptor of single-decree Paxos per epoch, in memory (a crashed
// acceptor never returns as the same incarnation). A core without I/O.
//
//   membership.OnPrepare(prepare, local) -> Promise to send back
//   membership.OnAccept(accept, local)   -> Accepted to send back
//   membership.OnInstall(install)        -> what changed for the engine
//
// Between the promise for an unplanned view and its decision the member is frozen(): it delivers nothing, makes
// and forwards no final, and gives the same status to every ballot (membership.md, "Flush").
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "runtime/control_message.h"
#include "transport/base/ids.h"
#include "transport/view.h"

namespace perigee {

// What the engine says of itself when it is asked.
struct LocalProgress {
  StepId started;  // the last step of which an op was started here
  bool any_started = false;
  std::vector<OpStatus> unstable;  // every op that is not known to be stable, in order
};

class Membership {
 public:
  enum class InstallResult : uint8_t {
    kIgnored,    // old, or of another job
    kPlanned,    // the next view is known; it begins at its first step
    kUnplanned,  // begins now: apply the decisions
    kOutPlanned,  // this incarnation is not in the planned view: leave when the ops before first_step are stable
    kOutNow,      // removed: everything of this job ends here
  };

  Membership(NodeId self, const Incarnation& incarnation);

  Promise OnPrepare(const Prepare& prepare, const LocalProgress& local);
  Accepted OnAccept(const Accept& accept, const LocalProgress& local);
  InstallResult OnInstall(const Install& install);

  // The latest decided view and all of its proposal; nothing before the first.
  const std::optional<Proposal>& installed() const { return installed_; }
  bool frozen() const { return frozen_; }
  // Ops of this step and later wait: a planned view was accepted and may begin there, but is not decided yet.
  std::optional<StepId> barrier() const;
  // The view in which an op of `step` runs: the latest one that begins at or before it. Null before view 1.
  const View* ViewForStep(StepId step) const;
  // Views older than the one for `step` are not needed any more.
  void ForgetBefore(StepId step);

  // For the explorer and the simulator: equal states, equal bytes.
  std::string Fingerprint() const;

 private:
  NodeId self_;
  Incarnation incarnation_;
  std::optional<Proposal> installed_;
  std::vector<View> views_;  // decided and still in use, by epoch
  bool frozen_ = false;
  std::vector<OpStatus> frozen_status_;
  Ballot promised_;  // for epoch installed + 1
  std::optional<Ballot> accepted_ballot_;
  std::optional<Proposal> accepted_;
};

}  // namespace perigee
