// Sums one vector over the members of a job: the example of the README, as a program of its own.
//
//   perigeectl cert init --out certs
//   perigeed --certs certs & consumer 0 127.0.0.1:7000 certs & consumer 1 127.0.0.1:7000 certs
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "runtime/host/communicator.h"
#include "transport/base/status.h"

namespace {

absl::Status Run(perigee::NodeId node, const char* coordinator, const char* certs) {
  perigee::CommunicatorOptions options;
  options.node = node;
  options.coordinator = coordinator;
  options.certs = certs;
  options.start_members = 2;
  PERIGEE_ASSIGN_OR_RETURN(auto comm, perigee::Communicator::Create(options));

  std::vector<float> gradients(1 << 20, 1.0f + node.value());
  const perigee::Buffer buffer{gradients.data(), gradients.size(), perigee::DType::kF32};
  PERIGEE_RETURN_IF_ERROR(comm->AllReduce(buffer, perigee::ReduceOp::kSum, absl::Seconds(30)));

  std::printf("node %u: the sum is %.1f\n", node.value(), gradients.back());
  return comm->Close(absl::Seconds(10));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: consumer NODE COORDINATOR CERTS\n");
    return 2;
  }
  const auto node = perigee::NodeId(static_cast<uint32_t>(std::strtoul(argv[1], nullptr, 10)));
  const absl::Status status = Run(node, argv[2], argv[3]);
  if (!status.ok()) std::fprintf(stderr, "consumer: %s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
