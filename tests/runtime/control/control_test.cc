// Real gRPC on loopback: the server with its coordinator, and members that answer as real ones do.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "proto/control.grpc.pb.h"
#include "runtime/control/admin_client.h"
#include "runtime/control/control_server.h"
#include "runtime/control/convert.h"
#include "tests/runtime/control/raw_stream.h"
#include "tests/runtime/control/test_member.h"

namespace perigee {
namespace {

using Seen = TestMember::Seen;

ControlServer::Options ServerOptions(const std::string& listen = "127.0.0.1:0") {
  ControlServer::Options options{.listen = listen, .insecure = true};
  // On a busy machine no member is lost unless a test takes it away.
  options.coordinator.suspect_after = absl::Minutes(10);
  return options;
}

std::unique_ptr<ControlServer> StartServer(const std::string& plan_text = "") {
  auto server = ControlServer::Start(ServerOptions(), ContactPlan(), plan_text);
  EXPECT_TRUE(server.ok()) << server.status();
  return *std::move(server);
}

using Members = std::vector<std::unique_ptr<TestMember>>;

Members FoundJob(const std::string& address, uint32_t count) {
  Members members;
  for (uint32_t node = 0; node < count; ++node) {
    members.push_back(std::make_unique<TestMember>(address, node, count));
  }
  for (auto& member : members) EXPECT_TRUE(member->WaitForEpoch(1));
  return members;
}

TEST(Control, ThreeMembersFoundAJobAndGoOnWithoutTheOneThatIsGone) {
  auto server = StartServer("dark {}");
  Members members = FoundJob(server->address(), 3);
  for (auto& member : members) {
    EXPECT_EQ(member->seen().view->size(), 3u);
    EXPECT_EQ(member->seen().welcome->plan_text, "dark {}");
  }
  members.pop_back();  // its stream closes; it does not come back within the grace
  for (auto& member : members) {
    ASSERT_TRUE(member->WaitForEpoch(2));
    EXPECT_FALSE(member->seen().view->Find(NodeId(2)));
  }
}

TEST(Control, MembersFindACoordinatorThatWasStartedAgain) {
  auto server = StartServer();
  const std::string address = server->address();
  Members members = FoundJob(address, 3);
  const JobId job = members[0]->seen().view->job;
  server->Stop();
  for (auto& member : members) {
    ASSERT_TRUE(member->WaitFor([](const Seen& seen) { return !seen.disconnects.empty(); }));
  }
  auto again = ControlServer::Start(ServerOptions(address), ContactPlan(), "");
  ASSERT_TRUE(again.ok()) << again.status();
  for (auto& member : members) {
    ASSERT_TRUE(member->WaitFor([](const Seen& seen) { return seen.connects >= 2; }));
  }
  AdminClient admin(address);
  absl::StatusOr<proto::StatusReply> status = admin.Status();
  while (status.ok() && status->nodes_connected() < 3) status = admin.Status();
  ASSERT_TRUE(status.ok()) << status.status();
  // It has learned the job from the members: the next loss makes a view of the same job.
  members.pop_back();
  for (auto& member : members) {
    ASSERT_TRUE(member->WaitForEpoch(2));
    EXPECT_EQ(member->seen().view->job, job);
  }
}

TEST(Control, AnotherVersionIsSentAway) {
  auto server = StartServer();
  TestMember old(server->address(), 0, 1, "0.0.9");
  ASSERT_TRUE(old.WaitFor([](const Seen& seen) { return seen.removed.has_value(); }));
  EXPECT_FALSE(old.seen().removed->may_rejoin);
  EXPECT_NE(old.seen().removed->reason.find("0.0.9"), std::string::npos)
      << old.seen().removed->reason;
  ASSERT_TRUE(old.WaitFor([](const Seen& seen) { return !seen.disconnects.empty(); }));
}

TEST(Control, BadMessagesCostTheirSenderItsStreamAndNobodyElseAnything) {
  auto server = StartServer();
  Members members = FoundJob(server->address(), 2);

  RawStream empty(server->address());
  EXPECT_TRUE(empty.Write(proto::MemberMessage()));
  const grpc::Status refused = empty.End();
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_NE(refused.error_message().find("malformed"), std::string::npos);

  RawStream long_one(server->address());
  proto::MemberMessage message;
  message.mutable_leave()->set_reason(std::string(kMessageBytesMax + 1, 'x'));
  long_one.Write(message);
  EXPECT_EQ(long_one.End().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);

  for (auto& member : members) EXPECT_TRUE(member->seen().disconnects.empty());
  EXPECT_EQ(AdminClient(server->address()).Status()->nodes_connected(), 2u);
}

TEST(Control, AMemberThatDoesNotReadIsCutOff) {
  // Every registration is answered with the plan, so that a few of them fill the queue.
  auto server = StartServer(std::string(kPlanTextBytesMax - 100, '#'));
  Members members = FoundJob(server->address(), 1);
  RawStream greedy(server->address());
  const proto::MemberMessage registration =
      ToProto(MemberMessage(Register{.node = NodeId(9),
                                     .incarnation = {.high = 9, .low = 9},
                                     .address = "127.0.0.1:1",
                                     .version = kVersion}));
  AdminClient admin(server->address());
  const auto connected = [&] { return admin.Status()->nodes_connected(); };
  EXPECT_TRUE(greedy.Write(registration));
  while (connected() < 2) {
  }
  while (connected() == 2) greedy.Write(registration);
  EXPECT_FALSE(greedy.End().ok());
  EXPECT_TRUE(members[0]->seen().disconnects.empty());
}

// A refused member is told why, and the stream ends; one that does not read that is cut off too.
TEST(Control, ARefusedMemberThatDoesNotReadIsCutOff) {
  auto server = StartServer(std::string(kPlanTextBytesMax - 100, '#'));
  RawStream silent(server->address());
  Register registration{.node = NodeId(9),
                        .incarnation = {.high = 9, .low = 9},
                        .address = "127.0.0.1:1",
                        .version = kVersion};
  AdminClient admin(server->address());
  EXPECT_TRUE(silent.Write(ToProto(MemberMessage(registration))));
  while (admin.Status()->nodes_connected() == 0) {
  }
  registration.version = "0.0.9";
  EXPECT_TRUE(silent.Write(ToProto(MemberMessage(registration))));
  while (admin.Status()->streams() > 0) {
  }
  EXPECT_FALSE(silent.End().ok());
}

TEST(Control, NoCoordinatorIsReportedAndDoesNotHoldAnybodyUp) {
  TestMember lonely("127.0.0.1:1", 0, 1);
  ASSERT_TRUE(lonely.WaitFor([](const Seen& seen) { return seen.disconnects.size() >= 2; }));
  const absl::Status status = lonely.seen().disconnects[0];
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(status.message(), "no coordinator at 127.0.0.1:1: is perigeed running there?");
  EXPECT_EQ(lonely.seen().connects, 0);
}

// Its connections are accepted by the kernel, as those of a stopped process are.
TEST(Control, ASilentCoordinatorIsReportedAndDoesNotHoldAnybodyUp) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(listen(fd, 16), 0);
  ASSERT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  const std::string where = absl::StrCat("127.0.0.1:", ntohs(address.sin_port));
  {
    TestMember member(where, 0, 1);
    ASSERT_TRUE(member.WaitFor([](const Seen& seen) { return !seen.disconnects.empty(); }));
    EXPECT_EQ(member.seen().connects, 0);
    member.client().Send(Leave{.reason = "nobody hears this"});
    // Its deadline is far away, but there is nothing to wait for.
    member.client().Stop(absl::Hours(1));
  }
  const auto status = AdminClient(where).Status();
  EXPECT_EQ(status.status().code(), absl::StatusCode::kDeadlineExceeded) << status.status();
  close(fd);
}

TEST(Control, WhatWasSentBeforeStoppingArrives) {
  auto server = StartServer();
  Members members = FoundJob(server->address(), 3);
  members[2]->client().Send(Leave{.reason = "the orbit decays"});
  members[2]->client().Stop(kTestDeadline);
  bool found = false;
  const absl::Status status =
      AdminClient(server->address()).Events(false, [&](const proto::Event& event) {
        found = found || event.text().find("the orbit decays") != std::string::npos;
      });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_TRUE(found);
}

TEST(Control, AClientMayBeStoppedFromItsOwnCallback) {
  std::mutex mutex;
  std::condition_variable changed;
  bool destroyed = false;
  std::unique_ptr<ControlClient> client;
  client = std::make_unique<ControlClient>(
      ControlClient::Options{.address = "127.0.0.1:1", .insecure = true},
      ControlClient::Callbacks{.on_disconnected = [&](const absl::Status&) {
        client.reset();
        std::lock_guard lock(mutex);
        destroyed = true;
        changed.notify_all();
      }});
  client->Start();
  std::unique_lock lock(mutex);
  EXPECT_TRUE(
      changed.wait_for(lock, absl::ToChronoSeconds(kTestDeadline), [&] { return destroyed; }));
}

TEST(Control, APortInUseAndOtherBadStartsAreOneLine) {
  auto server = StartServer();
  const auto second = ControlServer::Start(ServerOptions(server->address()), ContactPlan(), "");
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().message(),
            absl::StrCat(server->address(),
                         " is in use: stop the other perigeed or choose another --listen"));
  const auto nowhere = ControlServer::Start(ServerOptions("192.0.2.1:7000"), ContactPlan(), "");
  EXPECT_EQ(nowhere.status().code(), absl::StatusCode::kNotFound) << nowhere.status();
  const auto plan =
      ControlServer::Start(ServerOptions(), ContactPlan(), std::string(kPlanTextBytesMax + 1, '#'));
  EXPECT_EQ(plan.status().code(), absl::StatusCode::kInvalidArgument) << plan.status();
  ControlServer::Options secure = ServerOptions();
  secure.insecure = false;
  const auto tls = ControlServer::Start(secure, ContactPlan(), "");
  EXPECT_EQ(tls.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(Control, OperatorsSeeNodesViewsOpsAndEvents) {
  auto server = StartServer();
  AdminClient admin(server->address());
  EXPECT_FALSE(admin.Status()->has_view());
  EXPECT_NE(admin.Status()->waiting_reason(), "");

  Members members = FoundJob(server->address(), 3);
  members[0]->SendBeat();
  absl::StatusOr<proto::OpsReply> ops = admin.Ops();
  while (ops.ok() && ops->ops_size() == 0) ops = admin.Ops();
  ASSERT_TRUE(ops.ok()) << ops.status();
  EXPECT_EQ(ops->ops(0).op().waiting_for_size(), 2);

  const auto status = admin.Status();
  ASSERT_TRUE(status.ok()) << status.status();
  EXPECT_EQ(status->view().members_size(), 3);
  EXPECT_EQ(status->nodes_connected(), 3u);
  const auto nodes = admin.Nodes();
  ASSERT_EQ(nodes->nodes_size(), 3);
  EXPECT_EQ(nodes->nodes(1).node(), 1u);
  EXPECT_EQ(nodes->nodes(1).votes(), 1u);
  const auto situation = admin.Situation();
  ASSERT_TRUE(situation.ok()) << situation.status();
  ASSERT_EQ(situation->members_size(), 3);
  EXPECT_TRUE(situation->members(0).in_view());
  EXPECT_EQ(situation->members(0).report().ops_size(), 1);
  EXPECT_EQ(admin.Plan()->text(), "");
  const auto views = admin.Views();
  ASSERT_EQ(views->views_size(), 1);
  EXPECT_EQ(views->views(0).members_size(), 3);

  std::vector<std::string> kinds;
  EXPECT_TRUE(
      admin.Events(false, [&](const proto::Event& event) { kinds.push_back(event.kind()); }).ok());
  EXPECT_NE(std::find(kinds.begin(), kinds.end(), "registered"), kinds.end());
  EXPECT_NE(std::find(kinds.begin(), kinds.end(), "view"), kinds.end());
}

TEST(Control, OperatorsEvictANode) {
  auto server = StartServer();
  Members members = FoundJob(server->address(), 3);
  AdminClient admin(server->address());
  EXPECT_EQ(admin.Evict(NodeId(77), false, "test").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(admin.Evict(NodeId(1), true, "test").status().code(),
            absl::StatusCode::kFailedPrecondition)
      << "it is heard";
  const auto evicted = admin.Evict(NodeId(1), false, "test");
  ASSERT_TRUE(evicted.ok()) << evicted.status();
  EXPECT_EQ(*evicted, "node 1 is lost: evicted by somebody at 127.0.0.1 (test)");
  ASSERT_TRUE(members[0]->WaitForEpoch(2));
  EXPECT_FALSE(members[0]->seen().view->Find(NodeId(1)));
  EXPECT_TRUE(members[1]->WaitFor([](const Seen& seen) { return seen.removed.has_value(); }));
}

TEST(Control, OperatorsDrainANodeAndLetItInAgain) {
  auto server = StartServer();
  Members members = FoundJob(server->address(), 3);
  AdminClient admin(server->address());
  EXPECT_EQ(admin.Drain(NodeId(77), std::nullopt, "test").status().code(),
            absl::StatusCode::kNotFound);
  const auto later = admin.Drain(NodeId(1), absl::FromUnixSeconds(4'000'000'000), "test");
  ASSERT_TRUE(later.ok()) << later.status();
  EXPECT_EQ(*later, "node 1 is active and leaves at 2096-10-02T07:06:40Z");
  const auto drained = admin.Drain(NodeId(2), std::nullopt, "test");
  ASSERT_TRUE(drained.ok()) << drained.status();
  ASSERT_TRUE(members[0]->WaitForEpoch(2));
  EXPECT_FALSE(members[0]->seen().view->Find(NodeId(2)));
  const auto back = admin.Undrain(NodeId(2), "test");
  EXPECT_TRUE(back.ok()) << back.status();
}

TEST(Control, FollowersSeeWhatHappensAndLearnThatTheCoordinatorEnds) {
  auto server = StartServer();
  AdminClient admin(server->address());
  std::unique_ptr<TestMember> late;
  bool first = true, seen = false;
  TestMember early(server->address(), 0, 0);
  const absl::Status status = admin.Events(true, [&](const proto::Event& event) {
    if (first) late = std::make_unique<TestMember>(server->address(), 5, 0);
    first = false;
    if (event.node() == 5 && !seen) {
      seen = true;
      server->Stop();
    }
  });
  EXPECT_TRUE(seen);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
}

TEST(Control, OperatorsOfAnotherVersionAreToldSo) {
  auto server = StartServer();
  auto stub = proto::Admin::NewStub(
      grpc::CreateChannel(server->address(), grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  proto::AdminRequest request;
  request.set_version("0.9.9");
  proto::StatusReply reply;
  const grpc::Status status = stub->Status(&context, request, &reply);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_NE(status.error_message().find("0.9.9"), std::string::npos) << status.error_message();
}

}  // namespace
}  // namespace perigee
