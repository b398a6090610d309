// What operators ask of the coordinator, as a gRPC service. Every answer is made on the
// coordinator's thread, of those whom the gate admits, and given when what it rests on is on disk;
// what they command is told to the audit log.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>

#include "proto/control.grpc.pb.h"
#include "runtime/control/admin_reply.h"
#include "runtime/control/coordinator_loop.h"
#include "runtime/control/gate.h"

namespace perigee {

class AdminService final : public proto::Admin::CallbackService {
 public:
  static constexpr size_t kFollowersMax = 64;  // of `perigeectl events --follow`

  // `loop` and `gate` outlive it.
  AdminService(CoordinatorLoop& loop, Gate& gate, CoordinatorInfo info);

  grpc::ServerUnaryReactor* Status(grpc::CallbackServerContext* context,
                                   const proto::AdminRequest* request,
                                   proto::StatusReply* reply) override;
  grpc::ServerUnaryReactor* Nodes(grpc::CallbackServerContext* context,
                                  const proto::AdminRequest* request,
                                  proto::NodesReply* reply) override;
  grpc::ServerUnaryReactor* Views(grpc::CallbackServerContext* context,
                                  const proto::AdminRequest* request,
                                  proto::ViewsReply* reply) override;
  grpc::ServerUnaryReactor* Ops(grpc::CallbackServerContext* context,
                                const proto::AdminRequest* request,
                                proto::OpsReply* reply) override;
  grpc::ServerUnaryReactor* Situation(grpc::CallbackServerContext* context,
                                      const proto::AdminRequest* request,
                                      proto::SituationReply* reply) override;
  grpc::ServerUnaryReactor* Plan(grpc::CallbackServerContext* context,
                                 const proto::AdminRequest* request,
                                 proto::PlanReply* reply) override;
  grpc::ServerWriteReactor<proto::Event>* Events(grpc::CallbackServerContext* context,
                                                 const proto::EventsRequest* request) override;
  grpc::ServerUnaryReactor* Drain(grpc::CallbackServerContext* context,
                                  const proto::DrainRequest* request,
                                  proto::DrainReply* reply) override;
  grpc::ServerUnaryReactor* Undrain(grpc::CallbackServerContext* context,
                                    const proto::UndrainRequest* request,
                                    proto::DrainReply* reply) override;
  grpc::ServerUnaryReactor* Evict(grpc::CallbackServerContext* context,
                                  const proto::EvictRequest* request,
                                  proto::DrainReply* reply) override;

 private:
  using Answer = std::function<absl::Status(absl::Time now, Coordinator& coordinator)>;
  template <typename Request>
  grpc::ServerUnaryReactor* Ask(grpc::CallbackServerContext* context, Rpc rpc,
                                const Request& request, Answer answer);

  CoordinatorLoop& loop_;
  Gate& gate_;
  CoordinatorInfo info_;
};

}  // namespace perigee
