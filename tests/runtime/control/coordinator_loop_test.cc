// The write-ahead rule where it is kept: nobody is told anything that the store does not hold.
#include "runtime/control/coordinator_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "runtime/coordinator.h"
#include "transport/base/rng.h"

namespace perigee {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// What happened, in order, on the loop's thread.
class Diary {
 public:
  void Add(const std::string& line) {
    std::lock_guard lock(mutex_);
    lines_.push_back(line);
  }
  std::vector<std::string> lines() {
    std::lock_guard lock(mutex_);
    return lines_;
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> lines_;
};

// Keeps what is appended, and writes into the diary what that is.
class FakeStore final : public Store {
 public:
  explicit FakeStore(Diary& diary) : diary_(diary) {}
  absl::StatusOr<CoordinatorSnapshot> Load() override { return written_; }
  absl::Status Append(absl::Span<const CoordinatorRecord> records) override {
    if (!status.ok()) {
      diary_.Add("fail");
      return status;
    }
    std::string line = "write";
    for (const CoordinatorRecord& record : records) {
      Apply(record, 10000, &written_);
      if (const auto* event = std::get_if<CoordinatorEvent>(&record)) {
        absl::StrAppend(&line, " ", event->kind);
      } else {
        absl::StrAppend(&line, std::holds_alternative<ViewRecord>(record) ? " View" : " Drain");
      }
    }
    diary_.Add(line);
    return absl::OkStatus();
  }

  absl::Status status;  // of all that comes

 private:
  Diary& diary_;
  CoordinatorSnapshot written_;
};

class FakeStream final : public CoordinatorLoop::Stream {
 public:
  explicit FakeStream(Diary& diary) : diary_(diary) {}
  void Send(const CoordinatorMessage& message) override {
    static constexpr const char* kNames[] = {"Welcome", "Prepare", "Accept", "Install", "Removed"};
    // Said again and again, whatever happens.
    if (std::holds_alternative<Waiting>(message)) return;
    diary_.Add(absl::StrCat("send ", kNames[message.index()]));
  }
  void Close() override { diary_.Add("close"); }
  void Cancel() override { diary_.Add("cancel"); }
  void OnSilent() override { diary_.Add("silent"); }

 private:
  Diary& diary_;
};

class CoordinatorLoopTest : public testing::Test {
 protected:
  void Start(bool durable = true) {
    CoordinatorOptions options;
    options.durable = durable;
    options.suspect_after = absl::Hours(1);
    Coordinator coordinator(options, {}, "", Rng(1));
    coordinator.Restore(absl::Now(), *store_.Load());
    loop_.emplace(std::move(coordinator),
                  CoordinatorLoop::Options{
                      .store = durable ? &store_ : nullptr,
                      .on_event = [this](const CoordinatorEvent& event,
                                         const Coordinator&) { diary_.Add("tell " + event.kind); },
                      .on_store_failure = [this](const absl::Status&) { diary_.Add("failed"); }});
  }
  // Does all of it in one turn, and returns after its end.
  void InOneTurn(const std::vector<CoordinatorLoop::Task>& tasks) {
    WaitForTurn(tasks);
    WaitForTurn({});  // the last one's replies come before its events
  }
  void WaitForTurn(const std::vector<CoordinatorLoop::Task>& tasks) {
    std::mutex mutex;
    std::condition_variable changed;
    bool ended = false;
    loop_->Post([&](absl::Time now, Coordinator& coordinator) {
      for (const auto& task : tasks) task(now, coordinator);
      loop_->AfterCommit([&](const absl::Status&) {
        std::lock_guard lock(mutex);
        ended = true;
        changed.notify_all();
      });
    });
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return ended; });
  }
  void Found() {
    InOneTurn({[this](absl::Time now, Coordinator& coordinator) {
      const StreamId id = loop_->AddStream(&stream_, absl::InfiniteDuration());
      coordinator.OnMessage(now, id,
                            Register{.node = NodeId(3),
                                     .incarnation = {.high = 1, .low = 2},
                                     .address = "here",
                                     .version = "",
                                     .start_members = 1});
    }});
  }
  void End() {
    InOneTurn({[this](absl::Time, Coordinator&) { loop_->RemoveStream(1); }});
    loop_.reset();
  }

  Diary diary_;
  FakeStore store_{diary_};
  FakeStream stream_{diary_};
  std::optional<CoordinatorLoop> loop_;
};

TEST_F(CoordinatorLoopTest, ATurnIsWrittenAtOnceAndBeforeAnybodyIsTold) {
  Start();
  Found();
  End();
  EXPECT_THAT(diary_.lines(), ElementsAre("write registered joining View view active",
                                          "send Welcome", "send Install", "tell registered",
                                          "tell joining", "tell view", "tell active"));
}

TEST_F(CoordinatorLoopTest, AnOperatorIsAnsweredAfterTheDrainIsWritten) {
  Start();
  Found();
  const size_t before = diary_.lines().size();
  InOneTurn({[this](absl::Time now, Coordinator& coordinator) {
    coordinator.OnMessage(now, 2,
                          Register{.node = NodeId(4),
                                   .incarnation = {.high = 1, .low = 3},
                                   .address = "there",
                                   .version = ""});
    EXPECT_TRUE(coordinator.Drain(now, NodeId(4), now + absl::Hours(1), "an operator").ok());
    loop_->AfterCommit([this](const absl::Status& committed) {
      EXPECT_TRUE(committed.ok());
      diary_.Add("answer");
    });
  }});
  End();
  std::vector<std::string> lines = diary_.lines();
  lines.erase(lines.begin(), lines.begin() + static_cast<ptrdiff_t>(before));
  const auto at = [&](const std::string& line) {
    return std::find_if(lines.begin(), lines.end(),
                        [&](const std::string& other) { return other.find(line) == 0; });
  };
  EXPECT_NE(at("write")->find("Drain drain"), std::string::npos) << *at("write");
  EXPECT_LT(at("write"), at("send"));
  EXPECT_LT(at("write"), at("answer"));
  EXPECT_LT(at("write"), at("tell"));
}

TEST_F(CoordinatorLoopTest, AStoreThatFailsSilencesTheCoordinator) {
  Start();
  Found();
  const size_t before = diary_.lines().size();
  absl::Status answered;
  InOneTurn({[&](absl::Time now, Coordinator& coordinator) {
    store_.status = absl::ResourceExhaustedError("the disk is full");
    coordinator.OnMessage(now, 2,
                          Register{.node = NodeId(4),
                                   .incarnation = {.high = 1, .low = 3},
                                   .address = "there",
                                   .version = ""});
    loop_->AfterCommit([&](const absl::Status& committed) { answered = committed; });
  }});
  EXPECT_EQ(answered, store_.status);
  // And for good: what would be written next might stand on what is lost.
  store_.status = absl::OkStatus();
  InOneTurn({[&](absl::Time now, Coordinator& coordinator) {
    coordinator.OnStreamClosed(now, 2);
    loop_->AfterCommit([&](const absl::Status& committed) { answered = committed; });
  }});
  EXPECT_EQ(answered.message(), "the disk is full");
  std::vector<std::string> lines = diary_.lines();
  lines.erase(lines.begin(), lines.begin() + static_cast<ptrdiff_t>(before));
  EXPECT_THAT(lines, ElementsAre("fail", "failed"));
  EXPECT_EQ(store_.Load()->views.size(), 1u);
  End();
}

TEST_F(CoordinatorLoopTest, WhatWasToldBeforeIsNotToldAgain) {
  Start();
  Found();
  End();
  const size_t before = diary_.lines().size();
  Start();
  InOneTurn({});
  loop_.reset();
  std::vector<std::string> lines = diary_.lines();
  lines.erase(lines.begin(), lines.begin() + static_cast<ptrdiff_t>(before));
  EXPECT_THAT(lines, ElementsAre("write restored", "tell restored"));
}

TEST_F(CoordinatorLoopTest, WithoutAStoreNothingIsWritten) {
  Start(/*durable=*/false);
  Found();
  End();
  EXPECT_EQ(diary_.lines().front(), "send Welcome");
  EXPECT_THAT(store_.Load()->events, IsEmpty());
}

}  // namespace
}  // namespace perigee
