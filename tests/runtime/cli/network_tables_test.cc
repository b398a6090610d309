#include "runtime/cli/network_tables.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace perigee {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);  // 2027-01-15T08:00:00Z

ContactPlan Plan() {
  return *ContactPlan::Create(
      {{.from = NodeId(0), .to = NodeId(1), .link = {25e6, absl::Milliseconds(5)}},
       {.from = NodeId(1),
        .to = NodeId(2),
        .opens = kNow + absl::Minutes(4),
        .closes = kNow + absl::Minutes(9),
        .link = {12.5e6, absl::Milliseconds(12)}},
       {.from = NodeId(1),
        .to = NodeId(2),
        .opens = kNow - absl::Minutes(9),
        .closes = kNow - absl::Minutes(4),
        .link = {12.5e6, absl::Milliseconds(12)}}},
      {{NodeId(3), kNow - absl::Minutes(1), kNow + absl::Minutes(34)},
       {NodeId(2), kNow + absl::Hours(5), kNow + absl::Hours(6)}});
}

MemberAccount Sender(uint32_t node, std::vector<LinkReport> links) {
  MemberAccount account{.node = NodeId(node), .in_view = true, .connected = true};
  account.heard_ago = absl::Milliseconds(50);
  account.report = Beat{};
  account.report->links = std::move(links);
  return account;
}

TEST(NetworkTables, LinksSayTheirStateAsTheirSenderSeesIt) {
  Situation situation{.now = kNow, .plan = Plan()};
  situation.members.push_back(Sender(0, {{.peer = NodeId(1),
                                          .heard_ago = absl::Milliseconds(20),
                                          .round_trip = absl::Milliseconds(21),
                                          .goodput_bps = 1.5e8,
                                          .packets_lost = 9,
                                          .packets_repaired = 8},
                                         {.peer = NodeId(3)}}));
  situation.members.push_back(
      Sender(1, {{.peer = NodeId(0), .unanswered = absl::Seconds(4)}, {.peer = NodeId(2)}}));
  situation.members.push_back(Sender(2, {{.peer = NodeId(0)}}));
  situation.members[2].connected = false;
  const Table all = LinksTable(situation, std::nullopt);
  EXPECT_EQ(all.ToText(false),
            "from  to  state   silent_since                      round_trip_ms  goodput_bps  "
            "packets_lost  packets_repaired\n"
            "   0   1  up                                                 21.0   150 Mbit/s        "
            "     9                 8\n"
            "   0   3  dark                                                0.0                     "
            "     0                 0\n"
            "   1   0  silent  2027-01-15T07:59:56Z (4.0 s ago)            0.0                     "
            "     0                 0\n"
            "   1   2  closed                                              0.0                     "
            "     0                 0\n"
            "   2   0  old                                                 0.0                     "
            "     0                 0\n");
  EXPECT_EQ(LinksTable(situation, NodeId(3)).ToJson().size(), 1u);
  EXPECT_EQ(all.ToJson()[0]["goodput_bps"], 1.5e8);
  EXPECT_EQ(all.ToJson()[2]["silent_since"], "2027-01-15T07:59:56.000Z");
}

TEST(NetworkTables, ContactsShowOpenOnesThenTheNext) {
  EXPECT_EQ(ContactsTable(Plan(), {.now = kNow}).ToText(false),
            "from  to  open      opens                            closes                           "
            "  rate_bps  delay_ms\n"
            "   0   1  now       always                           always                           "
            "200 Mbit/s       5.0\n"
            "   1   2  in 4 min  2027-01-15T08:04:00Z (in 4 min)  2027-01-15T08:09:00Z (in 9 min)  "
            "100 Mbit/s      12.0\n");
  EXPECT_EQ(ContactsTable(Plan(), {.now = kNow, .rows_max = 1}).ToJson().size(), 1u);
  EXPECT_EQ(ContactsTable(Plan(), {.now = kNow, .node = NodeId(2)}).ToJson()[0]["open"], false);
}

TEST(NetworkTables, EclipsesShowWhoIsDarkAndWhoWillBe) {
  EXPECT_EQ(
      EclipsesTable(Plan(), {.now = kNow}).ToText(false),
      "node  dark    begins                           ends                              seconds\n"
      "   3  now     2027-01-15T07:59:00Z (60 s ago)  2027-01-15T08:34:00Z (in 34 min)   2100.0\n"
      "   2  in 5 h  2027-01-15T13:00:00Z (in 5 h)    2027-01-15T14:00:00Z (in 6 h)      3600.0\n");
  EXPECT_TRUE(EclipsesTable(Plan(), {.now = kNow + absl::Hours(7)}).empty());
}

}  // namespace
}  // namespace perigee
