#include "runtime/control/sqlite_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "transport/base/rng.h"

namespace perigee {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr size_t kEventsMax = 40;
const absl::Time kNow = absl::FromUnixNanos(1'700'000'000'123'456'789);

class SqliteStoreTest : public testing::Test {
 protected:
  SqliteStoreTest() {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directory(folder_);
  }
  ~SqliteStoreTest() override { std::filesystem::remove_all(folder_); }

  std::unique_ptr<SqliteStore> Open(size_t events_max = kEventsMax) {
    auto store = SqliteStore::Open(path_, events_max);
    EXPECT_TRUE(store.ok()) << store.status();
    return *std::move(store);
  }
  absl::Status OpenStatus(const std::string& path) {
    return SqliteStore::Open(path, kEventsMax).status();
  }
  // Changes what is in the file behind everybody's back.
  void Tamper(const std::string& sql) {
    auto database = Sqlite::Open(path_, SQLITE_OPEN_READWRITE);
    ASSERT_TRUE(database.ok()) << database.status();
    const absl::Status status = database->Execute(sql);
    ASSERT_TRUE(status.ok()) << status;
  }
  std::string Problem() {
    const auto summary = CheckStore(path_);
    EXPECT_TRUE(summary.ok()) << summary.status();
    return summary->problems.empty() ? "" : summary->problems.front();
  }
  void Write(const std::string& path, const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
  }
  std::string Read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return (std::stringstream() << file.rdbuf()).str();
  }

  const std::string folder_ =
      std::filesystem::path(testing::TempDir()) / absl::StrCat("perigee_store_", getpid());
  const std::string path_ = folder_ + "/perigee.db";
};

// The records that a coordinator could write, by the seed.
class RecordSource {
 public:
  explicit RecordSource(uint64_t seed) : rng_(seed), job_(rng_.NextIncarnation()) {}

  CoordinatorRecord Next() {
    switch (rng_.Below(5)) {
      case 0:
        return NextView();
      case 1:
        return NextDrain();
      case 2:
        return NextEvict();
      default:
        return NextEvent();
    }
  }
  CoordinatorEvent NextEvent() {
    CoordinatorEvent event{.number = ++events_, .time = kNow + absl::Nanoseconds(rng_.Below(1000))};
    event.kind = rng_.Bernoulli(0.5) ? "view" : "registered";
    if (rng_.Bernoulli(0.5)) event.node = NodeId(static_cast<uint32_t>(rng_.Next()));
    event.text = std::string("it's \"quoted\" \0 and \u00e4", rng_.Below(22));
    return event;
  }
  ViewRecord NextView() {
    ViewRecord record{.decided = kNow, .took = absl::Microseconds(rng_.Below(9999))};
    View& view = record.proposal.view;
    view.job = job_;
    view.previous_digest = last_.members.empty() ? 0 : Digest(last_);
    view.epoch = last_.epoch.Next();
    view.ballot = {rng_.Next(), NodeId(7), rng_.NextIncarnation()};
    view.members = {{.node = NodeId(1), .incarnation = rng_.NextIncarnation(), .address = "a:1"},
                    {.node = NodeId(5), .incarnation = rng_.NextIncarnation(), .votes = 0}};
    view.first_step = StepId(rng_.Below(1000));
    record.proposal.planned = rng_.Bernoulli(0.5);
    record.proposal.reason = "node 5 joins";
    record.proposal.decisions = {{.op = OpId(rng_.Next()),
                                  .kind = OpDecision::Kind::kFinish,
                                  .holder = NodeId(1),
                                  .missing = {NodeId(5)}}};
    last_ = view;
    return record;
  }
  DrainRecord NextDrain() {
    DrainRecord drain{.node = NodeId(static_cast<uint32_t>(rng_.Below(5)))};
    if (rng_.Bernoulli(0.6)) drain.at = kNow + absl::Nanoseconds(rng_.Below(1000));
    return drain;
  }
  EvictRecord NextEvict() {
    EvictRecord evict{.node = NodeId(static_cast<uint32_t>(rng_.Below(5)))};
    if (rng_.Bernoulli(0.4)) return evict;
    evict.eviction = {.incarnation = rng_.NextIncarnation(),
                      .counted_out = rng_.Bernoulli(0.5),
                      .reason = "evicted by o'neill"};
    return evict;
  }
  Rng& rng() { return rng_; }

 private:
  Rng rng_;
  JobId job_;
  uint64_t events_ = 0;
  View last_;
};

TEST_F(SqliteStoreTest, WhatIsAppendedIsThereAfterARestart) {
  RecordSource source(1);
  const CoordinatorEvent event = source.NextEvent();
  const ViewRecord view = source.NextView();
  const DrainRecord drain{.node = NodeId(3), .at = kNow};
  const Eviction eviction{
      .incarnation = {UINT64_MAX, 2}, .counted_out = true, .reason = "evicted by ann"};
  const EvictRecord evict{.node = NodeId(4), .eviction = eviction};
  EXPECT_EQ(*Open()->Load(), CoordinatorSnapshot());
  ASSERT_TRUE(Open()->Append({event, view, drain, evict}).ok());
  const auto snapshot = Open()->Load();
  ASSERT_TRUE(snapshot.ok()) << snapshot.status();
  EXPECT_THAT(snapshot->events, testing::ElementsAre(event));
  EXPECT_THAT(snapshot->views, testing::ElementsAre(view));
  EXPECT_THAT(snapshot->drains, testing::ElementsAre(testing::Pair(NodeId(3), kNow)));
  EXPECT_THAT(snapshot->evictions, testing::ElementsAre(testing::Pair(NodeId(4), eviction)));
}

// Against the fold that the cores use, with restarts in between.
TEST_F(SqliteStoreTest, IsTheSumOfItsRecords) {
  const uint64_t seed = 5;
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  RecordSource source(seed);
  CoordinatorSnapshot expected;
  auto store = Open();
  for (int round = 0; round < 60; ++round) {
    std::vector<CoordinatorRecord> records;
    for (uint64_t i = source.rng().Below(8); i > 0; --i) records.push_back(source.Next());
    ASSERT_TRUE(store->Append(records).ok());
    for (const auto& record : records) Apply(record, kEventsMax, &expected);
    if (source.rng().Bernoulli(0.3)) {
      store.reset();
      store = Open();
    }
    ASSERT_EQ(*store->Load(), expected) << "seed " << seed << " round " << round;
    ASSERT_EQ(CheckStore(path_)->snapshot, expected);
  }
  EXPECT_EQ(expected.events.size(), kEventsMax);
}

TEST_F(SqliteStoreTest, KeepsItsBounds) {
  RecordSource source(2);
  auto store = Open(/*events_max=*/100);
  CoordinatorSnapshot expected;
  for (int turn = 0; turn < 60; ++turn) {
    std::vector<CoordinatorRecord> records;
    for (int i = 0; i < 20; ++i) records.push_back(source.NextView());
    for (int i = 0; i < 100; ++i) records.push_back(source.NextEvent());
    ASSERT_TRUE(store->Append(records).ok());
    for (const auto& record : records) Apply(record, 100, &expected);
  }
  ASSERT_EQ(expected.views.size(), kViewRecordsMax);
  EXPECT_EQ(*store->Load(), expected);
  EXPECT_LT(std::filesystem::file_size(path_), 4u << 20);
  EXPECT_LT(std::filesystem::file_size(path_ + "-wal"), 2 * SqliteStore::kLogBytesMax);
}

TEST_F(SqliteStoreTest, ATransactionIsAllOrNothing) {
  RecordSource source(3);
  auto store = Open();
  const CoordinatorEvent first = source.NextEvent();
  ASSERT_TRUE(store->Append({first}).ok());
  const absl::Status twice = store->Append({source.NextEvent(), source.NextView(), first});
  EXPECT_THAT(std::string(twice.message()),
              AllOf(HasSubstr("cannot write the store"), HasSubstr(path_), HasSubstr("UNIQUE")));
  EXPECT_EQ(store->Load()->events.size(), 1u);
  EXPECT_THAT(store->Load()->views, IsEmpty());
}

TEST_F(SqliteStoreTest, OneProcessAtATime) {
  auto store = Open();
  const absl::Status second = OpenStatus(path_);
  EXPECT_EQ(second.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(second.message(), absl::StrCat("the store ", path_, " is held by process ", getpid(),
                                           ": stop that perigeed or choose another --store"));
  std::filesystem::create_symlink(path_, folder_ + "/link.db");
  EXPECT_THAT(std::string(OpenStatus(folder_ + "/link.db").message()), HasSubstr("is held by"));
  store.reset();
  EXPECT_TRUE(OpenStatus(path_).ok());
}

TEST_F(SqliteStoreTest, ForeignFilesAreLeftAlone) {
  for (const std::string& text : {std::string("x"), std::string("notes\n"), std::string(9000, '#'),
                                  std::string("SQLite format 3\0 but not quite", 31)}) {
    Write(path_, text);
    EXPECT_EQ(OpenStatus(path_).code(), absl::StatusCode::kFailedPrecondition) << text.size();
    EXPECT_THAT(std::string(OpenStatus(path_).message()), HasSubstr("choose another --store"));
    EXPECT_FALSE(CheckStore(path_).ok());
    EXPECT_EQ(Read(path_), text);
  }
  std::filesystem::remove(path_);
  {
    auto other = Sqlite::Open(path_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    ASSERT_TRUE(other->Execute("CREATE TABLE song (name TEXT)").ok());
  }
  const std::string bytes = Read(path_);
  EXPECT_THAT(std::string(OpenStatus(path_).message()),
              HasSubstr("is a database of something else, not a store of perigeed"));
  EXPECT_EQ(Read(path_), bytes);
}

TEST_F(SqliteStoreTest, AnEmptyFileAndWhatAKilledStartLeftBecomeAStore) {
  Write(path_, "");
  Write(path_ + ".new", "half of one");
  Write(path_ + ".new-journal", "half of one");
  EXPECT_EQ(*Open()->Load(), CoordinatorSnapshot());
}

TEST_F(SqliteStoreTest, ALogWithoutItsFileIsNotPlayedIntoANewOne) {
  RecordSource source(9);
  std::string log;
  {
    auto store = Open();
    ASSERT_TRUE(store->Append({source.NextEvent(), source.NextView()}).ok());
    log = Read(path_ + "-wal");
  }
  ASSERT_NE(log, "");
  std::filesystem::remove(path_);
  Write(path_ + "-wal", log);
  EXPECT_EQ(*Open()->Load(), CoordinatorSnapshot());
}

TEST_F(SqliteStoreTest, ANewerStoreRefusesAnOlderProgramAndNamesBoth) {
  Open();
  Tamper("PRAGMA user_version = 3; UPDATE meta SET value = '7.1.0';");
  const absl::Status status = OpenStatus(path_);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("has schema 3, written by perigee 7.1.0"),
                    HasSubstr("which knows schema 2")));
  EXPECT_FALSE(CheckStore(path_).ok());
  EXPECT_FALSE(BackUpStore(path_, folder_ + "/backup.db").ok());
}

TEST_F(SqliteStoreTest, AStoreOfTheFirstSchemaIsReadAndBroughtUpToThisOne) {
  RecordSource source(8);
  const ViewRecord view = source.NextView();
  ASSERT_TRUE(Open()->Append({view}).ok());
  Tamper("DROP TABLE evict; PRAGMA user_version = 1;");
  EXPECT_EQ(Problem(), "");
  EXPECT_EQ(CheckStore(path_)->schema, 1);
  const std::string backup = folder_ + "/backup.db";
  ASSERT_TRUE(BackUpStore(path_, backup).ok());
  EXPECT_EQ(CheckStore(backup)->schema, 1) << "a copy is not changed";

  EXPECT_THAT(Open()->Load()->views, testing::ElementsAre(view));
  EXPECT_EQ(CheckStore(path_)->schema, SqliteStore::kSchema);
  const EvictRecord evict{.node = NodeId(1), .eviction = Eviction{.incarnation = {1, 2}}};
  ASSERT_TRUE(Open()->Append({evict}).ok());
  EXPECT_EQ(Open()->Load()->evictions.at(NodeId(1)), *evict.eviction);
}

TEST_F(SqliteStoreTest, APathThatCannotBeOpenedSaysWhatItNeeds) {
  EXPECT_THAT(std::string(OpenStatus(folder_ + "/missing/perigee.db").message()),
              AllOf(HasSubstr("cannot open the store"), HasSubstr("No such file or directory")));
  EXPECT_FALSE(OpenStatus(folder_).ok());
  EXPECT_TRUE(absl::IsNotFound(CheckStore(path_).status()));
}

TEST_F(SqliteStoreTest, DamageIsFound) {
  RecordSource source(4);
  std::vector<CoordinatorRecord> records;
  for (int i = 0; i < 6; ++i) records.push_back(source.NextEvent());
  for (int i = 0; i < 6; ++i) records.push_back(source.NextView());
  ASSERT_TRUE(Open()->Append(records).ok());
  const std::string whole = Read(path_);
  EXPECT_EQ(Problem(), "");
  const struct {
    const char* sql;
    const char* problem;
  } kDamages[] = {
      {"DELETE FROM event WHERE number = 3", "event 4 stands where event 3 should"},
      {"UPDATE view SET digest = 1 WHERE epoch = 3", "view 3: its digest"},
      {"UPDATE view SET install = x'00' WHERE epoch = 6", "view 6: its bytes are no message"},
      {"UPDATE view SET epoch = 9 WHERE epoch = 6", "view 9: its digest"},
      {"INSERT INTO evict VALUES (7, 0, 0, 1, 'x')", "the eviction of node 7 names no incarnation"},
  };
  for (const auto& damage : kDamages) {
    Tamper(damage.sql);
    EXPECT_THAT(Problem(), HasSubstr(damage.problem));
    EXPECT_THAT(std::string(Open()->Load().status().message()),
                AllOf(HasSubstr(damage.problem), HasSubstr("put a backup in its place")));
    EXPECT_FALSE(BackUpStore(path_, folder_ + "/backup.db").ok());
    EXPECT_FALSE(std::filesystem::exists(folder_ + "/backup.db"));
    Write(path_, whole);
  }
  // Another history: a view of one epoch from elsewhere.
  RecordSource other(5);
  const ViewRecord foreign = other.NextView();
  Tamper("DELETE FROM view WHERE epoch = 1");
  ASSERT_TRUE(Open()->Append({foreign}).ok());
  EXPECT_THAT(Problem(), HasSubstr("view 2 is of job"));
  // Bytes that rot inside a page.
  std::string rotten = whole;
  for (size_t i = 4096 + 8; i < 4096 + 64; ++i) rotten[i] = static_cast<char>(0xa5);
  Write(path_, rotten);
  EXPECT_NE(Problem(), "");
}

TEST_F(SqliteStoreTest, ABackupIsACopyOfOneInstantAndOverwritesNothing) {
  RecordSource source(6);
  auto store = Open();
  std::vector<CoordinatorRecord> records;
  for (int i = 0; i < 20; ++i) records.push_back(source.Next());
  ASSERT_TRUE(store->Append(records).ok());
  const std::string backup = folder_ + "/backup.db";
  const absl::Status status = BackUpStore(path_, backup);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(CheckStore(backup)->snapshot, *store->Load());
  EXPECT_FALSE(std::filesystem::exists(backup + "-wal"));
  const std::string bytes = Read(backup);
  ASSERT_TRUE(store->Append({source.Next()}).ok());
  const absl::Status again = BackUpStore(path_, backup);
  EXPECT_TRUE(absl::IsAlreadyExists(again)) << again;
  EXPECT_EQ(Read(backup), bytes);
  // It is a store like any other.
  auto restored = SqliteStore::Open(backup, kEventsMax);
  ASSERT_TRUE(restored.ok()) << restored.status();
  EXPECT_TRUE((*restored)->Load().ok());
}

}  // namespace
}  // namespace perigee
