// Gloo as its users call it: `gloo::allreduce` with the ring (what torch.distributed uses), or the
// older halving-doubling class, which is the faster of the two over long links.
#include <gloo/allreduce.h>
#include <gloo/allreduce_halving_doubling.h>
#include <gloo/config.h>
#include <gloo/math.h>
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/file_store.h>
#include <gloo/transport/tcp/device.h>

#include <exception>

#include "absl/strings/str_cat.h"
#include "bench/peers/peer.h"

namespace perigee {
namespace {

// Gloo throws; nothing leaves this file.
template <typename F>
absl::Status Guarded(F function) {
  try {
    function();
  } catch (const std::exception& error) {
    return absl::AbortedError(error.what());
  }
  return absl::OkStatus();
}

std::shared_ptr<gloo::Context> Connect(const PeerOptions& options) {
  gloo::transport::tcp::attr attributes(options.address().c_str());
  std::shared_ptr<gloo::transport::Device> device = gloo::transport::tcp::CreateDevice(attributes);
  gloo::rendezvous::FileStore store(options.rendezvous);
  auto context = std::make_shared<gloo::rendezvous::Context>(options.rank, options.nodes());
  context->connectFullMesh(store, device);
  return context;
}

std::string Version() {
  return absl::StrCat("gloo ", GLOO_VERSION_MAJOR, ".", GLOO_VERSION_MINOR, ".",
                      GLOO_VERSION_PATCH);
}

class GlooRing : public Collective {
 public:
  explicit GlooRing(std::shared_ptr<gloo::Context> context) : context_(std::move(context)) {}
  std::string version() const override { return Version(); }
  bool in_place() const override { return false; }
  absl::Status AllReduce(absl::Span<const float> input, absl::Span<float> output) override {
    return Guarded([&] {
      gloo::AllreduceOptions call(context_);
      call.setAlgorithm(gloo::AllreduceOptions::Algorithm::RING);
      call.setInput(const_cast<float*>(input.data()), input.size());
      call.setOutput(output.data(), output.size());
      call.setReduceFunction(
          static_cast<void (*)(void*, const void*, const void*, size_t)>(&gloo::sum<float>));
      gloo::allreduce(call);
    });
  }

 private:
  std::shared_ptr<gloo::Context> context_;
};

class GlooHalvingDoubling : public Collective {
 public:
  explicit GlooHalvingDoubling(std::shared_ptr<gloo::Context> context)
      : context_(std::move(context)) {}
  std::string version() const override { return Version(); }
  bool in_place() const override { return true; }
  absl::Status Prepare(absl::Span<float> input, absl::Span<float> output) override {
    return Guarded([&] {
      algorithm_ = std::make_unique<gloo::AllreduceHalvingDoubling<float>>(
          context_, std::vector<float*>{output.data()}, static_cast<int>(output.size()));
    });
  }
  absl::Status AllReduce(absl::Span<const float>, absl::Span<float>) override {
    return Guarded([&] { algorithm_->run(); });
  }

 private:
  std::shared_ptr<gloo::Context> context_;
  std::unique_ptr<gloo::AllreduceHalvingDoubling<float>> algorithm_;
};

absl::StatusOr<std::unique_ptr<Collective>> MakeGloo(const PeerOptions& options) {
  if (options.rendezvous.empty()) {
    return absl::InvalidArgumentError("--rendezvous: gloo needs a folder that all members see");
  }
  std::shared_ptr<gloo::Context> context;
  const absl::Status connected = Guarded([&] { context = Connect(options); });
  if (!connected.ok()) return connected;
  if (options.algorithm == "ring") return std::make_unique<GlooRing>(context);
  if (options.algorithm == "halving-doubling")
    return std::make_unique<GlooHalvingDoubling>(context);
  return absl::InvalidArgumentError(
      absl::StrCat("--algorithm ", options.algorithm, ": ring or halving-doubling"));
}

}  // namespace
}  // namespace perigee

int main(int argc, char** argv) {
  return perigee::PeerMain(argc, argv, "peer-gloo", &perigee::MakeGloo);
}
