// The character-level language model as a TrainingTask: what `example-train` trains across members.
//
//   absl::StatusOr<std::unique_ptr<CharLmTask>> task = CharLmTask::Create({.seed = 7, .steps =
//   100}); absl::StatusOr<double> loss = (*task)->ComputeGradient(step, microbatch, gradient);
//   absl::Status applied = (*task)->Apply(step, mean_gradient);
//
// All members of a job are created with equal Options and the same text. The defaults are small on
// purpose: 0.11 million parameters and microbatches of 128 tokens (README.md has the times), so
// that six processes on two laptop cores make several steps a second together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "examples/char_lm/adam.h"
#include "examples/char_lm/corpus.h"
#include "examples/char_lm/transformer.h"
#include "runtime/host/training_task.h"

namespace perigee::char_lm {

// One thread.
class CharLmTask final : public TrainingTask {
 public:
  struct Options {
    std::string text_path;  // Empty: DefaultTextPath().
    uint64_t seed = 1;
    int d_model = 64;
    int heads = 4;
    int layers = 2;
    int context = 64;
    int batch = 2;         // Sequences per microbatch, at most kBatchMax.
    uint64_t steps = 100;  // Of the whole run: the learning rate decays over them. More may be run.
    double learning_rate = 1e-2;
  };
  static constexpr int kBatchMax = 1024;

  // The errors of Corpus::Load, ValidateShape and ValidateAdamOptions.
  static absl::StatusOr<std::unique_ptr<CharLmTask>> Create(const Options& options);

  size_t GradientSize() const override { return parameters_.size(); }

  // InvalidArgument when `gradient` has another size; OutOfRange when training has diverged: the
  // loss is not a finite number. `gradient` may lie at any address.
  absl::StatusOr<double> ComputeGradient(StepId step, MicrobatchId microbatch,
                                         absl::Span<float> gradient) override;

  // InvalidArgument when `gradient` has another size; nothing is changed then.
  absl::Status Apply(StepId step, absl::Span<const float> gradient) override;

  // Parameters, first moments, second moments: three spans of 4 · GradientSize() bytes.
  std::vector<absl::Span<uint8_t>> MutableState() override;

  const Corpus& corpus() const { return corpus_; }
  const ParameterLayout& layout() const { return model_.layout(); }
  absl::Span<const float> parameters() const { return parameters_; }

 private:
  CharLmTask(const Options& options, Corpus corpus, const TransformerShape& shape,
             const AdamOptions& adam);
  absl::Status ValidateGradientSize(size_t size) const;

  Options options_;
  Corpus corpus_;
  Transformer<float> model_;
  std::vector<float> parameters_;
  Adam adam_;
};

}  // namespace perigee::char_lm
