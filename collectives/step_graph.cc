#include "collectives/step_graph.h"

#include <numeric>

namespace perigee {

StepGraph::StepGraph(const std::vector<Step>& steps, size_t chunk_count)
    : chunks_(chunk_count),
      reduce_before_(steps.size(), kNone),
      waits_for_(steps.size(), 0),
      dependents_begin_(steps.size() + 1, 0),
      transfers_begin_(chunk_count * 4 + 1, 0) {
  IndexChunks(steps);
  IndexDependents(steps);
  IndexTransfers(steps);
}

void StepGraph::IndexChunks(const std::vector<Step>& steps) {
  for (uint32_t i = 0; i < steps.size(); ++i) {
    ChunkSteps& chunk = chunks_[steps[i].chunk.value()];
    switch (steps[i].kind) {
      case Step::Kind::kSend:
        if (steps[i].phase == Phase::kReduce) chunk.partial_user = i;
        break;
      case Step::Kind::kReceiveReduce:
        if (chunk.first_receive_reduce == kNone) chunk.first_receive_reduce = i;
        reduce_before_[i] = chunk.last_receive_reduce;
        chunk.last_receive_reduce = i;
        break;
      case Step::Kind::kReceiveCopy:
        chunk.final_maker = i;
        break;
      case Step::Kind::kFinalize:
        chunk.partial_user = i;
        chunk.final_maker = i;
        break;
    }
  }
}

void StepGraph::IndexDependents(const std::vector<Step>& steps) {
  for (uint32_t i = 0; i < steps.size(); ++i) {
    for (uint32_t before : steps[i].after) ++dependents_begin_[before + 1];
    if (reduce_before_[i] != kNone) ++dependents_begin_[reduce_before_[i] + 1];
    waits_for_[i] = static_cast<uint32_t>(steps[i].after.size()) + (IsReceive(steps[i]) ? 1 : 0) +
                    (reduce_before_[i] != kNone ? 1 : 0);
  }
  std::partial_sum(dependents_begin_.begin(), dependents_begin_.end(), dependents_begin_.begin());
  dependents_.resize(dependents_begin_.back());
  std::vector<uint32_t> next(dependents_begin_.begin(), dependents_begin_.end() - 1);
  for (uint32_t i = 0; i < steps.size(); ++i) {
    for (uint32_t before : steps[i].after) dependents_[next[before]++] = i;
    if (reduce_before_[i] != kNone) dependents_[next[reduce_before_[i]]++] = i;
  }
}

void StepGraph::IndexTransfers(const std::vector<Step>& steps) {
  auto bucket_of = [](const Step& step) {
    return 2 * Slot(step.chunk, step.phase) + (step.kind == Step::Kind::kSend ? 1 : 0);
  };
  for (const Step& step : steps) {
    if (step.kind != Step::Kind::kFinalize) ++transfers_begin_[bucket_of(step) + 1];
  }
  std::partial_sum(transfers_begin_.begin(), transfers_begin_.end(), transfers_begin_.begin());
  transfers_.resize(transfers_begin_.back());
  std::vector<uint32_t> next(transfers_begin_.begin(), transfers_begin_.end() - 1);
  for (uint32_t i = 0; i < steps.size(); ++i) {
    if (steps[i].kind == Step::Kind::kFinalize) continue;
    transfers_[next[bucket_of(steps[i])]++] = {steps[i].peer, i};
  }
}

}  // namespace perigee
