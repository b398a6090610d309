// When so many members go dark at one time that the rest cannot go on, the whole job sleeps, and
// wakes up as itself.
//
// A hibernating view is a planned one in which every member is followed by its own next life: the
// same node, under an incarnation that everybody can compute (NextLife). So all that is known of
// planned views holds here: it is accepted before anybody leaves, the lives before finish what they
// take part in and go, and nothing that a session or an acceptor knew outlives the sleep. What a
// member keeps on disk is a Resumption and its training state. It throws the Resumption away before
// its next life says a word, so that no life is lived twice; that life has promised nothing before.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "runtime/control_message.h"
#include "transport/base/ids.h"
#include "transport/contact_plan.h"
#include "transport/view.h"

namespace perigee {

// The incarnation that follows `before` in the hibernating view of `epoch`.
Incarnation NextLife(const Incarnation& before, Epoch epoch);
// All of them, with the same votes and addresses.
std::vector<Member> NextLives(std::vector<Member> members, Epoch epoch);

// Whether the view has this life, or, where it hibernates, the one that follows it: until a member
// sleeps, the life before answers for the next one (membership.h).
bool HasLife(const View& view, NodeId node, const Incarnation& incarnation);
// Only the second.
bool HasNextLife(const View& view, NodeId node, const Incarnation& incarnation);

// What the next life of a member begins with: the policy and the plan of the coordinator, which may
// be away when it wakes up, and the view that it is in.
struct Resumption {
  Welcome welcome;
  Proposal proposal;
};

// When the next life of `node` may begin: when the job wakes, or when the node is lit after that.
absl::Time WakesAt(const Resumption& resumption, NodeId node, const ContactPlan& plan);

// A time in which too few are lit. Half-open: [begins, ends).
struct Darkness {
  absl::Time begins;
  absl::Time ends;  // InfiniteFuture where the plan does not say
};
// The first darkness that begins in [from, until]: fewer than `needed` of these members are lit. It
// ends when `needed` of them and more than half are.
std::optional<Darkness> NextDarkness(const std::vector<Member>& members, const ContactPlan& plan,
                                     absl::Time from, absl::Time until, size_t needed);

}  // namespace perigee
