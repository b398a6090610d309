// What a member remembers and writes down.
#include "runtime/host/flight_recorder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "runtime/control/control_server.h"
#include "runtime/host/communicator.h"

namespace perigee {
namespace {

using testing::HasSubstr;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

class FlightRecorderTest : public testing::Test {
 protected:
  FlightRecorderTest() {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directory(folder_);
  }
  ~FlightRecorderTest() override { std::filesystem::remove_all(folder_); }

  std::vector<FlightRecord> Records() const {
    std::vector<FlightRecord> records;
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      std::ifstream file(entry.path());
      const auto record = FlightRecordFromJson((std::stringstream() << file.rdbuf()).str());
      EXPECT_TRUE(record.ok()) << entry.path() << ": " << record.status();
      if (record.ok()) records.push_back(*record);
    }
    return records;
  }

  const std::string folder_ = testing::TempDir() + "/perigee_flight_recorder_test";
  Node node_{{.self = NodeId(3), .incarnation = {7, 7}, .version = "test"}, Rng(1)};
};

TEST_F(FlightRecorderTest, KeepsTheLastEventsAndFewFiles) {
  FlightRecorder recorder({.folder = folder_, .files_max = 3}, NodeId(3));
  constexpr uint64_t kCount = FlightRecorder::kEventsMax + 25;
  for (uint64_t i = 0; i < kCount; ++i) recorder.OnStarted(kNow, OpId(i));
  for (int i = 0; i < 5; ++i) {
    const absl::Time at = kNow + i * absl::Seconds(20);
    EXPECT_FALSE(recorder.Take(at - absl::Seconds(11), node_, "too soon") && i > 0);
    const auto record = recorder.Take(at, node_, absl::StrCat("wait ", i));
    ASSERT_TRUE(record) << i;
    ASSERT_EQ(record->events.size(), FlightRecorder::kEventsMax);
    EXPECT_EQ(record->events.front().op, OpId(25));
    EXPECT_EQ(record->events.back().op, OpId(kCount - 1));
    ASSERT_TRUE(recorder.Write(*record).ok());
  }
  EXPECT_EQ(Records().size(), 3u);
}

TEST_F(FlightRecorderTest, WithoutAFolderNothingIsKept) {
  FlightRecorder recorder({}, NodeId(3));
  recorder.OnStarted(kNow, OpId(1));
  EXPECT_FALSE(recorder.Take(kNow, node_, "wait"));
}

TEST_F(FlightRecorderTest, AFolderThatIsNotThereIsNamed) {
  FlightRecorder recorder({.folder = folder_ + "/none"}, NodeId(3));
  const auto record = recorder.Take(kNow, node_, "wait");
  ASSERT_TRUE(record);
  EXPECT_THAT(recorder.Write(*record).message(), HasSubstr(folder_ + "/none/flight-node3-0.json"));
}

TEST_F(FlightRecorderTest, LongTextsAreCut) {
  FlightRecorder recorder({.folder = folder_}, NodeId(3));
  recorder.OnConnection(kNow, absl::UnavailableError(std::string(5000, 'x')));
  EXPECT_EQ(recorder.Take(kNow, node_, "wait")->events[0].text.size(),
            FlightRecorder::kTextBytesMax);
}

// From a real wait to the sentence, with the coordinator gone.
TEST_F(FlightRecorderTest, AWaitThatPassesItsDeadlineExplainsItselfLater) {
  auto server =
      *ControlServer::Start({.listen = "127.0.0.1:0", .insecure = true}, ContactPlan(), "");
  std::vector<std::unique_ptr<Communicator>> members(2);
  std::vector<std::thread> threads;
  for (uint32_t node = 0; node < 2; ++node) {
    threads.emplace_back([&, node] {
      members[node] = *Communicator::Create({.node = NodeId(node),
                                             .coordinator = server->address(),
                                             .insecure = true,
                                             .start_members = 2,
                                             .flight_records = {.folder = folder_}});
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::vector<float> data(100, 1);
  const absl::StatusOr<OpId> op =
      members[0]->Start({.input = {data.data(), data.size(), DType::kF32},
                         .output = {data.data(), data.size(), DType::kF32}});
  ASSERT_TRUE(op.ok()) << op.status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(members[0]->Wait(*op, absl::Milliseconds(50)).status()));
  members[0]->Cancel(*op);

  const std::vector<FlightRecord> records = Records();
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].views.back().members.size(), 2u);
  EXPECT_THAT(records[0].missing, testing::ElementsAre(testing::Pair(NodeId(1), testing::Gt(0u))));
  EXPECT_EQ(records[0].events.front().kind, "coordinator");
  EXPECT_EQ(records[0].events.back().kind, "started");
  const std::vector<Sentence> sentences = Explain(SituationOf(records), {.op = *op});
  ASSERT_EQ(sentences.size(), 1u);
  EXPECT_THAT(sentences[0].text,
              HasSubstr("(allreduce sum of 100 f32) waits on node 0 for node 1, which left no "
                        "record"));
}

}  // namespace
}  // namespace perigee
