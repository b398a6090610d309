// example-char-lm: trains the model in one process, without Perigee. It is the yardstick for the
// runs across members, which must show the same losses, and it measures what one microbatch costs.
//
//   example-char-lm --steps 100 --microbatches 24
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include "examples/char_lm/char_lm_task.h"
#include "transport/base/status.h"

namespace perigee::char_lm {
namespace {

double CpuSeconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

// The mean loss of the step.
absl::StatusOr<double> TrainStep(CharLmTask& task, StepId step, uint32_t microbatches) {
  std::vector<float> gradient(task.GradientSize()), mean(task.GradientSize());
  double loss_sum = 0;
  for (uint32_t i = 0; i < microbatches; ++i) {
    PERIGEE_ASSIGN_OR_RETURN(const double loss,
                             task.ComputeGradient(step, MicrobatchId(i), absl::MakeSpan(gradient)));
    loss_sum += loss;
    for (size_t k = 0; k < mean.size(); ++k)
      mean[k] += gradient[k] / static_cast<float>(microbatches);
  }
  PERIGEE_RETURN_IF_ERROR(task.Apply(step, mean));
  return loss_sum / microbatches;
}

// Of parameters and moments: equal runs print equal digests, on every processor.
uint64_t Digest(CharLmTask& task) {
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  for (const absl::Span<uint8_t> part : task.MutableState()) {
    XXH3_64bits_update(&state, part.data(), part.size());
  }
  return XXH3_64bits_digest(&state);
}

absl::Status Run(const CharLmTask::Options& options, uint32_t microbatches) {
  PERIGEE_ASSIGN_OR_RETURN(std::unique_ptr<CharLmTask> task, CharLmTask::Create(options));
  std::printf("%zu parameters, %d symbols, %zu bytes of text, %u microbatches of %d x %d\n",
              task->GradientSize(), task->corpus().VocabularySize(), task->corpus().size(),
              microbatches, options.batch, options.context);
  const double start = CpuSeconds();
  for (uint64_t step = 0; step < options.steps; ++step) {
    PERIGEE_ASSIGN_OR_RETURN(const double loss, TrainStep(*task, StepId(step), microbatches));
    if (step % 10 == 0 || step + 1 == options.steps) {
      std::printf("step %4llu  loss %.4f\n", static_cast<unsigned long long>(step), loss);
    }
  }
  const double seconds = (CpuSeconds() - start) / static_cast<double>(options.steps);
  std::printf("digest of the state: %016llx\n", static_cast<unsigned long long>(Digest(*task)));
  std::printf("CPU: %.3f s per step, %.2f ms per microbatch\n", seconds,
              1e3 * seconds / microbatches);
  return absl::OkStatus();
}

}  // namespace
}  // namespace perigee::char_lm

int main(int argc, char** argv) {
  perigee::char_lm::CharLmTask::Options options;
  uint32_t microbatches = 24;
  CLI::App app("Trains a small character-level transformer in one process.");
  app.add_option("--text", options.text_path, "Text file; default: a licence text of the system");
  app.add_option("--seed", options.seed, "Seed of parameters and sample order");
  app.add_option("--steps", options.steps, "Steps to train")->check(CLI::Range(1, 1000000));
  app.add_option("--microbatches", microbatches, "Microbatches per step")
      ->check(CLI::Range(1, 65536));
  app.add_option("--batch", options.batch, "Sequences per microbatch");
  app.add_option("--context", options.context, "Tokens per sequence");
  app.add_option("--d-model", options.d_model, "Width of the model");
  app.add_option("--heads", options.heads, "Attention heads");
  app.add_option("--layers", options.layers, "Transformer blocks");
  app.add_option("--learning-rate", options.learning_rate, "Peak learning rate");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  const absl::Status status = perigee::char_lm::Run(options, microbatches);
  if (status.ok()) return 0;
  std::fprintf(stderr, "example-char-lm: %s\n", std::string(status.message()).c_str());
  return 1;
}
