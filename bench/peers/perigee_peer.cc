// Perigee as its users call it: a perigeed beside rank 0, a Communicator per member. Control
// traffic takes the same links as the data.
#include <atomic>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "bench/peers/peer.h"
#include "runtime/cli/perigeed_process.h"
#include "runtime/host/communicator.h"
#include "runtime/version.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

constexpr absl::Duration kStartDeadline = absl::Seconds(20);
constexpr absl::Duration kOpDeadline = absl::Minutes(5);
constexpr absl::Duration kCloseDeadline = absl::Seconds(2);
constexpr absl::Duration kLook = absl::Milliseconds(200);

class PerigeePeer : public Collective {
 public:
  PerigeePeer(std::unique_ptr<Communicator> communicator, std::optional<ChildProcess> coordinator)
      : coordinator_(std::move(coordinator)),
        communicator_(std::move(communicator)),
        watcher_([this] { Watch(); }) {}
  ~PerigeePeer() override {
    ending_ = true;
    watcher_.join();
  }

  std::string version() const override { return absl::StrCat("perigee ", kVersion); }
  bool in_place() const override { return false; }
  absl::Status AllReduce(absl::Span<const float> input, absl::Span<float> output) override;
  void Close() override { communicator_->Close(kCloseDeadline).IgnoreError(); }

 private:
  // Prints views, so that a comparison sees when this member learned of a fault.
  void Watch();

  std::optional<ChildProcess> coordinator_;  // outlives the communicator
  std::unique_ptr<Communicator> communicator_;
  std::atomic<bool> ending_ = false;
  std::thread watcher_;
};

absl::Status PerigeePeer::AllReduce(absl::Span<const float> input, absl::Span<float> output) {
  PERIGEE_ASSIGN_OR_RETURN(
      const OpId op, communicator_->Start({.input = {input.data(), input.size(), DType::kF32},
                                           .output = {output.data(), output.size(), DType::kF32}}));
  return communicator_->Wait(op, kOpDeadline).status();
}

void PerigeePeer::Watch() {
  while (!ending_) {
    const std::optional<MemberChange> change = communicator_->WaitForChange(kLook);
    if (!change) continue;
    const uint32_t node = communicator_->node().value();
    if (const auto* changed = std::get_if<ViewChanged>(&*change)) {
      const auto name = [](std::string* out, const Member& member) {
        absl::StrAppend(out, member.node.value());
      };
      PrintNotice(
          node, absl::StrCat("view of ", absl::StrJoin(changed->proposal.view.members, " ", name)));
    } else if (const auto* left = std::get_if<LeftView>(&*change)) {
      PrintNotice(node, absl::StrCat("out of the job: ", left->reason));
    }
  }
}

absl::StatusOr<std::unique_ptr<Collective>> MakePerigee(const PeerOptions& options) {
  const std::string coordinator = absl::StrCat(options.addresses[0], ":", options.port);
  std::optional<ChildProcess> daemon;
  if (options.rank == 0) {
    PERIGEE_ASSIGN_OR_RETURN(
        PerigeedProcess perigeed,
        StartPerigeed({SiblingProgram("perigeed"), "--listen", coordinator, "--insecure"},
                      "/dev/null", kStartDeadline));
    daemon = std::move(perigeed.child);
  }
  PERIGEE_ASSIGN_OR_RETURN(
      std::unique_ptr<Communicator> communicator,
      Communicator::Create({.node = NodeId(options.rank),
                            .coordinator = coordinator,
                            .insecure = true,
                            .start_members = options.nodes(),
                            .listen = absl::StrCat(options.address(), ":0"),
                            .default_link = {options.bytes_per_second, options.delay}}));
  return std::make_unique<PerigeePeer>(std::move(communicator), std::move(daemon));
}

}  // namespace
}  // namespace perigee

int main(int argc, char** argv) {
  return perigee::PeerMain(argc, argv, "peer-perigee", &perigee::MakePerigee);
}
