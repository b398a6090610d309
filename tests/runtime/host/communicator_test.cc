// Members over real sockets and a real coordinator, in one process.
#include "runtime/host/communicator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <latch>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "runtime/control/certificate_authority.h"
#include "runtime/control/control_server.h"
#include "runtime/control/credentials.h"

namespace perigee {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

constexpr absl::Duration kDeadline = absl::Seconds(60);  // long enough for any machine

class CommunicatorTest : public testing::Test {
 protected:
  CommunicatorTest() {
    server_ = *ControlServer::Start({.listen = "127.0.0.1:0", .insecure = true}, ContactPlan(), "");
  }
  ~CommunicatorTest() override {
    if (!certs_.empty()) std::filesystem::remove_all(certs_);
  }

  // From here on with mTLS.
  void UseCertificates() {
    certs_ = testing::TempDir() + "/perigee-communicator-XXXXXX";
    ASSERT_NE(mkdtemp(certs_.data()), nullptr);
    ASSERT_TRUE(MakeCertificates(certs_, absl::Now(), absl::Hours(1)).ok());
    const auto mine = LoadCredentials(certs_, Role::kCoordinator, absl::Now());
    ASSERT_TRUE(mine.ok()) << mine.status();
    server_ =
        *ControlServer::Start({.listen = "127.0.0.1:0", .credentials = *mine}, ContactPlan(), "");
  }

  CommunicatorOptions Options(uint32_t node, uint32_t members) {
    return {.node = NodeId(node),
            .coordinator = server_->address(),
            .certs = certs_,
            .insecure = certs_.empty(),
            .start_members = members};
  }

  // Runs `body` as `members` members, each in its own thread.
  void RunMembers(uint32_t members, const std::function<void(uint32_t, Communicator&)>& body,
                  double loss = 0) {
    std::vector<std::thread> threads;
    for (uint32_t node = 0; node < members; ++node) {
      threads.emplace_back([&, node] {
        CommunicatorOptions options = Options(node, members);
        if (loss > 0) {
          options.default_link = {12.5e6, absl::Milliseconds(2)};
          options.emulate = ChannelSettings{.loss = loss};
        }
        auto comm = Communicator::Create(options);
        ASSERT_TRUE(comm.ok()) << comm.status();
        body(node, **comm);
        (*comm)->Close(absl::Seconds(5)).IgnoreError();
      });
    }
    for (std::thread& thread : threads) thread.join();
  }

  std::unique_ptr<ControlServer> server_;
  std::string certs_;  // empty: without TLS
};

TEST_F(CommunicatorTest, ThreeMembersAddTheirVectors) {
  RunMembers(3, [](uint32_t node, Communicator& comm) {
    for (int i = 0; i < 3; ++i) {
      std::vector<float> data(10007, static_cast<float>(node + 1));
      const absl::Status status =
          comm.AllReduce({data.data(), data.size(), DType::kF32}, ReduceOp::kSum, kDeadline);
      EXPECT_TRUE(status.ok()) << status;
      EXPECT_THAT(data, Each(6.0f));
    }
  });
}

TEST_F(CommunicatorTest, AMemberWhoseClockIsAnHourAheadLearnsTheCalendar) {
  std::vector<std::thread> threads;
  for (uint32_t node = 0; node < 3; ++node) {
    threads.emplace_back([&, node] {
      CommunicatorOptions options = Options(node, 3);
      if (node == 1) options.clock = options.clock.Ahead(absl::Hours(1));
      auto comm = Communicator::Create(options);
      ASSERT_TRUE(comm.ok()) << comm.status();
      // Within a minute, while half an hour would do to tell the two apart.
      const auto wrong = [&] {
        return absl::AbsDuration((*comm)->Calendar().Now() - absl::Now()) > absl::Minutes(30);
      };
      const absl::Time give_up = absl::Now() + kDeadline;
      while (wrong() && absl::Now() < give_up) (*comm)->WaitForChange(absl::Milliseconds(20));
      EXPECT_FALSE(wrong()) << "node " << node;
      std::vector<float> data(100, 1);
      EXPECT_TRUE(
          (*comm)
              ->AllReduce({data.data(), data.size(), DType::kF32}, ReduceOp::kSum, kDeadline)
              .ok());
      (*comm)->Close(absl::Seconds(5)).IgnoreError();
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(CommunicatorTest, ALossyLinkOnlyCostsTime) {
  RunMembers(
      3,
      [](uint32_t node, Communicator& comm) {
        std::vector<int64_t> data(50001, 1 << node);
        const absl::Status status =
            comm.AllReduce({data.data(), data.size(), DType::kI64}, ReduceOp::kSum, kDeadline);
        EXPECT_TRUE(status.ok()) << status;
        EXPECT_THAT(data, Each(7));
        std::vector<int64_t> text(100, node);
        EXPECT_TRUE(
            comm.Broadcast({text.data(), text.size(), DType::kI64}, NodeId(2), kDeadline).ok());
        EXPECT_THAT(text, Each(2));
      },
      /*loss=*/0.1);
}

TEST_F(CommunicatorTest, DifferentCallsEndWithAnErrorThatNamesBoth) {
  RunMembers(2, [](uint32_t node, Communicator& comm) {
    std::vector<float> data(node == 0 ? 10 : 20);
    const absl::Status status =
        comm.AllReduce({data.data(), data.size(), DType::kF32}, ReduceOp::kSum, kDeadline);
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_THAT(status.message(), HasSubstr("of 10 f32"));
    EXPECT_THAT(status.message(), HasSubstr("of 20 f32"));
  });
}

TEST_F(CommunicatorTest, AWaitThatPassesItsDeadlineSaysWhoIsMissingAndCanBeCancelled) {
  std::latch cancelled(1);
  RunMembers(2, [&](uint32_t node, Communicator& comm) {
    std::vector<float> data(100, 1);
    const CollectiveRequest request = {.input = {data.data(), data.size(), DType::kF32},
                                       .output = {data.data(), data.size(), DType::kF32}};
    if (node == 0) {
      const absl::StatusOr<OpId> op = comm.Start(request);
      ASSERT_TRUE(op.ok()) << op.status();
      const absl::Status status = comm.Wait(*op, absl::Milliseconds(50)).status();
      EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
      EXPECT_THAT(status.message(), HasSubstr("waits for node 1"));
      comm.Cancel(*op);
      EXPECT_THAT(data, Each(1)) << "the buffer is what it was";
      cancelled.count_down();
    }
    // What node 0 put in stays in the sum, and both go on with the next op.
    if (node == 1) {
      cancelled.wait();
      EXPECT_TRUE(
          comm.AllReduce({data.data(), data.size(), DType::kF32}, ReduceOp::kSum, kDeadline).ok());
      EXPECT_THAT(data, Each(2));
    }
    std::vector<float> next(10, 1);
    EXPECT_TRUE(
        comm.AllReduce({next.data(), next.size(), DType::kF32}, ReduceOp::kSum, kDeadline).ok());
    EXPECT_THAT(next, Each(2));
  });
}

TEST_F(CommunicatorTest, AMemberThatVanishesIsLeftOutOfTheSum) {
  RunMembers(3, [](uint32_t node, Communicator& comm) {
    std::vector<float> data(1000, 1);
    ASSERT_TRUE(
        comm.AllReduce({data.data(), data.size(), DType::kF32}, ReduceOp::kSum, kDeadline).ok());
    if (node == 2) return;  // leaves while the others call the next one
    std::fill(data.begin(), data.end(), 1);
    const absl::Status status =
        comm.AllReduce({data.data(), data.size(), DType::kF32}, ReduceOp::kSum, kDeadline);
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_THAT(data, Each(2));
  });
}

TEST_F(CommunicatorTest, ACoordinatorThatIsNotThereIsNamed) {
  CommunicatorOptions options = Options(0, 1);
  server_->Stop();
  options.join_deadline = absl::Seconds(1);
  const absl::Status status = Communicator::Create(options).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr(options.coordinator));
}

TEST_F(CommunicatorTest, WaitingForOthersEndsWithTheReason) {
  CommunicatorOptions options = Options(0, 2);
  options.join_deadline = absl::Milliseconds(300);
  const absl::Status status = Communicator::Create(options).status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr("starts with 2 members"));
}

TEST_F(CommunicatorTest, WithoutTlsItMustBeAskedFor) {
  CommunicatorOptions options = Options(0, 1);
  options.insecure = false;
  const absl::Status status = Communicator::Create(options).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr("perigeectl cert init"));
}

TEST_F(CommunicatorTest, MembersWithCertificatesAreAJob) {
  UseCertificates();
  RunMembers(2, [](uint32_t node, Communicator& comm) {
    std::vector<float> data(1000, static_cast<float>(node + 1));
    const Buffer buffer{data.data(), data.size(), DType::kF32};
    ASSERT_TRUE(comm.AllReduce(buffer, ReduceOp::kSum, kDeadline).ok());
    EXPECT_THAT(data, Each(3.0f));
  });
}

TEST_F(CommunicatorTest, AMemberOfAnotherJobIsToldThatItDoesNotGetIn) {
  UseCertificates();
  CommunicatorOptions options = Options(0, 1);
  const std::string mine = certs_ + "/mine";
  ASSERT_TRUE(MakeCertificates(mine, absl::Now(), absl::Hours(1)).ok());
  options.certs = mine;
  options.join_deadline = absl::Seconds(1);
  const absl::Status status = Communicator::Create(options).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr("certificates of the same CA"));
}

}  // namespace
}  // namespace perigee
