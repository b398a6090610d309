#include "runtime/cli/metrics_http.h"

#include <prometheus/collectable.h>
#include <prometheus/exposer.h>
#include <prometheus/metric_family.h>

#include <exception>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/control/listen_address.h"
#include "runtime/control/metrics.h"

namespace perigee {
namespace {

prometheus::MetricFamily ToFamily(Metric metric) {
  prometheus::MetricFamily family;
  family.name = std::move(metric.name);
  family.help = std::move(metric.help);
  family.type = metric.counter ? prometheus::MetricType::Counter : prometheus::MetricType::Gauge;
  for (const MetricSample& sample : metric.samples) {
    prometheus::ClientMetric& out = family.metric.emplace_back();
    for (const auto& [name, value] : sample.labels) out.label.push_back({name, value});
    out.counter.value = metric.counter ? sample.value : 0;
    out.gauge.value = metric.counter ? 0 : sample.value;
  }
  return family;
}

// On a thread of the exposer's.
class Collector final : public prometheus::Collectable {
 public:
  explicit Collector(const ControlServer& server) : server_(server) {}
  std::vector<prometheus::MetricFamily> Collect() const override {
    std::vector<prometheus::MetricFamily> families;
    for (Metric& metric : server_.Metrics()) families.push_back(ToFamily(std::move(metric)));
    return families;
  }

 private:
  const ControlServer& server_;
};

}  // namespace

struct MetricsHttp::State {
  std::string address;
  std::shared_ptr<Collector> collector;  // the exposer takes nothing else
  std::unique_ptr<prometheus::Exposer> exposer;
};

absl::StatusOr<std::unique_ptr<MetricsHttp>> MetricsHttp::Start(const std::string& address,
                                                                const ControlServer& server) {
  if (absl::Status free = CheckCanListen(address, "--http"); !free.ok()) return free;
  auto state = std::make_unique<State>();
  state->collector = std::make_shared<Collector>(server);
  // The one thing of it that throws.
  try {
    state->exposer = std::make_unique<prometheus::Exposer>(address, kThreads);
  } catch (const std::exception& error) {
    return absl::UnavailableError(absl::StrCat("cannot serve HTTP on ", address, ": ", error.what(),
                                               ": choose another --http"));
  }
  state->exposer->RegisterCollectable(state->collector);
  const std::vector<int> ports = state->exposer->GetListeningPorts();
  const std::string host = address.substr(0, address.rfind(':'));
  state->address = ports.empty() ? address : absl::StrCat(host, ":", ports[0]);
  return std::unique_ptr<MetricsHttp>(new MetricsHttp(std::move(state)));
}

MetricsHttp::MetricsHttp(std::unique_ptr<State> state) : state_(std::move(state)) {}

MetricsHttp::~MetricsHttp() = default;

const std::string& MetricsHttp::address() const { return state_->address; }

}  // namespace perigee
