// The trainer with a tiny task, over real sockets and a real coordinator: whatever happens, the
// final state is that of the run in which nothing happened. Real processes and real kills:
// examples/demo.sh.
#include "runtime/host/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "runtime/control/control_server.h"

namespace perigee {
namespace {

constexpr uint32_t kMicrobatches = 8;

// x follows a different pull by every microbatch, in floats whose sums would depend on their order.
class PullTask : public TrainingTask {
 public:
  size_t GradientSize() const override { return x_.size(); }
  absl::StatusOr<double> ComputeGradient(StepId step, MicrobatchId microbatch,
                                         absl::Span<float> gradient) override {
    double loss = 0;
    for (size_t i = 0; i < x_.size(); ++i) {
      const float target =
          std::sin(static_cast<float>(i * 31 + uint64_t{microbatch.value()} * 7 + step.value()));
      gradient[i] = (x_[i] - target) * scale_;
      loss += std::abs(gradient[i]);
    }
    return loss;
  }
  absl::Status Apply(StepId, absl::Span<const float> gradient) override {
    for (size_t i = 0; i < x_.size(); ++i) x_[i] -= 0.1f * gradient[i] / scale_;
    return absl::OkStatus();
  }
  std::vector<absl::Span<uint8_t>> MutableState() override {
    return {{reinterpret_cast<uint8_t*>(x_.data()), x_.size() * sizeof(float)}};
  }
  void set_scale(float scale) { scale_ = scale; }
  std::vector<float>& x() { return x_; }

 private:
  std::vector<float> x_ = std::vector<float>(1000);
  float scale_ = 1;
};

struct Job {
  std::unique_ptr<ControlServer> server;
  uint64_t steps = 20;
  std::mutex mutex;
  std::vector<std::string> notices;

  explicit Job(ContactPlan plan = ContactPlan(), const std::string& plan_text = "") {
    server = *ControlServer::Start({.listen = "127.0.0.1:0", .insecure = true}, std::move(plan),
                                   plan_text);
  }
  absl::StatusOr<TrainingResult> RunMember(uint32_t node, uint32_t members, PullTask& task) {
    TrainerOptions options{.steps = steps, .microbatches = kMicrobatches};
    options.communicator = {.node = NodeId(node),
                            .coordinator = server->address(),
                            .insecure = true,
                            .start_members = members};
    Trainer trainer(
        options, task, [](const StepReport&) {},
        [this](const std::string& kind, const std::string& text) {
          std::lock_guard lock(mutex);
          notices.push_back(kind + ": " + text);
        });
    return trainer.Run();
  }
  std::vector<absl::StatusOr<TrainingResult>> RunMembers(uint32_t members, float scale = 1) {
    std::vector<absl::StatusOr<TrainingResult>> results(members, absl::UnknownError("not run"));
    std::vector<std::thread> threads;
    for (uint32_t node = 0; node < members; ++node) {
      threads.emplace_back([&, node] {
        PullTask task;
        task.set_scale(scale);
        results[node] = RunMember(node, members, task);
      });
    }
    for (std::thread& thread : threads) thread.join();
    return results;
  }
};

uint64_t DigestOfOne(uint64_t steps) {
  Job job;
  job.steps = steps;
  return job.RunMembers(1)[0]->digest;
}

TEST(Trainer, FourMembersEndWithTheBitsOfOne) {
  Job job;
  const auto results = job.RunMembers(4);
  for (const auto& result : results) {
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->digest, DigestOfOne(job.steps));
    EXPECT_EQ(result->steps, job.steps);
  }
}

TEST(Trainer, AStepThatOverflowsIsRedoneWithACoarserScale) {
  Job job;
  job.steps = 3;
  const auto results = job.RunMembers(2, /*scale=*/1e9f);
  for (const auto& result : results) ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(results[0]->digest, results[1]->digest);
  EXPECT_THAT(job.notices, testing::Contains(testing::HasSubstr("overflows the fixed point")));
}

TEST(Trainer, AMemberThatComputesOtherBitsIsFound) {
  Job job;
  std::vector<absl::Status> statuses(2);
  std::vector<std::thread> threads;
  for (uint32_t node = 0; node < 2; ++node) {
    threads.emplace_back([&, node] {
      PullTask task;
      if (node == 1) task.x()[5] = 1e-3f;  // starts from another state
      statuses[node] = job.RunMember(node, 2, task).status();
    });
  }
  for (std::thread& thread : threads) thread.join();
  const bool found = absl::IsInternal(statuses[0]) || absl::IsInternal(statuses[1]);
  EXPECT_TRUE(found) << statuses[0] << " / " << statuses[1];
}

}  // namespace
}  // namespace perigee
