#include "examples/char_lm/adam.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "examples/char_lm/portable_math.h"
#include "transport/base/status.h"

namespace perigee::char_lm {

absl::Status ValidateAdamOptions(const AdamOptions& options) {
  // Written so that NaN fails too.
  if (!(options.learning_rate > 0 && options.learning_rate <= 1)) {
    return absl::InvalidArgumentError(absl::StrCat("learning_rate is ", options.learning_rate,
                                                   "; it must be above 0 and at most 1"));
  }
  if (!(options.learning_rate_fraction >= 0 && options.learning_rate_fraction <= 1)) {
    return absl::InvalidArgumentError("learning_rate_fraction must be from 0 to 1");
  }
  if (!(options.beta1 >= 0 && options.beta1 < 1 && options.beta2 >= 0 && options.beta2 < 1)) {
    return absl::InvalidArgumentError("beta1 and beta2 must be at least 0 and below 1");
  }
  if (!(options.epsilon > 0)) return absl::InvalidArgumentError("epsilon must be above 0");
  if (!(options.weight_decay >= 0)) {
    return absl::InvalidArgumentError("weight_decay must be at least 0");
  }
  if (options.total_steps == 0) return absl::InvalidArgumentError("total_steps must be above 0");
  return absl::OkStatus();
}

double LearningRate(const AdamOptions& options, StepId step) {
  const double now = static_cast<double>(step.value());
  const double warmup = static_cast<double>(options.warmup_steps);
  const double total = static_cast<double>(options.total_steps);
  if (now < warmup) return options.learning_rate * (now + 1) / warmup;
  const double end = options.learning_rate * options.learning_rate_fraction;
  if (now >= total) return end;
  const double progress = (now - warmup) / (total - warmup);
  return end + (options.learning_rate - end) * (1 + CosPi(progress)) / 2;
}

Adam::Adam(const ParameterLayout& layout, const AdamOptions& options)
    : options_(options),
      slices_(layout.Slices()),
      first_moment_(layout.size),
      second_moment_(layout.size) {
  PERIGEE_CHECK(ValidateAdamOptions(options).ok());
}

void Adam::Apply(StepId step, absl::Span<const float> gradient, absl::Span<float> parameters) {
  PERIGEE_CHECK(gradient.size() == first_moment_.size());
  PERIGEE_CHECK(parameters.size() == first_moment_.size());
  const uint64_t count = step.value() + 1;
  const double rate = LearningRate(options_, step);
  // The moments start at zero; dividing by these makes them unbiased (Kingma, Ba 2015, section 3).
  const float correction1 = static_cast<float>(1 / (1 - Power(options_.beta1, count)));
  const float correction2 = static_cast<float>(1 / (1 - Power(options_.beta2, count)));
  const float step_size = static_cast<float>(rate);
  const float beta1 = options_.beta1, beta2 = options_.beta2, epsilon = options_.epsilon;
  for (const ParameterSlice& slice : slices_) {
    const float keep = slice.decays ? static_cast<float>(1 - rate * options_.weight_decay) : 1.0f;
    for (size_t i = slice.offset; i < slice.offset + slice.size(); ++i) {
      const float g = gradient[i];
      const float m = beta1 * first_moment_[i] + (1 - beta1) * g;
      const float v = beta2 * second_moment_[i] + (1 - beta2) * g * g;
      first_moment_[i] = m;
      second_moment_[i] = v;
      parameters[i] = keep * parameters[i] -
                      step_size * (m * correction1) / (std::sqrt(v * correction2) + epsilon);
    }
  }
}

}  // namespace perigee::char_lm
