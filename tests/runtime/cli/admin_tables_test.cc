#include "runtime/cli/admin_tables.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "runtime/cli/when.h"

namespace perigee {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);  // 2027-01-15T08:00:00Z

TEST(When, SaysHowFarATimeIs) {
  EXPECT_EQ(FormatWhen(kNow, kNow), "2027-01-15T08:00:00Z (0.0 s ago)");
  EXPECT_EQ(FormatWhen(kNow + absl::Minutes(4), kNow), "2027-01-15T08:04:00Z (in 4 min)");
  EXPECT_EQ(FormatAgo(kNow - absl::Milliseconds(120), kNow), "0.1 s ago");
  EXPECT_EQ(FormatAgo(kNow - absl::Seconds(12), kNow), "12 s ago");
  EXPECT_EQ(FormatAgo(kNow - absl::Hours(5), kNow), "5 h ago");
  EXPECT_EQ(FormatAgo(kNow + absl::Hours(72), kNow), "in 3 d");
  EXPECT_EQ(FormatUtcMillis(kNow + absl::Milliseconds(7)), "2027-01-15T08:00:00.007Z");
}

TEST(When, ReadsTimesInUtcAndFromNow) {
  EXPECT_EQ(*ParseWhen("2027-01-15T09:00:00Z", kNow), kNow + absl::Hours(1));
  EXPECT_EQ(*ParseWhen("2027-01-15T10:00:00+01:00", kNow), kNow + absl::Hours(1));
  EXPECT_EQ(*ParseWhen("10m", kNow), kNow + absl::Minutes(10));
  EXPECT_EQ(*ParseWhen("+90s", kNow), kNow + absl::Seconds(90));
  for (const char* text : {"", "tomorrow", "2027-01-15", "-5m", "2027-01-15T07:59:59Z"}) {
    const auto time = ParseWhen(text, kNow);
    EXPECT_EQ(time.status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(Table, AlignsColumnsAndLeavesOutEmptyOnes) {
  Table table({{"node"}, {"state"}, {"drain_at"}, {"age", /*wide=*/true}, {"reason"}});
  table.Add({Cell(3), Cell("active"), Cell(), Cell(1.5), Cell("in view 4")});
  table.Add({Cell(120), Cell("lost"), Cell(), Cell(0.5), Cell("")});
  EXPECT_EQ(table.ToText(false),
            "node  state   reason\n"
            "   3  active  in view 4\n"
            " 120  lost\n");
  EXPECT_EQ(table.ToText(true),
            "node  state   age  reason\n"
            "   3  active  1.5  in view 4\n"
            " 120  lost    0.5\n");
  // Programs get every column under the same names.
  EXPECT_EQ(table.ToJson().dump(),
            R"([{"node":3,"state":"active","drain_at":null,"age":1.5,"reason":"in view 4"},)"
            R"({"node":120,"state":"lost","drain_at":null,"age":0.5,"reason":""}])");
}

TEST(AdminTables, NodesShowStateHealthAndTheNextEclipse) {
  proto::NodesReply reply;
  reply.set_now_ns(absl::ToUnixNanos(kNow));
  proto::NodeRow* row = reply.add_nodes();
  row->set_node(4);
  row->set_state("active");
  row->set_connected(true);
  row->set_votes(1);
  row->set_epoch(3);
  row->set_step(41);
  row->set_last_heard_ns(absl::ToUnixNanos(kNow - absl::Milliseconds(100)));
  row->mutable_stats()->set_training_loss(2.38671);
  row->set_address("127.0.0.1:7104");
  row->mutable_dark()->set_begins_ns(absl::ToUnixNanos(kNow + absl::Minutes(4)));
  row->mutable_dark()->set_ends_ns(absl::ToUnixNanos(kNow + absl::Minutes(39)));
  row->set_since_ns(absl::ToUnixNanos(kNow));
  row->set_reason("in view 3");
  EXPECT_EQ(
      NodesTable(reply).ToText(false),
      "node  state   connected  votes  epoch  step  last_heard  training_loss  address         "
      "dark                                        reason\n"
      "   4  active  yes            1      3    41  0.1 s ago          2.3867  127.0.0.1:7104  "
      "2027-01-15T08:04:00Z (in 4 min) for 35 min  in view 3\n");
  const auto json = NodesTable(reply).ToJson()[0];
  EXPECT_EQ(json["training_loss"], 2.38671);
  EXPECT_EQ(json["connected"], true);
  EXPECT_EQ(json["last_heard"], "2027-01-15T07:59:59.900Z");
  EXPECT_EQ(json["dark"]["begins"], "2027-01-15T08:04:00.000Z");
  EXPECT_TRUE(json["drain_at"].is_null());
  EXPECT_TRUE(json["clock_offset_ms"].is_null());
  row->set_clock_offset_ns(3'600'000'000'000);
  row->set_clock_bound_ns(1'500'000);
  EXPECT_EQ(NodesTable(reply).ToJson()[0]["clock_offset_ms"], 3'600'000.0);
  EXPECT_EQ(NodesTable(reply).ToJson()[0]["clock_bound_ms"], 1.5);
}

TEST(AdminTables, OpsStandTogetherAndViewsShowRanges) {
  proto::OpsReply ops;
  for (uint32_t node : {5, 1}) {
    proto::OpRow* row = ops.add_ops();
    row->set_node(node);
    row->mutable_op()->set_op((uint64_t{41} << 16) | 2);
    row->mutable_op()->set_progress(0.5);
    row->mutable_op()->set_age_ns(1'500'000'000);
    row->mutable_op()->add_waiting_for(3);
  }
  const Table table = OpsTable(ops);
  EXPECT_EQ(table.ToText(false),
            "op    node  epoch  progress  age_s  waiting_for\n"
            "41.2     1      0       50%    1.5  3\n"
            "41.2     5      0       50%    1.5  3\n");
  EXPECT_EQ(FormatRanges({}), "");
  EXPECT_EQ(FormatRanges({0, 1, 2, 3, 7, 9, 10}), "0-3,7,9,10");

  proto::Event event;
  event.set_time_ns(absl::ToUnixNanos(kNow));
  event.set_kind("lost");
  event.set_node(4);
  event.set_text("no beat for 620ms");
  EXPECT_EQ(EventLine(event), "2027-01-15T08:00:00.000Z  lost       node 4: no beat for 620ms");
}

}  // namespace
}  // namespace perigee
