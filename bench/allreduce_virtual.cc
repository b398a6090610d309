#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "bench/allreduce.h"
#include "bench/allreduce_data.h"
#include "runtime/sim/cluster.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

constexpr absl::Duration kHang = absl::Hours(1);  // of virtual time

// One member: calls the next allreduce when the last one is there.
class BenchApplication : public Application {
 public:
  BenchApplication(const AllReduceOptions& options, NodeId self, Node& node,
                   AllReduceMember& member)
      : options_(options), node_(node), member_(member), data_(options, self.value()) {}

  void OnEvent(absl::Time now, const NodeEvent& event) override {
    if (std::holds_alternative<ViewChanged>(event) && !started_) {
      started_ = true;
      StartNext(now);
    }
    const auto* finished = std::get_if<OpFinished>(&event);
    if (finished == nullptr) return;
    status_ = finished->status;
    if (!status_.ok()) return;
    member_.seconds.push_back(absl::ToDoubleSeconds(now - begin_));
    data_.Check(iteration_);
    ++iteration_;
    StartNext(now);
  }

  bool done() const { return iteration_ == options_.iterations || !status_.ok(); }
  const absl::Status& status() const { return status_; }

 private:
  void StartNext(absl::Time now) {
    if (iteration_ == options_.iterations) {
      const SessionCounters counters = node_.endpoint().CountersTotal();
      member_.digest = data_.digest();
      member_.oracle_equal = data_.oracle_equal();
      member_.wire_bytes = counters.wire_bytes_sent;
      member_.retransmitted_bytes = counters.retransmitted_bytes;
      return;
    }
    begin_ = now;
    status_ = node_.Start(now, data_.Request(iteration_)).status();
  }

  AllReduceOptions options_;
  Node& node_;
  AllReduceMember& member_;
  AllReduceData data_;
  bool started_ = false;
  uint64_t iteration_ = 0;
  absl::Time begin_;
  absl::Status status_;
};

}  // namespace

absl::StatusOr<std::vector<AllReduceMember>> RunAllReduceVirtual(const AllReduceOptions& options) {
  std::vector<AllReduceMember> members(options.nodes);
  ClusterOptions cluster_options{
      .node_count = options.nodes, .seed = options.seed, .channel = options.channel()};
  cluster_options.configure = [&](NodeOptions& node) { node.default_link = options.link(); };
  std::vector<BenchApplication*> applications;
  PERIGEE_ASSIGN_OR_RETURN(const std::unique_ptr<Cluster> cluster,
                           Cluster::Create(cluster_options, [&](NodeId self, Node& node) {
                             auto application = std::make_unique<BenchApplication>(
                                 options, self, node, members[self.value()]);
                             applications.push_back(application.get());
                             return application;
                           }));
  for (uint32_t i = 0; i < options.nodes; ++i) cluster->StartNode(NodeId(i));
  PERIGEE_ASSIGN_OR_RETURN(const bool done, cluster->RunUntil(Cluster::Start() + kHang, [&] {
    bool all = true;
    for (BenchApplication* application : applications) {
      all &= application->done();
    }
    return all;
  }));
  for (BenchApplication* application : applications) {
    PERIGEE_RETURN_IF_ERROR(application->status());
  }
  if (!done) {
    return absl::DeadlineExceededError(absl::StrCat(
        "not finished after ", absl::FormatDuration(kHang), " of virtual time: give fewer bytes"));
  }
  return members;
}

}  // namespace perigee
