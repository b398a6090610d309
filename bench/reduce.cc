#include "bench/reduce.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "collectives/fixed_point.h"
#include "collectives/reduce_kernels.h"
#include "runtime/cli/quantity.h"
#include "runtime/cli/report.h"
#include "transport/base/rng.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

constexpr FixedPointSettings kFixedPoint = {.scale_bits = 36, .contributions_max = 1024};
constexpr int kBits = 20;  // of the random integers: sums of two are exact in every type

// One kernel on vectors of its own. `Run` is timed; `Check` compares with the definition.
struct Kernel {
  std::string name;
  std::function<void()> prepare, run;
  std::function<bool()> check;
  std::vector<double> seconds;
  bool right = true;
};

// a, and b + a after the kernel has run, of integers that every type holds exactly.
template <typename T>
struct Vectors {
  std::vector<T> a, b;

  Vectors(size_t bytes, uint64_t seed) : a(bytes / sizeof(T)), b(a.size()) {
    Rng rng(seed);
    for (T& value : a) value = static_cast<T>(rng.Below(uint64_t{1} << kBits));
    Reset();
  }
  void Reset() {
    for (size_t i = 0; i < b.size(); ++i) b[i] = static_cast<T>(i % 1000);
  }
  bool IsSum() const {
    for (size_t i = 0; i < b.size(); ++i) {
      if (b[i] != a[i] + static_cast<T>(i % 1000)) return false;
    }
    return true;
  }
};

template <typename T>
Kernel SumKernel(const ReduceOptions& options) {
  auto vectors = std::make_shared<Vectors<T>>(options.bytes, options.seed);
  return {.name = absl::StrCat("sum ", Name(DTypeOf<T>())),
          .prepare = [vectors] { vectors->Reset(); },
          .run =
              [vectors] {
                Reduce({.dtype = DTypeOf<T>(),
                        .op = ReduceOp::kSum,
                        .dst = vectors->b.data(),
                        .src = vectors->a.data(),
                        .count = vectors->b.size()});
              },
          .check = [vectors] { return vectors->IsSum(); }};
}

Kernel CopyKernel(const ReduceOptions& options) {
  auto vectors = std::make_shared<Vectors<float>>(options.bytes, options.seed);
  return {
      .name = "copy",
      .prepare = [vectors] { vectors->Reset(); },
      .run =
          [vectors] { std::memcpy(vectors->b.data(), vectors->a.data(), vectors->a.size() * 4); },
      .check = [vectors] { return vectors->a == vectors->b; }};
}

// Floats to fixed point, added to a sum of zero; and back.
struct FixedPointVectors {
  std::vector<float> in, out;
  FixedPointSum sum;

  explicit FixedPointVectors(const ReduceOptions& options)
      : in(options.bytes / sizeof(float)), out(in.size()), sum(in.size(), kFixedPoint) {
    Rng rng(options.seed);
    // Multiples of 2^-20 below 1: exact in both forms.
    for (float& value : in) {
      value = std::ldexp(static_cast<float>(rng.Below(uint64_t{1} << kBits)), -kBits);
    }
  }
  bool IsEncoded() const {
    for (size_t i = 0; i < in.size(); ++i) {
      if (std::ldexp(static_cast<double>(sum.data()[i]), -kFixedPoint.scale_bits) != in[i]) {
        return false;
      }
    }
    return true;
  }
};

std::vector<Kernel> FixedPointKernels(const ReduceOptions& options) {
  auto vectors = std::make_shared<FixedPointVectors>(options);
  Kernel encode = {.name = "fixed point add",
                   .prepare = [vectors] { vectors->sum.Reset(); },
                   .run = [vectors] { vectors->sum.Add(MicrobatchId(0), vectors->in); },
                   .check = [vectors] { return vectors->IsEncoded(); }};
  // Runs after `encode`, on its sum.
  Kernel decode = {
      .name = "fixed point decode",
      .prepare = [vectors] { std::fill(vectors->out.begin(), vectors->out.end(), 0.0f); },
      .run =
          [vectors] { Decode(vectors->sum.data(), kFixedPoint, 1, absl::MakeSpan(vectors->out)); },
      .check = [vectors] { return vectors->out == vectors->in; }};
  return {std::move(encode), std::move(decode)};
}

// In alternation, so that all meet the same machine.
void Measure(const ReduceOptions& options, std::vector<Kernel>& kernels) {
  for (uint64_t i = 0; i <= options.iterations; ++i) {
    for (Kernel& kernel : kernels) {
      kernel.prepare();
      const absl::Time begin = absl::Now();
      kernel.run();
      const absl::Duration took = absl::Now() - begin;
      kernel.right = kernel.right && kernel.check();
      if (i > 0) kernel.seconds.push_back(absl::ToDoubleSeconds(took));  // the first one warms up
    }
  }
}

absl::Status RunReduce(const ReduceOptions& options) {
  if (options.bytes < 8 || options.bytes % 8 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("--bytes: ", options.bytes, " must be a multiple of 8"));
  }
  Report report("reduce", options.seed);
  std::vector<Kernel> kernels = {CopyKernel(options), SumKernel<float>(options),
                                 SumKernel<double>(options), SumKernel<int64_t>(options)};
  for (Kernel& kernel : FixedPointKernels(options)) kernels.push_back(std::move(kernel));
  Measure(options, kernels);
  report.parameters() = {{"bytes", options.bytes}, {"iterations", options.iterations}};
  auto& rows = report.fields()["kernels"] = nlohmann::ordered_json::array();
  const double copy = Quantile(kernels.front().seconds, 0.5);
  std::vector<std::string> wrong;
  for (const Kernel& kernel : kernels) {
    const double seconds = Quantile(kernel.seconds, 0.5);
    rows.push_back({{"kernel", kernel.name},
                    {"seconds_p50", seconds},
                    {"bytes_per_second", static_cast<double>(options.bytes) / seconds},
                    {"of_copy", copy / seconds},
                    {"right", kernel.right}});
    if (!kernel.right) wrong.push_back(kernel.name);
    if (options.json == "-") continue;
    std::printf("%-20s %7.2f GB/s  %5.2f of copy  %s\n", kernel.name.c_str(),
                static_cast<double>(options.bytes) / seconds * 1e-9, copy / seconds,
                kernel.right ? "right" : "WRONG");
  }
  PERIGEE_RETURN_IF_ERROR(report.Write(options.json));
  if (wrong.empty()) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(wrong.front(), " computes something else"));
}

}  // namespace

void AddReduceCommand(Program& program, ReduceOptions& options) {
  CLI::App& app = program.AddCommand(
      "reduce", "How fast the CPU reduces, beside a copy in the same run.",
      "perigee-bench reduce\nperigee-bench reduce --bytes 256KiB --iterations 1000",
      [&options] { return RunReduce(options); });
  AddSize(app, "--bytes", &options.bytes, "size of each vector");
  app.add_option("--iterations", options.iterations, "runs of each kernel that are timed")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  app.add_option("--seed", options.seed, "of the content")->capture_default_str();
  app.add_option("--json", options.json, "write one JSON object to PATH, or - for stdout");
}

}  // namespace perigee
