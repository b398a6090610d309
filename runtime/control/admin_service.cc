#include "runtime/control/admin_service.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/control/convert.h"
#include "runtime/version.h"

namespace perigee {
namespace {

grpc::Status ToGrpc(const absl::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

absl::Status CheckVersion(absl::string_view version) {
  if (version == kVersion) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("this program is version '", version.substr(0, kVersionBytesMax),
                   "', perigeed is ", kVersion, ": use the same version of both"));
}

absl::Status Busy() {
  return absl::ResourceExhaustedError("perigeed has too many requests waiting: try again later");
}

// One reader of the events. The coordinator's own list is its queue: a reader that is too slow
// misses the oldest ones and sees it from the numbers. Runs on the loop's thread, as AttachStream
// does.
class EventStream final : public grpc::ServerWriteReactor<proto::Event>,
                          public CoordinatorLoop::Watcher {
 public:
  EventStream(CoordinatorLoop& loop, const proto::EventsRequest& request)
      : loop_(loop), follow_(request.follow()), version_(CheckVersion(request.version())) {
    loop_.Post([this](absl::Time, Coordinator& coordinator) { Begin(coordinator); });
  }

  void OnWriteDone(bool ok) override {
    loop_.Post([this, ok](absl::Time, Coordinator& coordinator) {
      writing_ = false;
      if (!ok) return FinishOnce(grpc::Status(grpc::StatusCode::UNAVAILABLE, "write failed"));
      OnEvents(coordinator);
    });
  }
  void OnCancel() override {
    loop_.Post([this](absl::Time, Coordinator&) { FinishOnce(grpc::Status::CANCELLED); });
  }
  void OnDone() override {
    loop_.Post([this](absl::Time, Coordinator&) {
      loop_.RemoveWatcher(this);
      delete this;
    });
  }

  void OnEvents(Coordinator& coordinator) override {
    if (writing_ || finished_) return;
    const std::deque<CoordinatorEvent>& events = coordinator.events();
    auto next = std::upper_bound(
        events.begin(), events.end(), last_,
        [](uint64_t number, const CoordinatorEvent& event) { return number < event.number; });
    if (next != events.end()) {
      last_ = next->number;
      outgoing_ = ToProto(*next);
      writing_ = true;
      StartWrite(&outgoing_);
    } else if (!follow_) {
      FinishOnce(grpc::Status::OK);
    }
  }
  void Close() override {
    FinishOnce(grpc::Status(grpc::StatusCode::UNAVAILABLE, "perigeed is stopping"));
  }

 private:
  void Begin(Coordinator& coordinator) {
    const bool full = loop_.watcher_count() >= AdminService::kFollowersMax;
    loop_.AddWatcher(this);
    if (!version_.ok()) return FinishOnce(ToGrpc(version_));
    if (full) return FinishOnce(ToGrpc(Busy()));
    OnEvents(coordinator);
  }
  void FinishOnce(const grpc::Status& status) {
    if (finished_) return;
    finished_ = true;
    Finish(status);
  }

  CoordinatorLoop& loop_;
  bool follow_;
  absl::Status version_;
  uint64_t last_ = 0;
  bool writing_ = false;
  bool finished_ = false;
  proto::Event outgoing_;
};

std::string DrainText(absl::Time now, NodeId node, const Coordinator& coordinator) {
  const auto it = coordinator.state().members.find(node);
  std::string text = absl::StrCat("node ", node.value());
  if (it == coordinator.state().members.end()) return text;
  absl::StrAppend(&text, " is ", Name(it->second.state));
  if (it->second.drain_requested && it->second.drain_at > now) {
    absl::StrAppend(
        &text, " and leaves at ",
        absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", it->second.drain_at, absl::UTCTimeZone()));
    return text;
  }
  if (!it->second.reason.empty()) absl::StrAppend(&text, ": ", it->second.reason);
  return text;
}

}  // namespace

AdminService::AdminService(CoordinatorLoop& loop, CoordinatorInfo info)
    : loop_(loop), info_(std::move(info)) {}

grpc::ServerUnaryReactor* AdminService::Ask(grpc::CallbackServerContext* context,
                                            const std::string& version, Answer answer) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  if (absl::Status same = CheckVersion(version); !same.ok()) {
    reactor->Finish(ToGrpc(same));
    return reactor;
  }
  const bool taken = loop_.Request(
      [reactor, answer = std::move(answer)](absl::Time now, Coordinator& coordinator) {
        reactor->Finish(ToGrpc(answer(now, coordinator)));
      });
  if (!taken) reactor->Finish(ToGrpc(Busy()));
  return reactor;
}

grpc::ServerUnaryReactor* AdminService::Status(grpc::CallbackServerContext* context,
                                               const proto::AdminRequest* request,
                                               proto::StatusReply* reply) {
  return Ask(context, request->version(), [=, this](absl::Time now, Coordinator& coordinator) {
    *reply = StatusOf(now, coordinator, info_);
    reply->set_streams(static_cast<uint32_t>(loop_.stream_count()));
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* AdminService::Nodes(grpc::CallbackServerContext* context,
                                              const proto::AdminRequest* request,
                                              proto::NodesReply* reply) {
  return Ask(context, request->version(), [=](absl::Time now, Coordinator& coordinator) {
    *reply = NodesOf(now, coordinator);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* AdminService::Views(grpc::CallbackServerContext* context,
                                              const proto::AdminRequest* request,
                                              proto::ViewsReply* reply) {
  return Ask(context, request->version(), [=](absl::Time now, Coordinator& coordinator) {
    *reply = ViewsOf(now, coordinator);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* AdminService::Ops(grpc::CallbackServerContext* context,
                                            const proto::AdminRequest* request,
                                            proto::OpsReply* reply) {
  return Ask(context, request->version(), [=](absl::Time now, Coordinator& coordinator) {
    *reply = OpsOf(now, coordinator);
    return absl::OkStatus();
  });
}

grpc::ServerWriteReactor<proto::Event>* AdminService::Events(grpc::CallbackServerContext* context,
                                                             const proto::EventsRequest* request) {
  return new EventStream(loop_, *request);
}

grpc::ServerUnaryReactor* AdminService::Drain(grpc::CallbackServerContext* context,
                                              const proto::DrainRequest* request,
                                              proto::DrainReply* reply) {
  return Ask(context, request->version(), [=](absl::Time now, Coordinator& coordinator) {
    const NodeId node(request->node());
    const absl::Time at = request->has_at_ns() ? absl::FromUnixNanos(request->at_ns()) : now;
    absl::Status drained =
        coordinator.Drain(now, node, at, request->who().substr(0, kAddressBytesMax));
    if (drained.ok()) reply->set_text(DrainText(now, node, coordinator));
    return drained;
  });
}

grpc::ServerUnaryReactor* AdminService::Undrain(grpc::CallbackServerContext* context,
                                                const proto::UndrainRequest* request,
                                                proto::DrainReply* reply) {
  return Ask(context, request->version(), [=](absl::Time now, Coordinator& coordinator) {
    const NodeId node(request->node());
    absl::Status undrained =
        coordinator.Undrain(now, node, request->who().substr(0, kAddressBytesMax));
    if (undrained.ok()) reply->set_text(DrainText(now, node, coordinator));
    return undrained;
  });
}

}  // namespace perigee
