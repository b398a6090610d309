#include "examples/train/member.h"

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "examples/char_lm/char_lm_task.h"
#include "runtime/host/trainer.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

void Print(const nlohmann::ordered_json& line) {
  std::printf("%s\n", line.dump().c_str());
  std::fflush(stdout);
}

TrainerOptions OptionsOf(const TrainOptions& options) {
  const Link link = {options.rate_bytes_per_second, options.delay};
  ChannelSettings emulate{.link = link, .loss = options.loss};
  emulate.burst_mean = absl::Milliseconds(options.burst_ms);
  TrainerOptions trainer{.steps = options.steps, .microbatches = options.microbatches};
  trainer.communicator = {.node = NodeId(static_cast<uint32_t>(options.member)),
                          .coordinator = options.coordinator,
                          .certs = options.certs,
                          .insecure = options.insecure,
                          .start_members = options.nodes,
                          .listen = options.listen,
                          .default_link = link};
  trainer.state_dir = options.state_dir;
  trainer.communicator.flight_records.folder = options.flight_records;
  if (!options.real_links) trainer.communicator.emulate = emulate;
  trainer.communicator.on_connection = [was_connected = false](const absl::Status& status) mutable {
    std::string text = "connected";
    if (!status.ok()) {
      text = absl::StrCat(status.message(), was_connected ? "; the steps go on in the present view"
                                                          : "; trying again");
    }
    was_connected = was_connected || status.ok();
    Print({{"type", "notice"}, {"kind", "coordinator"}, {"text", text}});
  };
  return trainer;
}

}  // namespace

absl::Status RunMember(const TrainOptions& options) {
  PERIGEE_ASSIGN_OR_RETURN(
      const std::unique_ptr<char_lm::CharLmTask> task,
      char_lm::CharLmTask::Create(
          {.text_path = options.text, .seed = options.seed, .steps = options.steps}));
  Trainer trainer(
      OptionsOf(options), *task,
      [](const StepReport& step) {
        Print({{"type", "step"},
               {"step", step.step.value()},
               {"loss", step.loss},
               {"epoch", step.epoch.value()},
               {"view", absl::StrCat(absl::Hex(step.view_digest, absl::kZeroPad16))},
               {"members", step.members},
               {"contributions", step.contributions},
               {"computed", step.computed},
               {"compute_seconds", absl::ToDoubleSeconds(step.compute)},
               {"allreduce_seconds", absl::ToDoubleSeconds(step.allreduce)},
               {"step_seconds", absl::ToDoubleSeconds(step.total)},
               {"bytes", step.bytes},
               {"packets_lost", step.packets_lost},
               {"packets_repaired", step.packets_repaired}});
      },
      [](const std::string& kind, const std::string& text) {
        Print({{"type", "notice"}, {"kind", kind}, {"text", text}});
      });
  PERIGEE_ASSIGN_OR_RETURN(const TrainingResult result, trainer.Run());
  Print({{"type", "result"},
         {"digest", absl::StrCat(absl::Hex(result.digest, absl::kZeroPad16))},
         {"steps_applied", result.steps},
         {"packets_sent", result.counters.packets_sent},
         {"packets_lost", result.counters.packets_lost},
         {"packets_repaired", result.counters.segments_retransmitted}});
  return absl::OkStatus();
}

}  // namespace perigee
