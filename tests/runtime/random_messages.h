// Random control messages, by the seed of `rng`: what they say makes no sense together.
#pragma once

#include <cstdint>

#include "runtime/control_message.h"
#include "transport/base/ids.h"
#include "transport/base/rng.h"

namespace perigee {

inline Ballot RandomBallot(Rng& rng) {
  return {.round = rng.Next(),
          .proposer = NodeId(static_cast<uint32_t>(rng.Next())),
          .incarnation = rng.NextIncarnation()};
}

inline Proposal RandomProposal(Rng& rng) {
  Proposal proposal;
  if (rng.Bernoulli(0.3)) {
    proposal.wakes = absl::FromUnixNanos(static_cast<int64_t>(rng.Below(uint64_t{1} << 61)));
  }
  View& view = proposal.view;
  view.job = rng.NextIncarnation();
  view.epoch = Epoch(rng.Next());
  view.ballot = RandomBallot(rng);
  view.previous_digest = rng.Next();
  for (uint32_t node = 0; node < 1 + rng.Below(5); ++node) {
    view.members.push_back({.node = NodeId(node * 3),
                            .incarnation = rng.NextIncarnation(),
                            .votes = static_cast<uint32_t>(rng.Below(3)),
                            .address = "[::1]:70"});
  }
  view.tie_breaker = view.members.back().node;
  view.first_step = StepId(rng.Next());
  proposal.planned = rng.Bernoulli(0.5);
  proposal.reason = "node 4: no beat for 620ms";
  for (uint64_t i = rng.Below(4); i > 0; --i) {
    const bool finish = rng.Bernoulli(0.5);
    OpDecision decision{.op = OpId(rng.Next())};
    decision.kind = finish ? OpDecision::Kind::kFinish : OpDecision::Kind::kAbort;
    decision.holder = NodeId(2);
    if (finish) decision.missing = {NodeId(1), NodeId(5)};
    proposal.decisions.push_back(decision);
  }
  return proposal;
}

inline Register RandomRegister(Rng& rng) {
  Register out{.node = NodeId(static_cast<uint32_t>(rng.Below(100))),
               .incarnation = rng.NextIncarnation(),
               .address = "10.0.0.1:7100",
               .version = "0.1.0",
               .start_members = 3};
  if (rng.Bernoulli(0.5)) out.installed = RandomProposal(rng);
  return out;
}

inline ClockReport RandomClockReport(Rng& rng) {
  return {.clock = absl::FromUnixNanos(static_cast<int64_t>(rng.Next())),
          .heard = absl::FromUnixNanos(static_cast<int64_t>(rng.Next())),
          .heard_for = absl::Nanoseconds(static_cast<int64_t>(rng.Next()))};
}

inline Promise RandomPromise(Rng& rng) {
  Promise out{.epoch = Epoch(rng.Next()),
              .ballot = RandomBallot(rng),
              .granted = rng.Bernoulli(0.5),
              .promised = RandomBallot(rng),
              .started = StepId(rng.Next()),
              .any_started = rng.Bernoulli(0.5),
              .frozen = rng.Bernoulli(0.5)};
  out.status.push_back({.op = OpId(rng.Next()), .epoch = Epoch(7), .holds_result = true});
  if (rng.Bernoulli(0.5)) {
    out.accepted_ballot = RandomBallot(rng);
    out.accepted = RandomProposal(rng);
  }
  return out;
}

}  // namespace perigee
