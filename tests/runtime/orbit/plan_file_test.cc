#include "runtime/orbit/plan_file.h"

#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "transport/base/rng.h"

namespace perigee {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

const absl::Time kStart = absl::FromUnixMillis(1'700'000'000'123);
absl::Time At(int64_t ms) { return kStart + absl::Milliseconds(ms); }

TEST(PlanFileTest, ExampleOfAPlan) {
  const auto file = ParsePlanFile(R"(
    nodes { id: 4 name: "terra" address: "10.0.0.4:7000" }
    nodes { id: 2 name: "luna" }
    links { from: 2 to: 4 bits_per_second: 8e6 delay_ms: 12.5 }
    links { from: 4 to: 2 bits_per_second: 16e6 delay_ms: 12.5 }
    contacts { from: 4 to: 2 opens_ms: 1000 closes_ms: 2000 }
    contacts { from: 4 to: 2 opens_ms: 3000 bits_per_second: 4e6 delay_ms: 1 }
    dark { node: 2 begins_ms: 5000 ends_ms: 6000 }
  )",
                                  "plan", kStart);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->nodes, (std::vector<PlanNode>{{NodeId(2), "luna", ""},
                                                {NodeId(4), "terra", "10.0.0.4:7000"}}));
  const ContactPlan& plan = file->plan;
  const NodeId luna(2), terra(4);
  const Link up = {1e6, absl::Microseconds(12'500)};
  const Link down = {2e6, absl::Microseconds(12'500)};
  const Link late = {5e5, absl::Milliseconds(1)};
  EXPECT_EQ(plan.LinkAt(luna, terra, At(-1'000'000)), up);  // no contacts: always open
  EXPECT_EQ(plan.LinkAt(terra, luna, At(999)), std::nullopt);
  EXPECT_EQ(plan.LinkAt(terra, luna, At(1000)), down);
  EXPECT_EQ(plan.LinkAt(terra, luna, At(2000)), std::nullopt);
  EXPECT_EQ(plan.LinkAt(terra, luna, At(3000)), late);
  EXPECT_EQ(plan.LinkAt(terra, luna, At(1'000'000'000)), late);
  EXPECT_TRUE(plan.IsDark(luna, At(5999)));
  EXPECT_FALSE(plan.IsDark(luna, At(6000)));
}

TEST(PlanFileTest, AnEpochInTheFileWins) {
  const auto plan = ParseContactPlan(
      "epoch_unix_ms: 1000 dark { node: 1 begins_ms: 0.5 ends_ms: 2 }", "plan", kStart);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->dark_intervals().at(0).begins, absl::FromUnixMicros(1'000'500));
}

TEST(PlanFileTest, ABidirectionalLinkIsTwoWithTheSameContacts) {
  const auto plan = ParseContactPlan(R"(
    links { from: 0 to: 1 bits_per_second: 8e6 delay_ms: 1 bidirectional: true }
    links { from: 1 to: 2 bits_per_second: 8e6 delay_ms: 1 bidirectional: true }
    contacts { from: 1 to: 0 opens_ms: 10 closes_ms: 20 }
  )",
                                     "plan", kStart);
  ASSERT_TRUE(plan.ok()) << plan.status();
  for (const auto& [from, to] : {std::pair(0, 1), std::pair(1, 0)}) {
    EXPECT_TRUE(plan->LinkAt(NodeId(from), NodeId(to), At(10)).has_value());
    EXPECT_FALSE(plan->LinkAt(NodeId(from), NodeId(to), At(20)).has_value());
  }
  EXPECT_TRUE(plan->LinkAt(NodeId(1), NodeId(2), At(20)).has_value());
  EXPECT_TRUE(plan->LinkAt(NodeId(2), NodeId(1), At(20)).has_value());
}

auto AsTuple(const Contact& c) { return std::tuple(c.from, c.to, c.opens, c.closes, c.link); }

void ExpectSame(const ContactPlan& a, const ContactPlan& b, uint64_t seed) {
  ASSERT_EQ(a.contacts().size(), b.contacts().size()) << "seed " << seed;
  for (size_t i = 0; i < a.contacts().size(); ++i) {
    EXPECT_TRUE(AsTuple(a.contacts()[i]) == AsTuple(b.contacts()[i]))
        << "seed " << seed << " " << i;
  }
  ASSERT_EQ(a.dark_intervals().size(), b.dark_intervals().size()) << "seed " << seed;
  for (size_t i = 0; i < a.dark_intervals().size(); ++i) {
    const DarkInterval& x = a.dark_intervals()[i];
    const DarkInterval& y = b.dark_intervals()[i];
    EXPECT_TRUE(std::tie(x.node, x.begins, x.ends) == std::tie(y.node, y.begins, y.ends))
        << "seed " << seed << " " << i;
  }
}

ContactPlan RandomPlan(uint64_t seed) {
  Rng rng(seed);
  std::vector<Contact> contacts;
  std::vector<DarkInterval> dark;
  const auto RandomLink = [&rng] {
    return Link{1e3 * rng.Between(1, 1'000'000), absl::Microseconds(rng.Between(0, 300'000))};
  };
  for (uint32_t from = 0; from < 5; ++from) {
    for (uint32_t to = 0; to < 5; ++to) {
      if (from == to) continue;
      Contact contact = {.from = NodeId(from), .to = NodeId(to), .link = RandomLink()};
      const int count = static_cast<int>(rng.Below(4));
      if (count == 0 && rng.Bernoulli(0.5)) contacts.push_back(contact);  // always open
      absl::Time next = kStart - absl::Hours(1);
      for (int i = 0; i < count; ++i) {
        contact.opens = next + absl::Nanoseconds(rng.Between(0, 1'000'000'000'000));
        contact.closes = contact.opens + absl::Nanoseconds(rng.Between(1, 1'000'000'000'000));
        next = contact.closes;
        if (rng.Bernoulli(0.5)) contact.link = RandomLink();
        contacts.push_back(contact);
      }
      if (count > 0 && rng.Bernoulli(0.3)) contacts.back().closes = absl::InfiniteFuture();
    }
    absl::Time next = kStart;
    for (uint64_t i = rng.Below(3); i > 0; --i) {
      const absl::Time begins = next + absl::Microseconds(rng.Between(0, 1'000'000'000));
      next = begins + absl::Microseconds(rng.Between(1, 1'000'000'000));
      dark.push_back({.node = NodeId(from), .begins = begins, .ends = next});
    }
  }
  auto plan = ContactPlan::Create(std::move(contacts), std::move(dark));
  EXPECT_TRUE(plan.ok()) << plan.status();
  return *std::move(plan);
}

TEST(PlanFileTest, WhatIsWrittenReadsBackTheSame) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    const ContactPlan plan = RandomPlan(seed);
    const std::string text = FormatContactPlan(plan, kStart);
    // The epoch is in the text: `relative_to` does not matter.
    const auto read = ParseContactPlan(text, "plan", absl::UnixEpoch());
    ASSERT_TRUE(read.ok()) << "seed " << seed << " " << read.status();
    ExpectSame(plan, *read, seed);
    EXPECT_EQ(FormatContactPlan(*read, kStart), text) << "seed " << seed;
  }
}

TEST(PlanFileTest, TheExamplePlanLoadsAndReadsBackWithItsNodes) {
  const auto file = LoadPlanFile("examples/plans/two-dark.textproto", kStart);
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ(file->nodes.size(), 4);
  EXPECT_EQ(file->nodes[2].name, "charlie");
  EXPECT_TRUE(file->plan.IsDark(NodeId(2), At(10'000)));
  EXPECT_TRUE(file->plan.IsDark(NodeId(3), At(25'000)));
  EXPECT_TRUE(file->plan.LinkAt(NodeId(2), NodeId(0), At(40'000)).has_value());
  const auto again = ParsePlanFile(FormatPlanFile(*file, kStart), "again", absl::UnixEpoch());
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->nodes, file->nodes);
  ExpectSame(file->plan, again->plan, 0);
}

struct BadPlan {
  std::string text;
  std::string where;     // how the message starts
  std::string contains;  // what it says
};

TEST(PlanFileTest, EveryErrorNamesFileLineAndRemedy) {
  const std::string link = "links { from: 0 to: 1 bits_per_second: 1e6 delay_ms: 1 }\n";
  const std::vector<BadPlan> cases = {
      {"\nlinks { from: 0 too: 1 }", "p:2: ", "no field named \"too\""},
      {"links { from: 0 \n", "p:2: ", "proto/constellation.proto"},
      {"links { from: -1 }", "p:1: ", "proto/constellation.proto"},
      {"nodes { id: 1 }\nnodes { id: 1 }", "p:2: ", "node 1 appears twice"},
      {"nodes { id: 0 }\n" + link, "p:2: ", "add nodes { id: 1 }"},
      {"nodes { id: 0 }\ndark { node: 9 begins_ms: 1 ends_ms: 2 }", "p:2: ", "add nodes { id: 9 }"},
      {link + link, "p:2: ", "link 0 -> 1 appears twice"},
      {link + "links { from: 1 to: 0 bits_per_second: 1 delay_ms: 1 bidirectional: true }",
       "p:2: ", "link 0 -> 1 appears twice"},
      {"links { from: 3 to: 3 bits_per_second: 1e6 }", "p:1: ", "from node 3 to itself"},
      {"links { from: 0 to: 1 }", "p:1: ", "bits_per_second 0: give a positive rate"},
      {"links { from: 0 to: 1 bits_per_second: inf }", "p:1: ", "give a positive rate"},
      {"links { from: 0 to: 1 bits_per_second: nan }", "p:1: ", "give a positive rate"},
      {"links { from: 0 to: 1 bits_per_second: 1 delay_ms: -2 }", "p:1: ", "delay_ms -2"},
      {"contacts { from: 0 to: 1 bits_per_second: 8 }", "p:1: ", "add links { from: 0 to: 1"},
      {link + "contacts { from: 0 to: 1 bits_per_second: 0 }", "p:2: ", "give a positive rate"},
      {link + "contacts { from: 0 to: 1 delay_ms: -1 }", "p:2: ", "delay_ms -1"},
      {link + "contacts { from: 0 to: 1 opens_ms: 1700000000123 closes_ms: 5 }",
       "p:2: ", "closes at 5 ms, not after it opens at 1700000000123 ms"},
      {link + "contacts { from: 0 to: 1 closes_ms: inf }", "p:2: ", "leave out a bound"},
      {link + "contacts { from: 0 to: 1 opens_ms: 5 }\ncontacts { from: 0 to: 1 closes_ms: 6 }",
       "p:3: ", "contact 0 -> 1 overlaps the one of line 2"},
      {"dark { node: 1 begins_ms: 2 ends_ms: 2 }", "p:1: ", "give begins_ms < ends_ms"},
      {"dark { node: 1 begins_ms: 2 ends_ms: inf }", "p:1: ", "give begins_ms < ends_ms"},
      {"dark { node: 1 begins_ms: 2 ends_ms: 9 }\ndark { node: 1 begins_ms: 1 ends_ms: 3 }",
       "p:2: ", "dark interval 1 overlaps the one of line 1"},
  };
  for (const BadPlan& bad : cases) {
    const auto status = ParseContactPlan(bad.text, "p", kStart).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bad.text;
    const std::string message(status.message());
    EXPECT_THAT(message, StartsWith(bad.where)) << bad.text;
    EXPECT_THAT(message, HasSubstr(bad.contains)) << bad.text;
    EXPECT_EQ(message.find('\n'), std::string::npos) << bad.text;
  }
}

TEST(PlanFileTest, WindowsThatTouchAreFine) {
  const auto plan = ParseContactPlan(R"(
    links { from: 0 to: 1 bits_per_second: 8e6 delay_ms: 1 }
    contacts { from: 0 to: 1 opens_ms: 20 closes_ms: 30 delay_ms: 2 }
    contacts { from: 0 to: 1 opens_ms: 10 closes_ms: 20 }
  )",
                                     "plan", kStart);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->LinkAt(NodeId(0), NodeId(1), At(19))->delay, absl::Milliseconds(1));
  EXPECT_EQ(plan->LinkAt(NodeId(0), NodeId(1), At(20))->delay, absl::Milliseconds(2));
}

TEST(PlanFileTest, AMissingFileIsNamed) {
  const auto status = LoadContactPlan("/nowhere/plan.textproto", kStart).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), StartsWith("/nowhere/plan.textproto: No such file"));
}

}  // namespace
}  // namespace perigee
