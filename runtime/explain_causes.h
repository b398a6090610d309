// What may keep one op from its end, found at one member or on one link. Private to explain.cc.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "runtime/explain.h"

namespace perigee::explain {

// Whether what the member says is of now. Old words would blame it for what it has done since.
bool IsHeard(const MemberAccount& account, const Situation& situation,
             const ExplainOptions& options);

// One op as all members that are heard tell of it.
struct OpCase {
  OpId op;
  Epoch epoch;                                // the latest in which it runs
  std::map<NodeId, const OpReport*> reports;  // of those that have not finished it
  std::map<NodeId, absl::Duration> stalled;   // of the same, as of now
};

// Ordered from the strongest kind of reason to the weakest.
struct Cause {
  enum class Kind : uint8_t {
    kDark,         // by plan
    kSilent,       // nobody hears it
    kNotCalled,    // its program is elsewhere
    kAgreement,    // frozen until the next view is decided
    kAwaitsInput,  // its program has to bring its input again
    kLink,         // two members that are there do not reach each other
    kUnknown,      // its peers hear it, the coordinator does not
    kLateLoop,     // its own loop is late
    kEarlierOp,    // it waits itself, in an op before: the reason is there
  };
  Kind kind = Kind::kSilent;
  NodeId node;        // the one that is waited for
  std::string about;  // continues "... for node 2": ", from which nothing was heard for 2.3s"
};

class Causes {
 public:
  Causes(const Situation& situation, const ExplainOptions& options);

  // At those who wait and those who are waited for, and on the links between them.
  std::vector<Cause> Of(const OpCase& op) const;

 private:
  struct Known {
    const MemberAccount* account = nullptr;
    std::map<NodeId, const LinkReport*> links;
  };

  // Those who tell of it, whom they wait for, and the members of its view that have not called it.
  std::vector<NodeId> Participants(const OpCase& op) const;
  std::optional<Cause> AtMember(const OpCase& op, NodeId node) const;
  std::optional<Cause> NotCalled(const OpCase& op, NodeId node) const;
  std::optional<Cause> OnLink(NodeId waiting, NodeId waited_for) const;
  std::string Cut(NodeId from, NodeId to) const;

  const Known* Find(NodeId node) const;
  bool IsHeard(NodeId node) const;
  // How long `node` has heard nothing from `peer`, and has waited for its acknowledgement.
  absl::Duration HeardAgo(NodeId node, NodeId peer) const;
  absl::Duration Unanswered(NodeId node, NodeId peer) const;
  absl::Duration HeardByPeers(NodeId node, std::vector<NodeId>* peers) const;
  std::string SilenceOf(NodeId node) const;
  std::string UnheardBy(NodeId node) const;

  const Situation& situation_;
  const ExplainOptions& options_;
  std::map<NodeId, Known> members_;
};

}  // namespace perigee::explain
