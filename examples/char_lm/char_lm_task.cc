#include "examples/char_lm/char_lm_task.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "transport/base/status.h"

namespace perigee::char_lm {
namespace {

// A tenth of the run, at most 100 steps.
uint64_t WarmupSteps(uint64_t steps) { return std::min<uint64_t>(steps / 10, 100); }

absl::Span<uint8_t> Bytes(absl::Span<float> values) {
  return absl::MakeSpan(reinterpret_cast<uint8_t*>(values.data()), values.size() * sizeof(float));
}

}  // namespace

absl::StatusOr<std::unique_ptr<CharLmTask>> CharLmTask::Create(const Options& options) {
  PERIGEE_ASSIGN_OR_RETURN(
      Corpus corpus,
      Corpus::Load(options.text_path.empty() ? DefaultTextPath() : options.text_path));
  const TransformerShape shape{.vocabulary = corpus.VocabularySize(),
                               .context = options.context,
                               .d_model = options.d_model,
                               .heads = options.heads,
                               .layers = options.layers};
  PERIGEE_RETURN_IF_ERROR(ValidateShape(shape));
  PERIGEE_RETURN_IF_ERROR(corpus.ValidateColumns(options.context));
  if (options.batch < 1 || options.batch > kBatchMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("batch is ", options.batch, "; it must be from 1 to ", kBatchMax));
  }
  AdamOptions adam;
  adam.learning_rate = options.learning_rate;
  adam.total_steps = options.steps;
  adam.warmup_steps = WarmupSteps(options.steps);
  PERIGEE_RETURN_IF_ERROR(ValidateAdamOptions(adam));
  return absl::WrapUnique(new CharLmTask(options, std::move(corpus), shape, adam));
}

CharLmTask::CharLmTask(const Options& options, Corpus corpus, const TransformerShape& shape,
                       const AdamOptions& adam)
    : options_(options),
      corpus_(std::move(corpus)),
      model_(shape),
      parameters_(model_.layout().InitialParameters(options.seed)),
      adam_(model_.layout(), adam) {}

absl::Status CharLmTask::ValidateGradientSize(size_t size) const {
  if (size == parameters_.size()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the gradient has ", size, " elements; the model has ", parameters_.size()));
}

absl::StatusOr<double> CharLmTask::ComputeGradient(StepId step, MicrobatchId microbatch,
                                                   absl::Span<float> gradient) {
  PERIGEE_RETURN_IF_ERROR(ValidateGradientSize(gradient.size()));
  const TokenBatch batch =
      corpus_.Batch(options_.seed, step, microbatch,
                    BatchShape{.rows = options_.batch, .columns = options_.context});
  const double loss = model_.LossAndGradient(parameters_, batch, gradient);
  if (!std::isfinite(loss)) {
    return absl::OutOfRangeError(
        absl::StrCat("step ", step.value(), " microbatch ", microbatch.value(), ": the loss is ",
                     loss, "; try a learning rate below ", options_.learning_rate));
  }
  return loss;
}

absl::Status CharLmTask::Apply(StepId step, absl::Span<const float> gradient) {
  PERIGEE_RETURN_IF_ERROR(ValidateGradientSize(gradient.size()));
  adam_.Apply(step, gradient, absl::MakeSpan(parameters_));
  return absl::OkStatus();
}

std::vector<absl::Span<uint8_t>> CharLmTask::MutableState() {
  return {Bytes(absl::MakeSpan(parameters_)), Bytes(adam_.first_moment()),
          Bytes(adam_.second_moment())};
}

}  // namespace perigee::char_lm
