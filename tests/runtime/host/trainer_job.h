// A job of trainers in one process, over real sockets and a real coordinator, with a tiny task in
// which bits can be made to flip.
#pragma once

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/control/control_server.h"
#include "runtime/host/trainer.h"
#include "transport/base/status.h"

namespace perigee {

// x follows a different pull by every microbatch, in floats whose sums would depend on their order.
class PullTask : public TrainingTask {
 public:
  size_t GradientSize() const override { return x_.size(); }
  absl::StatusOr<double> ComputeGradient(StepId step, MicrobatchId microbatch,
                                         absl::Span<float> gradient) override {
    if (before_compute) PERIGEE_RETURN_IF_ERROR(before_compute(step, microbatch));
    double loss = 0;
    for (size_t i = 0; i < x_.size(); ++i) {
      const float target =
          std::sin(static_cast<float>(i * 31 + uint64_t{microbatch.value()} * 7 + step.value()));
      gradient[i] = (x_[i] - target) * scale_;
      loss += std::abs(gradient[i]);
    }
    return loss;
  }
  absl::Status Apply(StepId step, absl::Span<const float> gradient) override {
    for (size_t i = 0; i < x_.size(); ++i) x_[i] -= 0.1f * gradient[i] / scale_;
    if (after_apply) after_apply(step);
    return absl::OkStatus();
  }
  std::vector<absl::Span<uint8_t>> MutableState() override {
    return {{reinterpret_cast<uint8_t*>(x_.data()), x_.size() * sizeof(float)}};
  }
  void set_scale(float scale) { scale_ = scale; }
  std::vector<float>& x() { return x_; }
  // What a particle does.
  void FlipABit() { MutableState()[0][17] ^= 0x20; }

  std::function<absl::Status(StepId, MicrobatchId)> before_compute;
  std::function<void(StepId)> after_apply;

 private:
  std::vector<float> x_ = std::vector<float>(1000);
  float scale_ = 1;
};

struct Job {
  std::unique_ptr<ControlServer> server;
  uint64_t steps = 20;
  uint32_t microbatches = 8;
  std::mutex mutex;
  std::condition_variable noticed;
  std::vector<std::string> notices;  // "1 view: ..."

  explicit Job(ContactPlan plan = ContactPlan(), const std::string& plan_text = "") {
    server = *ControlServer::Start({.listen = "127.0.0.1:0", .insecure = true}, std::move(plan),
                                   plan_text);
  }
  absl::StatusOr<TrainingResult> RunMember(uint32_t node, uint32_t members, PullTask& task) {
    TrainerOptions options{.steps = steps, .microbatches = microbatches};
    options.communicator = {.node = NodeId(node),
                            .coordinator = server->address(),
                            .insecure = true,
                            .start_members = members};
    Trainer trainer(
        options, task, [](const StepReport&) {},
        [this, node](const std::string& kind, const std::string& text) {
          Note(absl::StrCat(node, " ", kind, ": ", text));
        });
    return trainer.Run();
  }
  // `prepare` is called with every member's task before it runs.
  std::vector<absl::StatusOr<TrainingResult>> RunMembers(
      uint32_t members, const std::function<void(uint32_t node, PullTask&)>& prepare = {}) {
    std::vector<absl::StatusOr<TrainingResult>> results(members, absl::UnknownError("not run"));
    std::vector<std::thread> threads;
    for (uint32_t node = 0; node < members; ++node) {
      threads.emplace_back([&, node] {
        PullTask task;
        if (prepare) prepare(node, task);
        results[node] = RunMember(node, members, task);
      });
    }
    for (std::thread& thread : threads) thread.join();
    return results;
  }
  void Note(const std::string& notice) {
    std::lock_guard lock(mutex);
    notices.push_back(notice);
    noticed.notify_all();
  }
  // How many notices begin so.
  size_t Count(const std::string& beginning) {
    std::lock_guard lock(mutex);
    return CountLocked(beginning);
  }
  void WaitForNotices(const std::string& beginning, size_t count) {
    std::unique_lock lock(mutex);
    noticed.wait(lock, [&] { return CountLocked(beginning) >= count; });
  }

 private:
  size_t CountLocked(const std::string& beginning) {
    return static_cast<size_t>(
        std::count_if(notices.begin(), notices.end(),
                      [&](const std::string& notice) { return notice.rfind(beginning, 0) == 0; }));
  }
};

// What every job of so many steps and microbatches must end with.
inline uint64_t DigestOfOne(const Job& like) {
  Job job;
  job.steps = like.steps;
  job.microbatches = like.microbatches;
  return job.RunMembers(1)[0]->digest;
}

}  // namespace perigee
