// Validate: first what can be read off the lists (ranges, who makes and uses what, which send meets
// which receive), then a run on contributor sets.

#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "collectives/contribution_set.h"
#include "collectives/schedule.h"
#include "collectives/step_graph.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

using Kind = Step::Kind;

absl::Status StepError(size_t rank, size_t step, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("rank ", rank, " step ", step, ": ", what));
}

absl::Status ValidateChunks(const Schedule& schedule) {
  std::vector<ChunkRange> chunks = schedule.chunks;
  std::sort(chunks.begin(), chunks.end(), [](const ChunkRange& a, const ChunkRange& b) {
    return a.offset != b.offset ? a.offset < b.offset : a.count < b.count;
  });
  size_t end = 0;
  for (const ChunkRange& chunk : chunks) {
    if (chunk.offset != end) {
      return absl::InvalidArgumentError(
          absl::StrCat("chunks do not tile the vector: one begins at ", chunk.offset,
                       ", the one before ends at ", end));
    }
    end += chunk.count;
  }
  if (chunks.empty() || end != schedule.element_count) {
    return absl::InvalidArgumentError(
        absl::StrCat("chunks hold ", end, " of ", schedule.element_count, " elements"));
  }
  return absl::OkStatus();
}

absl::Status ValidateStepRanges(const Schedule& schedule, size_t rank) {
  const std::vector<Step>& steps = schedule.by_rank[rank];
  for (size_t i = 0; i < steps.size(); ++i) {
    const Step& step = steps[i];
    if (step.chunk.value() >= schedule.chunks.size()) {
      return StepError(rank, i, absl::StrCat("no chunk ", step.chunk.value()));
    }
    if (step.kind != Kind::kFinalize &&
        (step.peer.value() >= schedule.rank_count || step.peer.value() == rank)) {
      return StepError(rank, i, absl::StrCat("no such peer: ", step.peer.value()));
    }
    for (uint32_t before : step.after) {
      if (before >= steps.size()) return StepError(rank, i, absl::StrCat("no step ", before));
    }
    if ((step.kind == Kind::kReceiveReduce && step.phase != Phase::kReduce) ||
        (step.kind == Kind::kReceiveCopy && step.phase != Phase::kBroadcast)) {
      return StepError(rank, i, "the phase does not fit the kind");
    }
    if (schedule.kind == CollectiveKind::kBroadcast && step.phase == Phase::kReduce &&
        step.kind != Kind::kFinalize) {
      return StepError(rank, i, "a broadcast does not reduce");
    }
  }
  return absl::OkStatus();
}

bool IsAfter(const Step& step, uint32_t before) {
  return std::find(step.after.begin(), step.after.end(), before) != step.after.end();
}

// What is sent or finalized must be complete: the step lists the one that makes it in `after`.
absl::Status ValidateUses(const Schedule& schedule, size_t rank, const StepGraph& graph) {
  const std::vector<Step>& steps = schedule.by_rank[rank];
  for (uint32_t i = 0; i < steps.size(); ++i) {
    const Step& step = steps[i];
    const StepGraph::ChunkSteps& chunk = graph.chunk(step.chunk);
    const bool sends_final = step.kind == Kind::kSend && step.phase == Phase::kBroadcast;
    const bool uses_partial =
        step.kind == Kind::kFinalize || (step.kind == Kind::kSend && !sends_final);
    const bool makes_final = step.kind == Kind::kFinalize || step.kind == Kind::kReceiveCopy;
    if (makes_final && chunk.final_maker != i) {
      return StepError(rank, i, "the final of the chunk is made twice");
    }
    if (uses_partial && chunk.partial_user != i) {
      return StepError(rank, i, "the partial of the chunk is used twice");
    }
    if (uses_partial && chunk.last_receive_reduce != StepGraph::kNone &&
        !IsAfter(step, chunk.last_receive_reduce)) {
      return StepError(rank, i, "uses a partial before all of it is received");
    }
    if (step.kind == Kind::kReceiveReduce && chunk.partial_user == StepGraph::kNone) {
      return StepError(rank, i, "receives a partial that goes nowhere");
    }
    if (sends_final &&
        (chunk.final_maker == StepGraph::kNone || !IsAfter(step, chunk.final_maker))) {
      return StepError(rank, i, "sends a final before it is here");
    }
  }
  return absl::OkStatus();
}

// Executes steps of all ranks in dependency order. Depth first: a chunk travels to its end before
// the next one starts, so that few partial sets are alive.
class SymbolicRun {
 public:
  explicit SymbolicRun(const Schedule& schedule);

  absl::Status MatchTransfers() const;
  absl::Status Execute();
  absl::Status CheckComplete(const std::vector<Rank>& complete_at) const;
  const StepGraph& graph(size_t rank) const { return graphs_[rank]; }

 private:
  struct RankState {
    std::vector<uint32_t> waits_for;
    std::vector<std::unique_ptr<ContributionSet>> partials;  // by chunk; null: own input alone
    std::vector<bool> finals;                                // by chunk
    uint32_t done = 0;
  };
  struct StepOfRank {
    uint32_t rank = 0;
    uint32_t step = 0;
  };

  void Start(uint32_t rank, uint32_t step) {
    if (--ranks_[rank].waits_for[step] == 0) ready_.push_back({rank, step});
  }
  uint32_t ReceiveOf(size_t from, const Step& send) const;
  absl::Status Do(StepOfRank next);
  absl::Status Send(uint32_t rank, const Step& step);
  absl::Status Finalize(StepOfRank next, const Step& step);
  ContributionSet TakePartial(uint32_t rank, ChunkId chunk);

  const Schedule& schedule_;
  std::vector<StepGraph> graphs_;
  std::vector<RankState> ranks_;
  std::vector<StepOfRank> ready_;
  std::vector<uint32_t> roots_;                 // by chunk
  uint32_t broadcast_root_ = StepGraph::kNone;  // of all chunks
};

SymbolicRun::SymbolicRun(const Schedule& schedule)
    : schedule_(schedule),
      ranks_(schedule.rank_count),
      roots_(schedule.chunks.size(), StepGraph::kNone) {
  graphs_.reserve(schedule.rank_count);
  for (const std::vector<Step>& steps : schedule.by_rank) {
    graphs_.emplace_back(steps, schedule.chunks.size());
  }
}

// The step of the receiver that meets `send` of rank `from`, or kNone.
uint32_t SymbolicRun::ReceiveOf(size_t from, const Step& send) const {
  for (const StepGraph::Transfer& receive :
       graphs_[send.peer.value()].Receives(send.chunk, send.phase)) {
    if (receive.peer.value() == from) return receive.step;
  }
  return StepGraph::kNone;
}

absl::Status SymbolicRun::MatchTransfers() const {
  for (size_t rank = 0; rank < schedule_.rank_count; ++rank) {
    const std::vector<Step>& steps = schedule_.by_rank[rank];
    for (size_t i = 0; i < steps.size(); ++i) {
      const Step& step = steps[i];
      if (step.kind == Kind::kFinalize) continue;
      const auto& own = IsReceive(step) ? graphs_[rank].Receives(step.chunk, step.phase)
                                        : graphs_[rank].Sends(step.chunk, step.phase);
      const StepGraph& peer = graphs_[step.peer.value()];
      const auto& other = IsReceive(step) ? peer.Sends(step.chunk, step.phase)
                                          : peer.Receives(step.chunk, step.phase);
      const auto same = std::count_if(own.begin(), own.end(), [&step](const auto& transfer) {
        return transfer.peer == step.peer;
      });
      const auto met = std::count_if(other.begin(), other.end(), [rank](const auto& transfer) {
        return transfer.peer.value() == rank;
      });
      if (same != 1) return StepError(rank, i, "the same transfer twice");
      if (met != 1) {
        return StepError(rank, i,
                         absl::StrCat(met, IsReceive(step) ? " sends" : " receives", " of rank ",
                                      step.peer.value(), " meet it"));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status SymbolicRun::Execute() {
  for (uint32_t rank = 0; rank < schedule_.rank_count; ++rank) {
    const size_t step_count = schedule_.by_rank[rank].size();
    RankState& state = ranks_[rank];
    state.partials.resize(schedule_.chunks.size());
    state.finals.resize(schedule_.chunks.size());
    for (uint32_t i = 0; i < step_count; ++i) {
      state.waits_for.push_back(graphs_[rank].WaitsFor(i));
      if (state.waits_for[i] == 0) ready_.push_back({rank, i});
    }
  }
  while (!ready_.empty()) {
    const StepOfRank next = ready_.back();
    ready_.pop_back();
    PERIGEE_RETURN_IF_ERROR(Do(next));
    ++ranks_[next.rank].done;
    for (uint32_t dependent : graphs_[next.rank].Dependents(next.step)) Start(next.rank, dependent);
  }
  for (uint32_t rank = 0; rank < schedule_.rank_count; ++rank) {
    const RankState& state = ranks_[rank];
    if (state.done == state.waits_for.size()) continue;
    const auto stuck = std::find_if(state.waits_for.begin(), state.waits_for.end(),
                                    [](uint32_t waits_for) { return waits_for > 0; });
    return StepError(rank, stuck - state.waits_for.begin(), "never starts: a cycle");
  }
  return absl::OkStatus();
}

absl::Status SymbolicRun::Do(StepOfRank next) {
  const Step& step = schedule_.by_rank[next.rank][next.step];
  switch (step.kind) {
    case Kind::kSend:
      return Send(next.rank, step);
    case Kind::kFinalize:
      return Finalize(next, step);
    case Kind::kReceiveCopy:
      ranks_[next.rank].finals[step.chunk.value()] = true;
      return absl::OkStatus();
    case Kind::kReceiveReduce:
      return absl::OkStatus();
  }
  return StepError(next.rank, next.step, "unknown kind");
}

ContributionSet SymbolicRun::TakePartial(uint32_t rank, ChunkId chunk) {
  std::unique_ptr<ContributionSet> partial = std::move(ranks_[rank].partials[chunk.value()]);
  if (partial != nullptr) return std::move(*partial);
  ContributionSet own(schedule_.rank_count);
  own.Add(rank);
  return own;
}

absl::Status SymbolicRun::Send(uint32_t rank, const Step& step) {
  const uint32_t to = step.peer.value();
  const uint32_t receive = ReceiveOf(rank, step);
  if (step.phase == Phase::kReduce) {
    const ContributionSet sent = TakePartial(rank, step.chunk);
    ContributionSet merged = TakePartial(to, step.chunk);
    if (!merged.DisjointFrom(sent)) {
      return StepError(to, receive,
                       absl::StrCat("chunk ", step.chunk.value(), " merges ", ToString(merged),
                                    " with ", ToString(sent), ", which overlap"));
    }
    merged.Merge(sent);
    ranks_[to].partials[step.chunk.value()] = std::make_unique<ContributionSet>(std::move(merged));
  }
  Start(to, receive);
  return absl::OkStatus();
}

absl::Status SymbolicRun::Finalize(StepOfRank next, const Step& step) {
  const bool broadcast = schedule_.kind == CollectiveKind::kBroadcast;
  uint32_t& root = broadcast ? broadcast_root_ : roots_[step.chunk.value()];
  if (root != StepGraph::kNone && !(broadcast && root == next.rank)) {
    return StepError(next.rank, next.step, "a second root");
  }
  root = next.rank;
  const ContributionSet partial = TakePartial(next.rank, step.chunk);
  if (!broadcast && !partial.IsFull()) {
    return StepError(
        next.rank, next.step,
        absl::StrCat("the final of chunk ", step.chunk.value(), " holds only ", ToString(partial)));
  }
  ranks_[next.rank].finals[step.chunk.value()] = true;
  return absl::OkStatus();
}

absl::Status SymbolicRun::CheckComplete(const std::vector<Rank>& complete_at) const {
  std::vector<Rank> expected = complete_at;
  if (expected.empty()) {
    for (uint32_t rank = 0; rank < schedule_.rank_count; ++rank) expected.push_back(Rank(rank));
  }
  for (Rank rank : expected) {
    if (rank.value() >= schedule_.rank_count) {
      return absl::InvalidArgumentError(absl::StrCat("no rank ", rank.value()));
    }
    const std::vector<bool>& finals = ranks_[rank.value()].finals;
    const auto missing = std::find(finals.begin(), finals.end(), false);
    if (missing == finals.end()) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "rank ", rank.value(), " ends without the final of chunk ", missing - finals.begin()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Validate(const Schedule& schedule, const std::vector<Rank>& complete_at) {
  if (schedule.rank_count == 0 || schedule.by_rank.size() != schedule.rank_count) {
    return absl::InvalidArgumentError(
        absl::StrCat("steps of ", schedule.by_rank.size(), " ranks, not of ", schedule.rank_count));
  }
  PERIGEE_RETURN_IF_ERROR(ValidateChunks(schedule));
  for (size_t rank = 0; rank < schedule.rank_count; ++rank) {
    PERIGEE_RETURN_IF_ERROR(ValidateStepRanges(schedule, rank));
  }
  SymbolicRun run(schedule);
  for (size_t rank = 0; rank < schedule.rank_count; ++rank) {
    if (absl::Status status = ValidateUses(schedule, rank, run.graph(rank)); !status.ok()) {
      return status;
    }
  }
  PERIGEE_RETURN_IF_ERROR(run.MatchTransfers());
  PERIGEE_RETURN_IF_ERROR(run.Execute());
  return run.CheckComplete(complete_at);
}

}  // namespace perigee
