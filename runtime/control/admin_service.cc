#include "runtime/control/admin_service.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "runtime/control/convert.h"
#include "runtime/control/situation_reply.h"
#include "runtime/control/tls.h"
#include "runtime/situation.h"
#include "runtime/version.h"

namespace perigee {
namespace {

absl::Status CheckVersion(absl::string_view version) {
  if (version == kVersion) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("this program is version '", version.substr(0, kVersionBytesMax),
                   "', perigeed is ", kVersion, ": use the same version of both"));
}

absl::Status Busy() {
  return absl::ResourceExhaustedError("perigeed has too many requests waiting: try again later");
}

// Not Unavailable, which says that there is no coordinator.
absl::Status NotDurable(const absl::Status& committed) {
  return absl::AbortedError(absl::StrCat(
      "perigeed ends and may have forgotten this when it is started again: ", committed.message()));
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
      ShowLater(coordinator);
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
    ShowLater(coordinator);
  }
  // What happened in this turn is not on disk yet.
  void ShowLater(Coordinator& coordinator) {
    loop_.AfterCommit([this, &coordinator](const absl::Status& committed) {
      if (!committed.ok()) return FinishOnce(ToGrpc(NotDurable(committed)));
      OnEvents(coordinator);
    });
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

class RefusedEvents final : public grpc::ServerWriteReactor<proto::Event> {
 public:
  explicit RefusedEvents(const absl::Status& why) { Finish(ToGrpc(why)); }
  void OnDone() override { delete this; }
};

// Who acts: by the certificate, and what the program says of its user.
std::string WhoActs(const grpc::ServerContextBase& context, const std::string& says) {
  return absl::StrCat(ToString(PeerOf(context)), " (",
                      absl::CHexEscape(says.substr(0, kAddressBytesMax)), ")");
}

// Every action of an operator is remembered with what came of it.
std::string AuditText(const std::string& who, absl::string_view what, const absl::Status& result) {
  return absl::StrCat(who, ": ", what, ": ",
                      result.ok() ? "done" : absl::StrCat("not done: ", result.message()));
}

std::string DrainText(absl::Time now, NodeId node, const Coordinator& coordinator) {
  const auto it = coordinator.state().members.find(node);
  std::string text = absl::StrCat("node ", node.value());
  if (it == coordinator.state().members.end()) return text;
  absl::StrAppend(&text, " is ", Name(it->second.state));
  if (it->second.drain_requested && it->second.drain_at > coordinator.state().Calendar(now)) {
    absl::StrAppend(
        &text, " and leaves at ",
        absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", it->second.drain_at, absl::UTCTimeZone()));
    return text;
  }
  if (!it->second.reason.empty()) absl::StrAppend(&text, ": ", it->second.reason);
  return text;
}

}  // namespace

AdminService::AdminService(CoordinatorLoop& loop, Gate& gate, CoordinatorInfo info)
    : loop_(loop), gate_(gate), info_(std::move(info)) {}

template <typename Request>
grpc::ServerUnaryReactor* AdminService::Ask(grpc::CallbackServerContext* context, Rpc rpc,
                                            const Request& request, Answer answer) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  absl::Status may = gate_.Admit(rpc, *context, request.ByteSizeLong()).status();
  if (may.ok()) may = CheckVersion(request.version());
  if (!may.ok()) {
    reactor->Finish(ToGrpc(may));
    return reactor;
  }
  const bool taken = loop_.Request(
      [this, reactor, answer = std::move(answer)](absl::Time now, Coordinator& coordinator) {
        const absl::Status status = answer(now, coordinator);
        loop_.AfterCommit([reactor, status](const absl::Status& committed) {
          reactor->Finish(ToGrpc(committed.ok() ? status : NotDurable(committed)));
        });
      });
  if (!taken) reactor->Finish(ToGrpc(Busy()));
  return reactor;
}

grpc::ServerUnaryReactor* AdminService::Status(grpc::CallbackServerContext* context,
                                               const proto::AdminRequest* request,
                                               proto::StatusReply* reply) {
  return Ask(context, Rpc::kStatus, *request, [=, this](absl::Time now, Coordinator& coordinator) {
    *reply = StatusOf(now, coordinator, info_);
    reply->set_streams(static_cast<uint32_t>(loop_.stream_count()));
    SetRefusals(gate_.refusals()->counts(), reply);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* AdminService::Nodes(grpc::CallbackServerContext* context,
                                              const proto::AdminRequest* request,
                                              proto::NodesReply* reply) {
  return Ask(context, Rpc::kNodes, *request, [=](absl::Time now, Coordinator& coordinator) {
    *reply = NodesOf(now, coordinator);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* AdminService::Views(grpc::CallbackServerContext* context,
                                              const proto::AdminRequest* request,
                                              proto::ViewsReply* reply) {
  return Ask(context, Rpc::kViews, *request, [=](absl::Time now, Coordinator& coordinator) {
    *reply = ViewsOf(now, coordinator);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* AdminService::Ops(grpc::CallbackServerContext* context,
                                            const proto::AdminRequest* request,
                                            proto::OpsReply* reply) {
  return Ask(context, Rpc::kOps, *request, [=](absl::Time now, Coordinator& coordinator) {
    *reply = OpsOf(now, coordinator);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* AdminService::Situation(grpc::CallbackServerContext* context,
                                                  const proto::AdminRequest* request,
                                                  proto::SituationReply* reply) {
  return Ask(context, Rpc::kSituation, *request, [=](absl::Time now, Coordinator& coordinator) {
    *reply = ToProto(SituationOf(now, coordinator));
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* AdminService::Plan(grpc::CallbackServerContext* context,
                                             const proto::AdminRequest* request,
                                             proto::PlanReply* reply) {
  return Ask(context, Rpc::kPlan, *request, [=](absl::Time now, Coordinator& coordinator) {
    reply->set_now_ns(absl::ToUnixNanos(coordinator.state().Calendar(now)));
    reply->set_text(coordinator.plan_text());
    return absl::OkStatus();
  });
}

grpc::ServerWriteReactor<proto::Event>* AdminService::Events(grpc::CallbackServerContext* context,
                                                             const proto::EventsRequest* request) {
  const absl::Status may = gate_.Admit(Rpc::kEvents, *context, request->ByteSizeLong()).status();
  if (!may.ok()) return new RefusedEvents(may);
  return new EventStream(loop_, *request);
}

grpc::ServerUnaryReactor* AdminService::Drain(grpc::CallbackServerContext* context,
                                              const proto::DrainRequest* request,
                                              proto::DrainReply* reply) {
  const std::string who = WhoActs(*context, request->who());
  return Ask(context, Rpc::kDrain, *request, [=](absl::Time now, Coordinator& coordinator) {
    const NodeId node(request->node());
    const absl::Time at = request->has_at_ns() ? absl::FromUnixNanos(request->at_ns())
                                               : coordinator.state().Calendar(now);
    absl::Status drained = coordinator.Drain(now, node, at, who);
    coordinator.Audit(now, node, AuditText(who, "drain", drained));
    if (drained.ok()) reply->set_text(DrainText(now, node, coordinator));
    return drained;
  });
}

grpc::ServerUnaryReactor* AdminService::Undrain(grpc::CallbackServerContext* context,
                                                const proto::UndrainRequest* request,
                                                proto::DrainReply* reply) {
  const std::string who = WhoActs(*context, request->who());
  return Ask(context, Rpc::kUndrain, *request, [=](absl::Time now, Coordinator& coordinator) {
    const NodeId node(request->node());
    absl::Status undrained = coordinator.Undrain(now, node, who);
    coordinator.Audit(now, node, AuditText(who, "undrain", undrained));
    if (undrained.ok()) reply->set_text(DrainText(now, node, coordinator));
    return undrained;
  });
}

grpc::ServerUnaryReactor* AdminService::Evict(grpc::CallbackServerContext* context,
                                              const proto::EvictRequest* request,
                                              proto::DrainReply* reply) {
  const std::string who = WhoActs(*context, request->who());
  return Ask(context, Rpc::kEvict, *request, [=](absl::Time now, Coordinator& coordinator) {
    const NodeId node(request->node());
    absl::Status evicted = coordinator.Evict(now, node, request->force(), who);
    coordinator.Audit(now, node,
                      AuditText(who, request->force() ? "evict by force" : "evict", evicted));
    if (evicted.ok()) reply->set_text(DrainText(now, node, coordinator));
    return evicted;
  });
}

}  // namespace perigee
