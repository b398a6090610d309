#include "collectives/schedule.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "collectives/contribution_set.h"
#include "collectives/frame.h"
#include "collectives/step_graph.h"

namespace perigee {
namespace {

absl::string_view PhaseName(Phase phase) {
  return phase == Phase::kReduce ? "reduce" : "broadcast";
}

std::string StepText(const Step& step) {
  switch (step.kind) {
    case Step::Kind::kSend:
      return absl::StrCat("send ", PhaseName(step.phase), " chunk ", step.chunk.value(), " -> ",
                          step.peer.value());
    case Step::Kind::kReceiveReduce:
      return absl::StrCat("receive-reduce chunk ", step.chunk.value(), " <- ", step.peer.value());
    case Step::Kind::kReceiveCopy:
      return absl::StrCat("receive-copy chunk ", step.chunk.value(), " <- ", step.peer.value());
    case Step::Kind::kFinalize:
      return absl::StrCat("finalize chunk ", step.chunk.value());
  }
  return "unknown step";
}

}  // namespace

size_t Schedule::MemoryBytes(Rank rank, size_t element_bytes) const {
  const std::vector<Step>& steps = by_rank[rank.value()];
  const StepGraph graph(steps, chunks.size());
  size_t bytes = steps.size() * FrameBytes(ContributionSet::kUniverseMax);
  bool has_result = false;
  for (uint32_t i = 0; i < steps.size(); ++i) {
    const Step& step = steps[i];
    const StepGraph::ChunkSteps& chunk = graph.chunk(step.chunk);
    const size_t chunk_bytes = chunks[step.chunk.value()].count * element_bytes;
    has_result |= chunk.final_maker == i;
    const bool passes = step.kind == Step::Kind::kSend && step.phase == Phase::kReduce;
    const bool apart = step.kind == Step::Kind::kReceiveReduce && chunk.first_receive_reduce != i;
    if (passes || apart) bytes += chunk_bytes;
  }
  return bytes + (has_result ? element_count * element_bytes : 0);
}

std::string ToText(const Schedule& schedule) {
  std::string text =
      absl::StrCat(schedule.kind == CollectiveKind::kAllReduce ? "allreduce" : "broadcast", " ",
                   schedule.algorithm, ": ", schedule.rank_count, " ranks, ",
                   schedule.element_count, " elements, ", schedule.chunks.size(), " chunks\n");
  for (size_t i = 0; i < schedule.chunks.size(); ++i) {
    absl::StrAppend(&text, "chunk ", i, ": ", schedule.chunks[i].count, " elements at ",
                    schedule.chunks[i].offset, "\n");
  }
  for (size_t rank = 0; rank < schedule.by_rank.size(); ++rank) {
    const std::vector<Step>& steps = schedule.by_rank[rank];
    for (size_t i = 0; i < steps.size(); ++i) {
      absl::StrAppend(&text, "rank ", rank, ": ", i, " ", StepText(steps[i]));
      if (!steps[i].after.empty()) {
        absl::StrAppend(&text, " after ", absl::StrJoin(steps[i].after, ","));
      }
      text += '\n';
    }
  }
  return text;
}

}  // namespace perigee
