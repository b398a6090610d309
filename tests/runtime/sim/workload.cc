#include "tests/runtime/sim/workload.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "tests/oracle/oracle.h"
#include "transport/base/rng.h"

namespace perigee {
namespace {

constexpr size_t kErrorsMax = 20;

uint64_t Hash(uint64_t a, uint64_t b, uint64_t c = 0) {
  return Rng(a * 0x9e3779b97f4a7c15 ^ b * 0xc2b2ae3d27d4eb4f ^ c).Next();
}

// Ranks count within one view, so the digest takes the nodes instead.
uint64_t DigestOf(const Call& call, const View& view, const OpFinished& finished,
                  absl::Span<const uint8_t> result) {
  const bool ranks = call.policy == FailurePolicy::kAllOrNothing;
  uint64_t digest = Hash(finished.flags, result.size());
  for (uint32_t i = 0; i < finished.contributions.universe(); ++i) {
    if (!finished.contributions.Contains(i)) continue;
    digest = Hash(digest, ranks && i < view.size() ? view.member(Rank(i)).node.value() : i);
  }
  for (uint8_t byte : result) digest = (digest ^ byte) * 0x100000001b3;
  return digest;
}

template <typename T>
void FillAs(std::vector<uint8_t>& bytes, ReduceOp op, Rng rng) {
  for (size_t i = 0; i < bytes.size() / sizeof(T); ++i) {
    // Products stay exact in floating point; integers wrap around anyway.
    const int64_t number = op == ReduceOp::kProduct ? rng.Between(1, 3) : rng.Between(0, 100);
    const T value = static_cast<T>(number);
    std::memcpy(bytes.data() + i * sizeof(T), &value, sizeof(T));
  }
}

Call DrawCall(const WorkloadSettings& settings, Rng& rng) {
  Call call;
  const uint64_t form = rng.Below(10);
  call.dtype = static_cast<DType>(rng.Below(10));
  call.reduce_op = static_cast<ReduceOp>(rng.Below(4));
  switch (rng.Below(6)) {
    case 0:
      call.count = rng.Below(2);
      break;
    case 1:
      call.count = 1 + 2 * rng.Below(500);
      break;
    default:
      call.count = rng.Below(settings.count_max / 20 + 1);
  }
  if (rng.Bernoulli(settings.large)) {
    call.count = settings.count_max / 2 + rng.Below(settings.count_max / 2 + 1);
  }
  if (form < 2) {
    call.kind = CollectiveKind::kBroadcast;
    call.root = NodeId(static_cast<uint32_t>(rng.Below(settings.roots)));
  } else if (form < 5) {
    call.policy = FailurePolicy::kFullSet;
    call.dtype = DType::kI64;
    call.reduce_op = ReduceOp::kSum;
    call.microbatches = static_cast<uint32_t>(rng.Between(1, 20));
  }
  return call;
}

}  // namespace

std::vector<Call> CallsOf(const WorkloadSettings& settings, StepId step) {
  Rng rng(Hash(settings.seed, step.value()));
  std::vector<Call> calls(1 + rng.Below(settings.calls_per_step_max));
  for (Call& call : calls) call = DrawCall(settings, rng);
  return calls;
}

std::vector<uint8_t> InputOf(const WorkloadSettings& settings, const Call& call, OpId op,
                             uint32_t contributor) {
  std::vector<uint8_t> bytes(call.count * SizeOf(call.dtype));
  const Rng rng(Hash(settings.seed, op.value(), contributor));
  switch (call.dtype) {
    case DType::kF32:
      FillAs<float>(bytes, call.reduce_op, rng);
      break;
    case DType::kF64:
      FillAs<double>(bytes, call.reduce_op, rng);
      break;
    case DType::kI8:
    case DType::kU8:
      FillAs<uint8_t>(bytes, call.reduce_op, rng);
      break;
    case DType::kI16:
    case DType::kU16:
      FillAs<uint16_t>(bytes, call.reduce_op, rng);
      break;
    case DType::kI32:
    case DType::kU32:
      FillAs<uint32_t>(bytes, call.reduce_op, rng);
      break;
    case DType::kI64:
    case DType::kU64:
      FillAs<uint64_t>(bytes, call.reduce_op, rng);
      break;
  }
  return bytes;
}

std::vector<float> MicrobatchOf(const WorkloadSettings& settings, const Call& call, OpId op,
                                MicrobatchId microbatch) {
  std::vector<float> values(call.count);
  Rng rng(Hash(settings.seed, op.value(), 1000 + microbatch.value()));
  for (float& value : values) value = static_cast<float>(rng.Unit() * 2 - 1);
  return values;
}

FixedPointSettings FixedPointOf(const Call& call) {
  return {.scale_bits = 30, .contributions_max = call.microbatches};
}

std::string ToString(const Proposal& proposal) {
  std::string text = absl::StrCat(ToString(proposal.view), proposal.planned ? " (planned: " : " (",
                                  proposal.reason, "):");
  for (const OpDecision& decision : proposal.decisions) {
    absl::StrAppend(&text,
                    decision.kind == OpDecision::Kind::kFinish
                        ? absl::StrCat(" finish by ", decision.holder.value())
                        : " abort",
                    " ", ToString(decision.op));
    for (NodeId node : decision.missing) absl::StrAppend(&text, " for ", node.value());
    absl::StrAppend(&text, ",");
  }
  return text;
}

void Judge::AddError(std::string text) {
  if (errors_.size() < kErrorsMax) errors_.push_back(std::move(text));
}

void Judge::OnView(NodeId node, const Proposal& proposal) {
  log_(absl::StrCat("node ", node.value(), " installs ", ToString(proposal)));
  CompareView(absl::StrCat("node ", node.value()), proposal, &views_);
}

void Judge::OnRecord(const std::string& who, const Proposal& proposal) {
  CompareView(who, proposal, &recorded_);
}

void Judge::CompareView(const std::string& who, const Proposal& proposal,
                        std::map<Epoch, Proposal>* views) {
  const auto [it, inserted] = views->emplace(proposal.view.epoch, proposal);
  if (inserted || it->second == proposal) return;
  AddError(absl::StrCat("epoch ", proposal.view.epoch.value(),
                        " has two views: ", ToString(it->second.view), " and, at ", who, ", ",
                        ToString(proposal.view)));
}

void Judge::OnDelivered(NodeId node, const Incarnation& incarnation, const Call& call,
                        const OpFinished& finished, absl::Span<const uint8_t> result) {
  ++delivery_count_;
  last_epoch_ = std::max(last_epoch_, finished.epoch);
  log_(absl::StrCat("node ", node.value(), " ends op ", ToString(finished.op), " in epoch ",
                    finished.epoch.value(), ": ", finished.status.ToString()));
  Delivery delivery{.node = node,
                    .incarnation = incarnation,
                    .epoch = finished.epoch,
                    .status = finished.status,
                    .digest = 0};
  std::vector<Delivery>& deliveries = deliveries_[finished.op];
  if (delivery.status.ok()) {
    delivery.digest = DigestOf(call, views_[finished.epoch].view, finished, result);
    if (!right_.contains({finished.op, delivery.digest})) {
      const std::string wrong = CheckResult(call, finished, result);
      if (!wrong.empty()) {
        AddError(absl::StrCat("op ", ToString(finished.op), " at node ", node.value(), " in epoch ",
                              finished.epoch.value(), ": ", wrong));
      }
      right_.insert({finished.op, delivery.digest});
    }
  }
  deliveries.push_back(delivery);
}

std::string Judge::CheckResult(const Call& call, const OpFinished& finished,
                               absl::Span<const uint8_t> result) {
  const auto view = views_.find(finished.epoch);
  if (view == views_.end()) return "delivered in an epoch that nobody announced";
  std::vector<NodeId> nodes;
  std::vector<uint8_t> expected;
  if (call.policy == FailurePolicy::kFullSet) {
    if (finished.contributions.universe() != call.microbatches ||
        !finished.contributions.IsFull()) {
      return absl::StrCat("holds ", ToString(finished.contributions), " of ", call.microbatches,
                          " microbatches");
    }
    expected = ExpectedFullSet(call, finished.op);
  } else {
    if (finished.contributions.universe() != view->second.view.size()) {
      return absl::StrCat("holds ", ToString(finished.contributions), " in ",
                          ToString(view->second.view));
    }
    for (uint32_t rank = 0; rank < view->second.view.size(); ++rank) {
      if (!finished.contributions.Contains(rank)) continue;
      nodes.push_back(view->second.view.member(Rank(rank)).node);
    }
    const bool broadcast = call.kind == CollectiveKind::kBroadcast;
    if (broadcast ? nodes != std::vector<NodeId>{call.root} : !finished.contributions.IsFull()) {
      return absl::StrCat("holds ", ToString(finished.contributions), " in ",
                          ToString(view->second.view));
    }
    expected = Expected(call, finished.op, nodes);
  }
  if (result.size() == expected.size() &&
      std::equal(result.begin(), result.end(), expected.begin())) {
    return "";
  }
  return absl::StrCat("wrong result over ", ToString(finished.contributions), " of ",
                      ToString(view->second.view));
}

std::vector<uint8_t> Judge::Expected(const Call& call, OpId op, const std::vector<NodeId>& nodes) {
  std::vector<std::vector<uint8_t>> inputs;
  for (NodeId node : nodes) inputs.push_back(InputOf(settings_, call, op, node.value()));
  if (call.kind == CollectiveKind::kBroadcast) return inputs.front();
  const OracleCall oracle{call.dtype, call.reduce_op, call.count};
  const OracleInputs spans(inputs.begin(), inputs.end());
  std::vector<uint32_t> all(nodes.size());
  for (uint32_t i = 0; i < all.size(); ++i) all[i] = i;
  if (call.dtype != DType::kF32 && call.dtype != DType::kF64) {
    return ExactIntegers(oracle, spans, all);
  }
  std::vector<uint8_t> bytes;
  for (const OracleValue& exact : ExactFloats(oracle, spans, all)) {
    const float single = static_cast<float>(exact.value);
    const double wide = static_cast<double>(exact.value);
    const auto* from = call.dtype == DType::kF32 ? reinterpret_cast<const uint8_t*>(&single)
                                                 : reinterpret_cast<const uint8_t*>(&wide);
    bytes.insert(bytes.end(), from, from + SizeOf(call.dtype));
  }
  return bytes;
}

std::vector<uint8_t> Judge::ExpectedFullSet(const Call& call, OpId op) {
  FixedPointSum sum(call.count, FixedPointOf(call));
  for (uint32_t m = 0; m < call.microbatches; ++m) {
    sum.Add(MicrobatchId(m), MicrobatchOf(settings_, call, op, MicrobatchId(m)));
  }
  const auto* bytes = reinterpret_cast<const uint8_t*>(sum.data().data());
  return std::vector<uint8_t>(bytes, bytes + call.count * sizeof(int64_t));
}

void Judge::CheckAgreement() {
  for (const auto& [epoch, proposal] : views_) CompareView("a member", proposal, &recorded_);
  for (const auto& [op, deliveries] : deliveries_) {
    for (size_t i = 0; i < deliveries.size(); ++i) {
      for (size_t k = i + 1; k < deliveries.size(); ++k) {
        CompareDeliveries(op, deliveries[i], deliveries[k]);
      }
    }
  }
}

void Judge::CompareDeliveries(OpId op, const Delivery& a, const Delivery& b) {
  if (a.status.ok() == b.status.ok() && a.digest == b.digest) return;
  // A member may have delivered what the others then repeat without it, but only if it is out by
  // then.
  const Delivery& first = a.epoch < b.epoch ? a : b;
  const Delivery& second = a.epoch < b.epoch ? b : a;
  bool excused = a.epoch != b.epoch && left_.contains(first.incarnation);
  for (auto it = views_.upper_bound(first.epoch); it != views_.end(); ++it) {
    const Proposal& proposal = it->second;
    if (it->first > second.epoch) break;
    if (proposal.planned && proposal.view.first_step > op.step()) continue;
    excused = excused || !proposal.view.Contains(first.node, first.incarnation);
  }
  if (excused) return;
  const auto text = [](const Delivery& delivery) {
    return absl::StrCat("node ", delivery.node.value(), " (epoch ", delivery.epoch.value(), ", ",
                        delivery.status.ToString(), ")");
  };
  AddError(absl::StrCat("op ", ToString(op), " differs between ", text(a), " and ", text(b)));
}

}  // namespace perigee
