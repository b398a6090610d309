#include "runtime/control/flight_record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace perigee {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);
const OpId kOp = OpId::Of(StepId(12), 1);

FlightRecord RecordOf(uint32_t node, uint32_t waits_for, absl::Time written = kNow) {
  FlightRecord record{.version = "0.1.0",
                      .written = written,
                      .reason = "op 12.1: nothing for 1m",
                      .coordinator_connected = true,
                      .waiting_reason = "view 2 needs 3 of 4 votes"};
  record.member = {.node = NodeId(node), .in_view = true, .connected = true};
  Beat& report = record.member.report.emplace();
  report.ops.push_back({.op = kOp,
                        .epoch = Epoch(1),
                        .waiting_for = {NodeId(waits_for)},
                        .stalled = absl::Minutes(1),
                        .call = "allreduce sum of 1000 f32"});
  report.calls = {.last = kOp, .ago = absl::Minutes(1)};
  report.links.push_back({.peer = NodeId(2), .heard_ago = absl::Seconds(59)});
  record.missing = {{NodeId(waits_for), 7}};
  record.views = {{.epoch = Epoch(1),
                   .planned = true,
                   .first_step = StepId(3),
                   .members = {NodeId(0), NodeId(1), NodeId(2)},
                   .reason = "founded"}};
  record.events = {{.time = kNow - absl::Minutes(1), .kind = "started", .op = kOp},
                   {.time = kNow, .kind = "suspect", .node = NodeId(2), .text = "silent"}};
  return record;
}

TEST(FlightRecord, IsReadAsItWasWritten) {
  const FlightRecord record = RecordOf(0, 2);
  const auto back = FlightRecordFromJson(*FlightRecordToJson(record));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->version, record.version);
  EXPECT_EQ(back->written, record.written);
  EXPECT_EQ(back->reason, record.reason);
  EXPECT_TRUE(back->coordinator_connected);
  EXPECT_EQ(back->waiting_reason, record.waiting_reason);
  EXPECT_EQ(back->member.node, NodeId(0));
  ASSERT_TRUE(back->member.report);
  EXPECT_EQ(back->member.report->ops[0].call, "allreduce sum of 1000 f32");
  EXPECT_EQ(back->member.report->links[0].heard_ago, absl::Seconds(59));
  EXPECT_THAT(back->missing, ElementsAre(std::pair(NodeId(2), size_t{7})));
  ASSERT_EQ(back->views.size(), 1u);
  EXPECT_EQ(back->views[0].members, record.views[0].members);
  EXPECT_EQ(back->views[0].first_step, StepId(3));
  ASSERT_EQ(back->events.size(), 2u);
  EXPECT_EQ(back->events[0].op, kOp);
  EXPECT_FALSE(back->events[0].node);
  EXPECT_EQ(back->events[1].node, NodeId(2));
  EXPECT_EQ(back->events[1].time, kNow);
}

TEST(FlightRecord, OtherFilesAreRefusedAndLaterFieldsPassedOver) {
  for (const char* text : {"", "[]", "{", "{}", "{\"written_ns\": \"5\"}", "{\"member\": 3}"}) {
    const auto record = FlightRecordFromJson(text);
    EXPECT_EQ(record.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(record.status().message(), HasSubstr("not a flight record")) << text;
  }
  std::string later = *FlightRecordToJson(RecordOf(0, 2));
  later.insert(later.find('{') + 1, "\"mood\": 5,");
  EXPECT_TRUE(FlightRecordFromJson(later).ok());
}

TEST(FlightRecord, TheNewestRecordsOfAllExplainTheHang) {
  std::vector<FlightRecord> records = {RecordOf(0, 2, kNow - absl::Minutes(9)), RecordOf(0, 2),
                                       RecordOf(1, 0, kNow - absl::Seconds(5))};
  records[0].member.report->ops.clear();  // an older one of node 0
  const Situation situation = SituationOf(records);
  EXPECT_FALSE(situation.coordinator);
  ASSERT_EQ(situation.members.size(), 3u);
  EXPECT_EQ(situation.members[1].report_age, absl::Seconds(5));
  EXPECT_FALSE(situation.members[2].report);
  const std::vector<Sentence> sentences = Explain(situation, {});
  ASSERT_EQ(sentences.size(), 1u);
  EXPECT_EQ(sentences[0].text,
            "op 12.1 (allreduce sum of 1000 f32) waits on nodes 0 and 1 for node 2, which left no "
            "record and from which nothing was heard for 59s (by nodes 0 and 1: 59s); there is no "
            "other view: view 2 needs 3 of 4 votes");
}

}  // namespace
}  // namespace perigee
