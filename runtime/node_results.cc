// What an unplanned view decides about ops that some members have finished and others have not: the
// result goes from a holder, as it is, to those who lack it.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/node.h"
#include "transport/base/status.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace perigee {

void Node::FollowDecisions(absl::Time now, const Proposal& proposal,
                           const std::vector<View>& before) {
  std::map<OpId, Finished> elsewhere;
  for (const OpDecision& decision : proposal.decisions) {
    if (decision.kind != OpDecision::Kind::kFinish) continue;
    const OpId id = decision.op;
    auto it = ops_.find(id);
    if (it == ops_.end()) {
      // A broadcast can be over at others before it is called here.
      if (id <= last_started_ || id <= done_floor_) continue;
      elsewhere[id] = {.holder = decision.holder, .summed_in = SummedIn(id, before)};
      continue;
    }
    RunningOp& running = it->second;
    const bool holds = running.state == OpState::kDelivered || running.holder != nullptr ||
                       (running.op != nullptr && running.op->finished() && !running.root_lost);
    if (!holds) {
      if (running.summed_in == Epoch()) running.summed_in = SummedIn(id, before);
      PassResult(now, id, proposal.view, decision.holder, {options_.self});
    } else if (decision.holder == options_.self) {
      PassResult(now, id, proposal.view, options_.self, decision.missing);
    }
  }
  finished_elsewhere_ = std::move(elsewhere);
}

// The view in which an op ran, of those that were in use before; an earlier decision knows better.
Epoch Node::SummedIn(OpId id, const std::vector<View>& before) const {
  auto known = finished_elsewhere_.find(id);
  if (known != finished_elsewhere_.end()) return known->second.summed_in;
  Epoch epoch;
  for (const View& view : before) {
    if (epoch == Epoch() || view.first_step <= id.step()) epoch = view.epoch;
  }
  return epoch;
}

// Both ends make the same transfers of it, whoever else receives.
void Node::PassResult(absl::Time now, OpId id, const View& view, NodeId holder,
                      const std::vector<NodeId>& receivers) {
  std::vector<Rank> ranks;
  for (NodeId node : receivers) {
    if (const std::optional<Rank> rank = view.RankOf(node)) ranks.push_back(*rank);
  }
  if (ranks.empty()) return;
  RunningOp& running = ops_.at(id);
  const CollectiveRequest& request = running.request;
  OpInput input{.dtype = request.input.dtype,
                .data = request.input,
                .call_digest = XXH3_64bits(running.call_text.data(), running.call_text.size()),
                .done_through = OpId()};
  if (holder != options_.self) {
    Retire(running);
    running.state = OpState::kRunning;
  } else {
    if (running.holder == nullptr) {
      running.holder = std::move(running.op);
      running.holder_schedule = std::move(running.schedule);
    }
    Retire(running);
    if (running.state == OpState::kWaiting) running.state = OpState::kRunning;
    input.data.data = running.holder->result().data();
    input.contributions = running.holder->contributions();
    input.flags = running.holder->flags();
  }
  running.epoch = view.epoch;
  running.progressed = now;
  running.tells = OpId();
  running.root_lost = false;
  running.sends_cancelled = false;
  running.nodes.clear();
  for (const Member& member : view.members) running.nodes.push_back(member.node);
  const ScheduleShape shape{.rank_count = static_cast<uint32_t>(view.size()),
                            .element_count = request.input.count,
                            .chunk_elements = std::max<size_t>(
                                1, options_.chunk_bytes_max / SizeOf(request.input.dtype))};
  running.schedule = std::make_unique<Schedule>(StarBroadcast(shape, *view.RankOf(holder), ranks));
  running.op = std::make_unique<CollectiveOp>(OpContext{.op = id,
                                                        .epoch = view.epoch,
                                                        .self = *view.RankOf(options_.self),
                                                        .nodes = running.nodes},
                                              *running.schedule, input);
  PumpOp(now, id);
}

}  // namespace perigee
