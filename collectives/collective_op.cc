#include "collectives/collective_op.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

constexpr uint32_t kNone = StepGraph::kNone;

void Copy(uint8_t* to, const uint8_t* from, size_t bytes) {
  if (bytes > 0) std::memcpy(to, from, bytes);
}

// Receivers of a broadcast need not know the root's universe: their trailers have room for any.
size_t TrailerBytes(const Schedule& schedule, const OpInput& input) {
  return FrameBytes(schedule.kind == CollectiveKind::kBroadcast ? ContributionSet::kUniverseMax
                                                                : input.contributions.universe());
}

}  // namespace

CollectiveOp::CollectiveOp(OpContext context, const Schedule& schedule, const OpInput& input)
    : context_(std::move(context)),
      schedule_(schedule),
      input_(input),
      graph_(steps(), schedule.chunks.size()),
      element_bytes_(SizeOf(input.dtype)),
      trailer_bytes_(TrailerBytes(schedule, input)),
      states_(steps().size()),
      chunks_(schedule.chunks.size()) {
  PERIGEE_CHECK(context_.nodes.size() == schedule.rank_count);
  PERIGEE_CHECK(input.contributions.universe() <= ContributionSet::kUniverseMax);
  PrepareMemory();
  for (uint32_t i = 0; i < states_.size(); ++i) {
    states_[i].waits_for = graph_.WaitsFor(i);
    if (states_[i].waits_for == 0) ready_.push_back(i);
  }
  // Lowest step first: ready_ is taken from its end.
  std::reverse(ready_.begin(), ready_.end());
  RunReady();
}

void CollectiveOp::PrepareMemory() {
  bool reads_input = false;
  for (uint32_t i = 0; i < states_.size(); ++i) {
    const Step& step = steps()[i];
    if (graph_.chunk(step.chunk).final_maker == i) ++finals_expected_;
    reads_input |= step.kind != Step::Kind::kReceiveCopy && step.kind != Step::Kind::kSend;
    reads_input |= step.kind == Step::Kind::kSend && step.phase == Phase::kReduce;
    if (step.kind != Step::Kind::kReceiveReduce) continue;
    const bool first = graph_.chunk(step.chunk).first_receive_reduce == i;
    if (first && IsRootOf(step.chunk)) continue;
    auto memory = std::make_unique_for_overwrite<uint8_t[]>(BytesOf(step.chunk));
    (first ? chunks_[step.chunk.value()].partial : states_[i].staging) = std::move(memory);
  }
  if (reads_input) {
    PERIGEE_CHECK(input_.data.count == schedule_.element_count);
    PERIGEE_CHECK(input_.data.count == 0 || input_.data.dtype == input_.dtype);
  }
  trailers_ = std::make_unique_for_overwrite<uint8_t[]>(states_.size() * trailer_bytes_);
  if (finals_expected_ > 0) {
    result_ = std::make_unique_for_overwrite<uint8_t[]>(schedule_.element_count * element_bytes_);
  }
}

// --- Places. ---

const uint8_t* CollectiveOp::InputOf(ChunkId chunk) const {
  return static_cast<const uint8_t*>(input_.data.data) + range(chunk).offset * element_bytes_;
}

uint8_t* CollectiveOp::ResultOf(ChunkId chunk) const {
  return result_.get() + range(chunk).offset * element_bytes_;
}

uint8_t* CollectiveOp::PartialOf(ChunkId chunk) const {
  return IsRootOf(chunk) ? ResultOf(chunk) : chunks_[chunk.value()].partial.get();
}

bool CollectiveOp::IsRootOf(ChunkId chunk) const {
  const uint32_t maker = graph_.chunk(chunk).final_maker;
  return maker != kNone && steps()[maker].kind == Step::Kind::kFinalize;
}

absl::Span<uint8_t> CollectiveOp::TrailerOf(uint32_t step) const {
  return absl::MakeSpan(trailers_.get() + step * trailer_bytes_, trailer_bytes_);
}

TransferKey CollectiveOp::KeyOf(const Step& step) const {
  return {.epoch = context_.epoch,
          .op = context_.op,
          .chunk = step.chunk,
          .phase = step.phase,
          .attempt = context_.attempt};
}

MutableRegion CollectiveOp::ReceiveRegion(uint32_t step) const {
  const Step& receive = steps()[step];
  uint8_t* body = states_[step].staging.get();
  if (receive.kind == Step::Kind::kReceiveCopy) body = ResultOf(receive.chunk);
  if (body == nullptr) body = PartialOf(receive.chunk);
  return {absl::MakeSpan(body, BytesOf(receive.chunk)), TrailerOf(step)};
}

// A final travels with the trailer that its root made, from the slot of the step that brought it
// here.
ConstRegion CollectiveOp::SendRegion(uint32_t step) const {
  const Step& send = steps()[step];
  const size_t bytes = BytesOf(send.chunk);
  if (send.phase == Phase::kReduce) {
    return {absl::MakeConstSpan(PartialOf(send.chunk), bytes), TrailerOf(step)};
  }
  return {absl::MakeConstSpan(ResultOf(send.chunk), bytes),
          TrailerOf(graph_.chunk(send.chunk).final_maker)};
}

// The own input joins the partial that came first; later partials join that sum, in list order.
ReduceTask CollectiveOp::TaskOf(uint32_t step) const {
  const ChunkId chunk = steps()[step].chunk;
  const bool first = graph_.chunk(chunk).first_receive_reduce == step;
  return {.ticket = step,
          .dtype = input_.dtype,
          .op = input_.reduce_op,
          .dst = PartialOf(chunk),
          .src = first ? InputOf(chunk) : states_[step].staging.get(),
          .count = range(chunk).count};
}

// --- Actions and events. ---

std::optional<OpAction> CollectiveOp::NextAction() {
  if (!status_.ok()) return std::nullopt;
  while (next_post_ < states_.size()) {
    const uint32_t i = next_post_++;
    const Step& step = steps()[i];
    if (IsReceive(step)) return PostReceiveAction{PeerOf(step), KeyOf(step), ReceiveRegion(i)};
  }
  if (queue_.empty()) return std::nullopt;
  const uint32_t i = queue_.front();
  queue_.pop_front();
  states_[i].stage = StepStage::kActive;
  const Step& step = steps()[i];
  if (step.kind == Step::Kind::kSend) {
    return SendAction{PeerOf(step), KeyOf(step), SendRegion(i)};
  }
  return ReduceAction{TaskOf(i)};
}

uint32_t CollectiveOp::FindStep(NodeId peer, const TransferKey& key, bool receive) const {
  if (key.epoch != context_.epoch || key.op != context_.op || key.attempt != context_.attempt ||
      key.chunk.value() >= chunks_.size()) {
    return kNone;
  }
  const auto transfers =
      receive ? graph_.Receives(key.chunk, key.phase) : graph_.Sends(key.chunk, key.phase);
  for (const StepGraph::Transfer& transfer : transfers) {
    if (context_.nodes[transfer.peer.value()] == peer) return transfer.step;
  }
  return kNone;
}

void CollectiveOp::OnDelivered(NodeId peer, const TransferKey& key) {
  const uint32_t step = FindStep(peer, key, /*receive=*/true);
  if (!status_.ok() || step == kNone || states_[step].arrived) return;
  states_[step].arrived = true;
  TakeFrame(step);
  if (!status_.ok()) return;
  Satisfy(step);
  RunReady();
}

void CollectiveOp::OnSent(NodeId peer, const TransferKey& key) {
  const uint32_t step = FindStep(peer, key, /*receive=*/false);
  if (step == kNone || states_[step].stage != StepStage::kActive) return;
  --sends_pending_;
  if (key.phase == Phase::kReduce) chunks_[key.chunk.value()].partial.reset();
  Complete(step);
  RunReady();
}

void CollectiveOp::OnReduced(uint64_t ticket) {
  PERIGEE_CHECK(ticket < states_.size());
  const auto step = static_cast<uint32_t>(ticket);
  PERIGEE_CHECK(steps()[step].kind == Step::Kind::kReceiveReduce);
  PERIGEE_CHECK(states_[step].stage == StepStage::kActive);
  states_[step].staging.reset();
  Complete(step);
  RunReady();
}

// --- Steps. ---

void CollectiveOp::Satisfy(uint32_t step) {
  if (--states_[step].waits_for == 0) ready_.push_back(step);
}

void CollectiveOp::RunReady() {
  while (status_.ok() && !ready_.empty()) {
    const uint32_t step = ready_.back();
    ready_.pop_back();
    Start(step);
  }
}

void CollectiveOp::Start(uint32_t step) {
  switch (steps()[step].kind) {
    case Step::Kind::kSend:
      return StartSend(step);
    case Step::Kind::kReceiveReduce:
      if (range(steps()[step].chunk).count == 0) return Complete(step);
      states_[step].stage = StepStage::kQueued;
      queue_.push_back(step);
      return;
    case Step::Kind::kReceiveCopy:
      return Complete(step);
    case Step::Kind::kFinalize:
      return Finalize(step);
  }
}

void CollectiveOp::StartSend(uint32_t step) {
  const Step& send = steps()[step];
  if (send.phase == Phase::kReduce) {
    ChunkState& chunk = chunks_[send.chunk.value()];
    if (chunk.partial == nullptr) {
      chunk.partial = std::make_unique_for_overwrite<uint8_t[]>(BytesOf(send.chunk));
      Copy(chunk.partial.get(), InputOf(send.chunk), BytesOf(send.chunk));
    }
    EncodeFrame(PartialFrame(send.chunk), SendRegion(step).body, TrailerOf(step));
    chunk.frame = Frame();
  }
  ++sends_pending_;
  states_[step].stage = StepStage::kQueued;
  queue_.push_back(step);
}

void CollectiveOp::Finalize(uint32_t step) {
  const ChunkId chunk = steps()[step].chunk;
  if (graph_.chunk(chunk).first_receive_reduce == kNone) {
    Copy(ResultOf(chunk), InputOf(chunk), BytesOf(chunk));
  }
  const Frame frame = std::exchange(PartialFrame(chunk), Frame());
  TakeFinal(step, frame);
  if (!status_.ok()) return;
  EncodeFrame(frame, absl::MakeConstSpan(ResultOf(chunk), BytesOf(chunk)), TrailerOf(step));
  Complete(step);
}

void CollectiveOp::Complete(uint32_t step) {
  states_[step].stage = StepStage::kDone;
  for (uint32_t dependent : graph_.Dependents(step)) Satisfy(dependent);
}

// --- Frames. ---

Frame& CollectiveOp::PartialFrame(ChunkId chunk) {
  ChunkState& state = chunks_[chunk.value()];
  if (!state.own_in) {
    state.own_in = true;
    state.frame = {.contributions = input_.contributions,
                   .flags = input_.flags,
                   .done_through = input_.done_through,
                   .call_digest = input_.call_digest};
  }
  return state.frame;
}

void CollectiveOp::TakeFrame(uint32_t step) {
  const Step& receive = steps()[step];
  const MutableRegion region = ReceiveRegion(step);
  const absl::StatusOr<Frame> frame = DecodeFrame(region.body, region.trailer);
  if (!frame.ok()) {
    return Fail(absl::DataLossError(absl::StrCat(Where(receive), ": ", frame.status().message())));
  }
  if (frame->call_digest != input_.call_digest) {
    return Fail(absl::FailedPreconditionError(absl::StrCat(
        "node ", PeerOf(receive).value(), " called another collective for op ",
        ToString(context_.op), " (digest ", absl::Hex(frame->call_digest, absl::kZeroPad16),
        ", here ", absl::Hex(input_.call_digest, absl::kZeroPad16), ")")));
  }
  if (receive.kind == Step::Kind::kReceiveReduce) {
    TakePartial(step, *frame);
  } else {
    TakeFinal(step, *frame);
  }
}

void CollectiveOp::TakePartial(uint32_t step, const Frame& frame) {
  const Step& receive = steps()[step];
  Frame& partial = PartialFrame(receive.chunk);
  if (frame.contributions.universe() != partial.contributions.universe() ||
      !partial.contributions.DisjointFrom(frame.contributions)) {
    return Fail(absl::InternalError(absl::StrCat(Where(receive), ": contributions ",
                                                 ToString(frame.contributions), " do not add to ",
                                                 ToString(partial.contributions))));
  }
  partial.contributions.Merge(frame.contributions);
  partial.flags |= frame.flags;
  partial.done_through = std::min(partial.done_through, frame.done_through);
}

void CollectiveOp::TakeFinal(uint32_t step, const Frame& frame) {
  const bool all_reduce = schedule_.kind == CollectiveKind::kAllReduce;
  if (all_reduce && !frame.contributions.IsFull()) {
    return Fail(
        absl::InternalError(absl::StrCat(Where(steps()[step]), ": the final lacks contributions ",
                                         absl::StrJoin(frame.contributions.Missing(), ","))));
  }
  if (finals_here_ == 0) {
    contributions_ = frame.contributions;
    done_through_all_ = all_reduce ? frame.done_through : OpId();
  } else if (frame.contributions != contributions_) {
    return Fail(absl::InternalError(
        absl::StrCat(Where(steps()[step]), ": the final holds ", ToString(frame.contributions),
                     ", other chunks hold ", ToString(contributions_))));
  }
  flags_ |= frame.flags;
  if (all_reduce) done_through_all_ = std::min(done_through_all_, frame.done_through);
  ++finals_here_;
}

std::string CollectiveOp::Where(const Step& step) const {
  std::string chunk = absl::StrCat("op ", ToString(context_.op), " chunk ", step.chunk.value());
  if (!IsReceive(step)) return chunk;
  return absl::StrCat(chunk, " from node ", PeerOf(step).value());
}

void CollectiveOp::Fail(absl::Status status) {
  status_ = std::move(status);
  for (uint32_t step : queue_) {
    if (steps()[step].kind == Step::Kind::kSend) --sends_pending_;
  }
  queue_.clear();
  ready_.clear();
}

// --- Reading. ---

bool CollectiveOp::finished() const { return status_.ok() && finals_here_ == finals_expected_; }

absl::Span<const uint8_t> CollectiveOp::result() const {
  PERIGEE_CHECK(finished());
  if (result_ == nullptr) return {};
  return absl::MakeConstSpan(result_.get(), schedule_.element_count * element_bytes_);
}

const ContributionSet& CollectiveOp::contributions() const {
  PERIGEE_CHECK(finished());
  return contributions_;
}

uint32_t CollectiveOp::flags() const {
  PERIGEE_CHECK(finished());
  return flags_;
}

OpId CollectiveOp::done_through_all() const {
  PERIGEE_CHECK(finished());
  return done_through_all_;
}

std::vector<NodeId> CollectiveOp::WaitingFor() const {
  std::vector<bool> waited_for(schedule_.rank_count, false);
  for (uint32_t i = 0; i < states_.size(); ++i) {
    if (IsReceive(steps()[i]) && !states_[i].arrived) waited_for[steps()[i].peer.value()] = true;
  }
  std::vector<NodeId> nodes;
  for (uint32_t rank = 0; rank < schedule_.rank_count; ++rank) {
    if (waited_for[rank]) nodes.push_back(context_.nodes[rank]);
  }
  return nodes;
}

double CollectiveOp::Progress() const {
  if (finals_expected_ == 0) return 1;
  return static_cast<double>(finals_here_) / static_cast<double>(finals_expected_);
}

}  // namespace perigee
