// Intruders at a coordinator with mTLS, over real gRPC on loopback. Each is refused, counted by its
// cause and told to the audit log, while a member with an open stream goes on undisturbed.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "proto/control.grpc.pb.h"
#include "runtime/control/admin_client.h"
#include "runtime/control/certificate_authority.h"
#include "runtime/control/control_server.h"
#include "runtime/control/convert.h"
#include "tests/runtime/control/raw_stream.h"
#include "tests/runtime/control/test_member.h"

namespace perigee {
namespace {

using grpc::StatusCode;

Lifetime Valid() { return {absl::Now() - absl::Hours(1), absl::Now() + absl::Hours(1)}; }
Lifetime Expired() { return {absl::Now() - absl::Hours(2), absl::Now() - absl::Hours(1)}; }

// What somebody shows who trusts `trusted` and was certified by `by`.
Credentials Show(const CertificateAuthority& by, Role role, const CertificateAuthority& trusted,
                 const Lifetime& lifetime = Valid()) {
  const auto made = by.Issue(role, absl::StrCat("test ", Name(role)), lifetime);
  EXPECT_TRUE(made.ok()) << made.status();
  return {.role = role,
          .ca_pem = trusted.own().certificate_pem,
          .certificate_pem = made->certificate_pem,
          .key_pem = made->key_pem,
          .join_key = std::string(kJoinKeyBytes, 'k')};
}

class Security : public testing::Test {
 protected:
  void Start(const ControlLimits& limits = {}) {
    ControlServer::Options options{.listen = "127.0.0.1:0",
                                   .credentials = Show(mine_, Role::kCoordinator, mine_),
                                   .limits = limits};
    // On a busy machine no member is lost unless a test takes it away.
    options.coordinator.suspect_after = absl::Minutes(10);
    auto server = ControlServer::Start(options, ContactPlan(), "");
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    bystander_ =
        std::make_unique<TestMember>(address(), 0, 1, kVersion, Show(mine_, Role::kMember, mine_));
    ASSERT_TRUE(bystander_->WaitForEpoch(1));
    operator_ = std::make_unique<AdminClient>(address(), Show(mine_, Role::kOperator, mine_));
  }
  const std::string& address() const { return server_->address(); }

  // The member has the stream that it had, and what it says arrives.
  void ExpectBystanderUndisturbed() {
    EXPECT_EQ(bystander_->seen().connects, 1);
    EXPECT_TRUE(bystander_->seen().disconnects.empty());
    bystander_->SendBeat(++step_);
    auto nodes = operator_->Nodes();
    while (nodes.ok() && nodes->nodes(0).step() != step_) nodes = operator_->Nodes();
    EXPECT_TRUE(nodes.ok()) << nodes.status();
  }
  uint64_t Refused(const std::string& cause) {
    const auto status = operator_->Status();
    EXPECT_TRUE(status.ok()) << status.status();
    for (const proto::RefusalCount& refusal : status->refusals()) {
      if (refusal.cause() == cause) return refusal.count();
    }
    return 0;
  }
  // The texts of the audit log that hold `part`.
  std::vector<std::string> Audited(const std::string& part) {
    std::vector<std::string> texts;
    const absl::Status read = operator_->Events(false, [&](const proto::Event& event) {
      if (event.kind() == "audit" && absl::StrContains(event.text(), part)) {
        texts.push_back(event.text());
      }
    });
    EXPECT_TRUE(read.ok()) << read;
    return texts;
  }
  void ExpectRefused(const std::string& cause, const std::string& part) {
    EXPECT_GE(Refused(cause), 1u);
    const std::vector<std::string> texts = Audited(absl::StrCat("refused ", cause));
    EXPECT_TRUE(std::any_of(texts.begin(), texts.end(),
                            [&](const std::string& text) { return absl::StrContains(text, part); }))
        << cause << ": " << part << (texts.empty() ? "" : texts[0]);
    ExpectBystanderUndisturbed();
  }
  std::unique_ptr<proto::Admin::Stub> Stub(const Credentials& credentials) {
    return proto::Admin::NewStub(MakeChannel(address(), credentials, grpc::ChannelArguments()));
  }
  static proto::MemberMessage Registration(uint32_t node, const std::string& token) {
    proto::MemberMessage message = ToProto(MemberMessage(Register{.node = NodeId(node),
                                                                  .incarnation = kIncarnation,
                                                                  .address = "127.0.0.1:1",
                                                                  .version = kVersion}));
    message.mutable_registration()->set_token(token);
    return message;
  }

  static constexpr Incarnation kIncarnation = {.high = 9, .low = 9};
  const CertificateAuthority mine_ = *CertificateAuthority::Create(Valid());
  const CertificateAuthority other_ = *CertificateAuthority::Create(Valid());
  std::unique_ptr<ControlServer> server_;
  std::unique_ptr<TestMember> bystander_;
  std::unique_ptr<AdminClient> operator_;
  uint64_t step_ = 100;
};

TEST_F(Security, WithoutACertificateNobodyGetsIn) {
  Start();
  Credentials none = Show(mine_, Role::kMember, mine_);
  none.certificate_pem.clear();
  none.key_pem.clear();
  EXPECT_EQ(RawStream(address(), none).End().error_code(), StatusCode::UNAVAILABLE);
  ExpectRefused("no_certificate", "no certificate");
  // Without TLS there is nothing to count: the handshake is not one.
  EXPECT_EQ(RawStream(address()).End().error_code(), StatusCode::UNAVAILABLE);
  ExpectBystanderUndisturbed();
}

TEST_F(Security, AnExpiredCertificateDoesNotCount) {
  Start();
  const Credentials old = Show(mine_, Role::kMember, mine_, Expired());
  EXPECT_EQ(RawStream(address(), old).End().error_code(), StatusCode::UNAVAILABLE);
  ExpectRefused("expired_certificate", "the certificate of 'test member' expired at ");
}

TEST_F(Security, AnotherJobsCertificateDoesNotCount) {
  Start();
  const Credentials stranger = Show(other_, Role::kOperator, mine_);
  EXPECT_EQ(AdminClient(address(), stranger).Status().status().code(),
            absl::StatusCode::kUnavailable);
  ExpectRefused("foreign_certificate", "'test operator' is not one of this job's CA");
}

TEST_F(Security, EveryRoleIsKeptToItsOwn) {
  Start();
  const auto drain =
      AdminClient(address(), Show(mine_, Role::kObserver, mine_)).Drain(NodeId(0), {}, "x");
  EXPECT_EQ(drain.status().code(), absl::StatusCode::kPermissionDenied) << drain.status();
  EXPECT_TRUE(
      absl::StrContains(drain.status().message(),
                        "Drain needs the role operator; this certificate has the role observer"))
      << drain.status();
  ExpectRefused("wrong_role", "Drain by observer 'test observer' at 127.0.0.1");

  AdminClient member(address(), Show(mine_, Role::kMember, mine_));
  EXPECT_EQ(member.Nodes().status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(member.Events(false, [](const proto::Event&) {}).code(),
            absl::StatusCode::kPermissionDenied);
  const grpc::Status attach = RawStream(address(), Show(mine_, Role::kOperator, mine_)).End();
  EXPECT_EQ(attach.error_code(), StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(attach.error_message(),
            "Attach needs the role member; this certificate has the role operator");
  EXPECT_EQ(Refused("wrong_role"), 4u);
  // What its role allows still works.
  EXPECT_TRUE(AdminClient(address(), Show(mine_, Role::kObserver, mine_)).Nodes().ok());
  ExpectBystanderUndisturbed();
}

TEST_F(Security, AMemberIsToldThatItIsRefused) {
  Start();
  TestMember intruder(address(), 5, 0, kVersion, Show(mine_, Role::kObserver, mine_));
  ASSERT_TRUE(
      intruder.WaitFor([](const TestMember::Seen& seen) { return !seen.disconnects.empty(); }));
  EXPECT_EQ(intruder.seen().disconnects[0].code(), absl::StatusCode::kPermissionDenied)
      << intruder.seen().disconnects[0];
  ExpectBystanderUndisturbed();
}

TEST_F(Security, AReplayedTokenIsRefused) {
  Start();
  const Credentials member = Show(mine_, Role::kMember, mine_);
  RawStream first(address(), member);
  const proto::MemberMessage registration =
      Registration(9, JoinToken(member.join_key, first.Nonce(), NodeId(9), kIncarnation));
  EXPECT_TRUE(first.Write(registration));
  proto::CoordinatorMessage answer;
  ASSERT_TRUE(first.Read(&answer));
  EXPECT_TRUE(answer.has_welcome());

  RawStream second(address(), member);
  EXPECT_NE(second.Nonce(), first.Nonce());
  second.Write(registration);
  const grpc::Status replayed = second.End();
  EXPECT_EQ(replayed.error_code(), StatusCode::UNAUTHENTICATED);
  EXPECT_TRUE(absl::StrContains(replayed.error_message(), "replayed")) << replayed.error_message();
  EXPECT_EQ(Refused("bad_token"), 1u);
  ExpectRefused("bad_token", "Attach by member 'test member' at 127.0.0.1");

  // A certificate alone does not let anybody join.
  RawStream third(address(), member);
  third.Write(Registration(8, ""));
  EXPECT_EQ(third.End().error_code(), StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(operator_->Status()->nodes_known(), 2u);
}

TEST_F(Security, AHugeMessageCostsItsSenderTheStream) {
  Start();
  const Credentials member = Show(mine_, Role::kMember, mine_);
  for (const size_t bytes : {kMessageBytesMax, size_t{64} << 20}) {
    RawStream huge(address(), member);
    proto::MemberMessage message;
    message.mutable_leave()->set_reason(std::string(bytes, 'x'));
    huge.Write(message);
    const grpc::Status refused = huge.End();
    EXPECT_EQ(refused.error_code(), StatusCode::RESOURCE_EXHAUSTED);
    EXPECT_TRUE(absl::StrContains(refused.error_message(), "at most 1048576"))
        << refused.error_message();
  }
  ExpectRefused("too_long", "Attach by member 'test member' at 127.0.0.1: a message of 671088");

  const auto stub = Stub(Show(mine_, Role::kOperator, mine_));
  grpc::ClientContext context;
  proto::DrainRequest request;
  request.set_version(kVersion);
  request.set_who(std::string(kMessageBytesMax, 'x'));
  proto::DrainReply reply;
  EXPECT_EQ(stub->Drain(&context, request, &reply).error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(Refused("too_long"), 3u);
  ExpectBystanderUndisturbed();
}

TEST_F(Security, NonsenseCostsItsSenderTheStream) {
  Start();
  RawStream nonsense(address(), Show(mine_, Role::kMember, mine_));
  nonsense.Write(proto::MemberMessage());
  EXPECT_EQ(nonsense.End().error_code(), StatusCode::INVALID_ARGUMENT);
  ExpectRefused("malformed", "the message is of no known kind");
}

TEST_F(Security, WhoAsksTooFastWaitsAndNobodyElseDoes) {
  Start({.questions = {.per_second = 1e-6, .burst = 50}});
  const auto stub = Stub(Show(mine_, Role::kObserver, mine_));
  proto::AdminRequest request;
  request.set_version(kVersion);
  proto::StatusReply reply;
  int answered = 0;
  grpc::Status last;
  for (; answered <= 50 && last.ok(); answered += last.ok()) {
    grpc::ClientContext context;
    last = stub->Status(&context, request, &reply);
  }
  EXPECT_EQ(answered, 50);
  EXPECT_EQ(last.error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(Refused("too_fast"), 1u);
  EXPECT_EQ(Audited("Status by observer 'test observer' at 127.0.0.1: too many").size(), 1u);
}

TEST_F(Security, WhoAttachesTooOftenIsRefused) {
  Start({.attempts = {.per_second = 1e-6, .burst = 3}});
  const Credentials member = Show(mine_, Role::kMember, mine_);
  RawStream second(address(), member), third(address(), member);
  EXPECT_NE(second.Nonce(), "");
  EXPECT_NE(third.Nonce(), "");
  EXPECT_EQ(RawStream(address(), member).End().error_code(), StatusCode::RESOURCE_EXHAUSTED);
  ExpectRefused("too_fast", "Attach by member 'test member' at 127.0.0.1");
}

TEST_F(Security, StrangersAreFewAndMustSaySomething) {
  Start({.unregistered_max = 1, .register_within = absl::Seconds(2)});
  const Credentials member = Show(mine_, Role::kMember, mine_);
  RawStream silent(address(), member);
  EXPECT_NE(silent.Nonce(), "");
  const grpc::Status many = RawStream(address(), member).End();
  EXPECT_EQ(many.error_code(), StatusCode::RESOURCE_EXHAUSTED) << many.error_message();
  EXPECT_EQ(silent.End().error_code(), StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(Refused("too_many"), 1u);
  ExpectRefused("silent", "no registration within 2s");
}

TEST_F(Security, MembersDoNotTalkToWhoIsNotTheCoordinator) {
  ControlServer::Options options{.listen = "127.0.0.1:0"};
  Credentials impostor = Show(mine_, Role::kMember, mine_);
  impostor.join_key.clear();
  options.credentials = impostor;
  EXPECT_EQ(ControlServer::Start(options, ContactPlan(), "").status().code(),
            absl::StatusCode::kInvalidArgument);
  options.credentials->join_key = std::string(kJoinKeyBytes, 'k');
  auto server = ControlServer::Start(options, ContactPlan(), "");
  ASSERT_TRUE(server.ok()) << server.status();
  TestMember member((*server)->address(), 0, 1, kVersion, Show(mine_, Role::kMember, mine_));
  ASSERT_TRUE(
      member.WaitFor([](const TestMember::Seen& seen) { return !seen.disconnects.empty(); }));
  EXPECT_EQ(member.seen().connects, 0);
  EXPECT_EQ(member.seen().disconnects[0].code(), absl::StatusCode::kUnavailable);
}

TEST_F(Security, WhatOperatorsDoIsRemembered) {
  Start();
  TestMember other(address(), 1, 0, kVersion, Show(mine_, Role::kMember, mine_));
  ASSERT_TRUE(other.WaitForEpoch(2));
  EXPECT_FALSE(operator_->Drain(NodeId(7), std::nullopt, "alice@ground-1").ok());
  ASSERT_TRUE(operator_->Drain(NodeId(1), absl::FromUnixSeconds(4'000'000'000), "alice@x").ok());
  ASSERT_TRUE(operator_->Undrain(NodeId(1), "alice@x").ok());
  const std::vector<std::string> texts = Audited("operator 'test operator' at 127.0.0.1 (alice@");
  ASSERT_EQ(texts.size(), 3u);
  EXPECT_TRUE(absl::StrContains(texts[0], "ground-1): drain: not done: node 7 was never seen"))
      << texts[0];
  EXPECT_TRUE(absl::StrContains(texts[1], ": drain: done")) << texts[1];
  EXPECT_TRUE(absl::StrContains(texts[2], ": undrain: done")) << texts[2];
  EXPECT_EQ(Audited("refused").size(), 0u);
  ExpectBystanderUndisturbed();
}

}  // namespace
}  // namespace perigee
