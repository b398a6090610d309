#include "runtime/host/sleep_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "runtime/control_codec.h"
#include "tests/runtime/random_messages.h"

namespace perigee {
namespace {

using testing::HasSubstr;

class SleepFileTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "/sleep_file_test." + std::to_string(getpid());
    std::filesystem::create_directories(folder_);
    sleep_ = {.resumption = {.welcome = {.coordinator = rng_.NextIncarnation()},
                             .proposal = RandomProposal(rng_)},
              .state = std::vector<uint8_t>(100'000, 17)};
    node_ = sleep_.resumption.proposal.view.members.front().node;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string Read() {
    std::ifstream file(SleepPath(folder_, node_), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void Write(const std::string& bytes) {
    std::ofstream(SleepPath(folder_, node_), std::ios::binary) << bytes;
  }

  Rng rng_{5};
  std::string folder_;
  Sleep sleep_;
  NodeId node_;
};

TEST_F(SleepFileTest, LastsUntilItIsEnded) {
  ASSERT_TRUE(WriteSleep(folder_, node_, sleep_).ok());
  for (int i = 0; i < 2; ++i) {
    const auto read = ReadSleep(folder_, node_);
    ASSERT_TRUE(read.ok()) << read.status();
    ASSERT_TRUE(read->has_value());
    EXPECT_EQ(Encode((*read)->resumption), Encode(sleep_.resumption));
    EXPECT_EQ((*read)->state, sleep_.state);
  }
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(EndSleep(folder_, node_).ok());
    const auto read = ReadSleep(folder_, node_);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_FALSE(read->has_value());
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
}

TEST_F(SleepFileTest, ADamagedOneIsRefused) {
  ASSERT_TRUE(WriteSleep(folder_, node_, sleep_).ok());
  const std::string good = Read();
  for (int i = 0; i < 100; ++i) {
    std::string bad = good;
    if (i % 2 == 0) {
      bad.resize(rng_.Below(bad.size()));
    } else {
      bad[rng_.Below(bad.size())] ^= static_cast<char>(1 << rng_.Below(8));
    }
    Write(bad);
    const auto read = ReadSleep(folder_, node_);
    EXPECT_EQ(read.status().code(), absl::StatusCode::kDataLoss) << i;
    EXPECT_THAT(read.status().message(), HasSubstr(SleepPath(folder_, node_)));
  }
}

TEST_F(SleepFileTest, AnotherNodesSleepIsNobodyElses) {
  ASSERT_TRUE(WriteSleep(folder_, node_, sleep_).ok());
  const NodeId other(77);
  std::filesystem::rename(SleepPath(folder_, node_), SleepPath(folder_, other));
  EXPECT_THAT(ReadSleep(folder_, other).status().message(), HasSubstr("without this node"));
}

TEST_F(SleepFileTest, AFolderThatIsNotThereIsNamed) {
  const absl::Status status = WriteSleep(folder_ + "/nowhere", node_, sleep_);
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_THAT(status.message(), HasSubstr("nowhere"));
}

}  // namespace
}  // namespace perigee
