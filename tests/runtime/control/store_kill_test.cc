// A real perigeed with a store, killed at random instants while an operator drains and undrains and
// members come and go: whatever anybody was told is there after the next start. PERIGEE_KILLS kills
// (6 by default), by the seed PERIGEE_SEED_FIRST.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "runtime/cli/child_process.h"
#include "runtime/control/admin_client.h"
#include "runtime/control/sqlite_store.h"
#include "tests/runtime/control/test_member.h"
#include "transport/base/rng.h"

namespace perigee {
namespace {

constexpr uint32_t kNodes = 3;
constexpr absl::Time kNotDrained = absl::InfiniteFuture();
// Drains are for a time that the test does not live to see: they change no view.
const absl::Time kFarAway = absl::FromUnixSeconds(4'000'000'000);

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  uint64_t value = 0;
  return text != nullptr && absl::SimpleAtoi(text, &value) ? value : otherwise;
}

// perigeed in a process of its own; always at the same address.
class Daemon {
 public:
  // `shell`: what a shell does before it becomes perigeed.
  explicit Daemon(const std::string& store, const std::string& shell = "")
      : store_(store), shell_(shell) {}

  // Returns when it is ready.
  void Start() {
    ASSERT_NO_FATAL_FAILURE(Launch());
    std::string ready;
    ReadLines({&*child_}, absl::Now() + kTestDeadline, [&](size_t, const std::string& line) {
      ready = line;
      return false;
    });
    // "perigeed 0.1.0 ready on 127.0.0.1:40001 (insecure)"
    const std::vector<std::string> words = absl::StrSplit(ready, ' ');
    ASSERT_GT(words.size(), 4u) << ready << Log();
    address_ = words[4];
  }
  void StartAndKill(absl::Duration after) {
    ASSERT_NO_FATAL_FAILURE(Launch());
    absl::SleepFor(after);
    Kill();
  }
  void Kill() {
    child_->Signal(SIGKILL);
    child_->Wait(kTestDeadline);
  }
  ChildProcess& child() { return *child_; }
  const std::string& address() const { return address_; }
  void set_shell(const std::string& shell) { shell_ = shell; }
  std::string Log() const {
    std::ifstream file(store_ + ".log");
    return (std::stringstream() << file.rdbuf()).str();
  }

 private:
  void Launch() {
    std::vector<std::string> argv;
    if (!shell_.empty()) argv = {"/bin/sh", "-c", absl::StrCat(shell_, "exec \"$@\""), "sh"};
    for (const char* argument : {PERIGEED, "--insecure", "--listen", address_.c_str(), "--store",
                                 store_.c_str(), "--suspect-after", "10m"}) {
      argv.push_back(argument);
    }
    auto child = ChildProcess::Start(argv, store_ + ".log");
    ASSERT_TRUE(child.ok()) << child.status();
    child_.emplace(*std::move(child));
  }

  std::string store_;
  std::string shell_;
  std::string address_ = "127.0.0.1:0";
  std::optional<ChildProcess> child_;
};

// Drains and undrains, one request after the other, and remembers what it was told.
class Operator {
 public:
  explicit Operator(uint64_t seed) : rng_(seed) {}

  // One request. False when nobody answered it.
  bool Ask(const std::string& address) {
    if (!client_) client_.emplace(address);
    const NodeId node(static_cast<uint32_t>(rng_.Below(kNodes)));
    const bool drain = rng_.Bernoulli(0.6);
    const std::string who = absl::StrCat("request-", ++asked_);
    const absl::Time at = kFarAway + absl::Seconds(asked_);
    const absl::Status status =
        drain ? client_->Drain(node, at, who).status() : client_->Undrain(node, who).status();
    const bool answered = !absl::IsUnavailable(status) && !absl::IsDeadlineExceeded(status) &&
                          !absl::IsAborted(status);
    std::lock_guard lock(mutex_);
    std::set<absl::Time>& allowed = drains_.try_emplace(node, std::set{kNotDrained}).first->second;
    if (absl::IsResourceExhausted(status)) absl::SleepFor(absl::Milliseconds(5));  // too fast
    if (answered && !status.ok()) return true;  // or it "is not drained"
    if (answered) {
      allowed.clear();
      acknowledged_.push_back(who);
    } else {
      client_.reset();
    }
    allowed.insert(drain ? at : kNotDrained);
    return answered;
  }
  void Check(const CoordinatorSnapshot& store) {
    std::lock_guard lock(mutex_);
    std::set<std::string> kept;
    for (const CoordinatorEvent& event : store.events) {
      if (event.kind != "drain" && event.kind != "undrain") continue;
      // "by somebody at 127.0.0.1 (request-17) at ..."
      const size_t begin = event.text.find("(request-"), end = event.text.find(')', begin);
      if (begin != std::string::npos) kept.insert(event.text.substr(begin + 1, end - begin - 1));
    }
    // Only the newest events are kept.
    for (size_t i = acknowledged_.size(); i-- > 0 && acknowledged_.size() - i < 1000;) {
      ASSERT_TRUE(kept.contains(acknowledged_[i])) << "lost: " << acknowledged_[i];
    }
    for (auto& [node, allowed] : drains_) {
      auto it = store.drains.find(node);
      const absl::Time drain = it == store.drains.end() ? kNotDrained : it->second;
      ASSERT_TRUE(allowed.contains(drain)) << "node " << node.value() << ": " << drain;
      allowed = {drain};
    }
  }
  size_t acknowledged() {
    std::lock_guard lock(mutex_);
    return acknowledged_.size();
  }

 private:
  Rng rng_;
  uint64_t asked_ = 0;
  std::optional<AdminClient> client_;
  std::mutex mutex_;
  std::vector<std::string> acknowledged_;
  std::map<NodeId, std::set<absl::Time>> drains_;  // what each may be
};

// Follows the events of every life: what was shown once is shown again, and numbers have no gap
// while nothing was too old to be kept.
class Follower {
 public:
  // Until the coordinator is gone.
  void Follow(const std::string& address) {
    uint64_t last = 0;
    AdminClient(address)
        .Events(true,
                [&](const proto::Event& event) {
                  std::lock_guard lock(mutex_);
                  const bool first = last == 0;
                  if (!first && event.number() != last + 1) ++gaps_;
                  last = event.number();
                  const auto [it, added] = seen_.try_emplace(last, Text(event));
                  if (!added && it->second != Text(event)) ++changed_;
                })
        .IgnoreError();
  }
  void Check(const CoordinatorSnapshot& store) {
    std::lock_guard lock(mutex_);
    const bool all = !store.events.empty() && store.events.front().number == 1;
    ASSERT_TRUE(gaps_ == 0 || !all) << gaps_;
    ASSERT_EQ(changed_, 0);
    for (const CoordinatorEvent& event : store.events) {
      auto it = seen_.find(event.number);
      if (it == seen_.end()) continue;
      ASSERT_EQ(it->second, absl::StrCat(event.kind, " ", event.text)) << event.number;
    }
    if (seen_.empty()) return;
    ASSERT_FALSE(store.events.empty());
    ASSERT_LE(seen_.rbegin()->first, store.events.back().number) << "shown and lost";
  }

 private:
  static std::string Text(const proto::Event& event) {
    return absl::StrCat(event.kind(), " ", event.text());
  }
  std::mutex mutex_;
  std::map<uint64_t, std::string> seen_;
  int gaps_ = 0;
  int changed_ = 0;
};

class StoreKillTest : public testing::Test {
 protected:
  StoreKillTest() {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directory(folder_);
  }
  ~StoreKillTest() override { std::filesystem::remove_all(folder_); }

  void FoundJob(const std::string& address) {
    for (uint32_t node = 0; node < kNodes; ++node) {
      members_.push_back(std::make_unique<TestMember>(address, node, kNodes));
    }
    for (auto& member : members_) ASSERT_TRUE(member->WaitForEpoch(1));
  }
  // Takes one member away and brings it back as a new process, when the job is whole.
  void Churn(const std::string& address, Rng& rng) {
    const auto status = AdminClient(address).Status();
    const bool whole = status.ok() && status->view().members_size() == kNodes &&
                       status->nodes_active() == kNodes && status->nodes_connected() == kNodes;
    if (!whole) return;
    const auto node = static_cast<uint32_t>(rng.Below(kNodes));
    members_[node].reset();
    members_[node] = std::make_unique<TestMember>(address, node, 0);
  }
  // Runs that long; members beat meanwhile, and one may be replaced.
  void LiveFor(absl::Duration time, const std::string& address, Rng& rng) {
    for (const absl::Time end = absl::Now() + time; absl::Now() < end;) {
      for (auto& member : members_) member->SendBeat();
      if (rng.Bernoulli(0.3)) Churn(address, rng);
      absl::SleepFor(std::min(absl::Milliseconds(60), end - absl::Now()));
    }
  }
  // What lies on the disk of a coordinator that is dead.
  void CheckWhatIsLeft(CoordinatorSnapshot* store) {
    const auto summary = CheckStore(path_);
    ASSERT_TRUE(summary.ok()) << summary.status();
    ASSERT_TRUE(summary->problems.empty()) << summary->problems.front();
    const CoordinatorSnapshot before = std::exchange(*store, summary->snapshot);
    for (auto& member : members_) {
      const auto view = member->seen().view;
      if (!view) continue;
      const auto same = [&](const ViewRecord& record) { return record.proposal.view == *view; };
      ASSERT_TRUE(std::any_of(store->views.begin(), store->views.end(), same))
          << "node " << member->node().value() << " was sent " << ToString(*view);
    }
    // Only the newest views are kept.
    for (const ViewRecord& view : before.views) {
      if (view.proposal.view.epoch < store->views.front().proposal.view.epoch) continue;
      ASSERT_TRUE(std::find(store->views.begin(), store->views.end(), view) != store->views.end())
          << "lost: " << ToString(view.proposal.view);
    }
  }

  const std::string folder_ =
      std::filesystem::path(testing::TempDir()) / absl::StrCat("perigee_kill_", getpid());
  const std::string path_ = folder_ + "/perigee.db";
  std::vector<std::unique_ptr<TestMember>> members_;
};

TEST_F(StoreKillTest, NothingThatAnybodyWasToldIsLost) {
  const uint64_t seed = FromEnvironment("PERIGEE_SEED_FIRST", 1);
  const uint64_t kills = FromEnvironment("PERIGEE_KILLS", 6);
  std::cout << "seed " << seed << ", " << kills << " kills" << std::endl;
  Rng rng(seed);
  Operator an_operator(rng.Next());
  Follower follower;
  Daemon daemon(path_);
  CoordinatorSnapshot store;
  for (uint64_t kill = 0; kill < kills; ++kill) {
    // The first one is killed while it makes the store, perhaps.
    if (kill == 0 || rng.Bernoulli(0.3)) {
      ASSERT_NO_FATAL_FAILURE(daemon.StartAndKill(rng.Unit() * absl::Milliseconds(60)));
    }
    ASSERT_NO_FATAL_FAILURE(daemon.Start());
    const std::string address = daemon.address();
    if (members_.empty()) FoundJob(address);
    ASSERT_FALSE(HasFatalFailure());
    std::thread asking([&] {
      while (an_operator.Ask(address)) {
      }
    });
    std::thread following([&] { follower.Follow(address); });
    // Soon after the start, or when the members are back.
    LiveFor(rng.Unit() * absl::Milliseconds(rng.Bernoulli(0.4) ? 100 : 1500), address, rng);
    daemon.Kill();
    asking.join();
    following.join();
    ASSERT_NO_FATAL_FAILURE(CheckWhatIsLeft(&store)) << "kill " << kill;
    ASSERT_NO_FATAL_FAILURE(an_operator.Check(store)) << "kill " << kill;
    ASSERT_NO_FATAL_FAILURE(follower.Check(store)) << "kill " << kill;
  }
  std::cout << an_operator.acknowledged() << " requests acknowledged, " << store.views.size()
            << " views, " << store.events.back().number << " events" << std::endl;
  EXPECT_GT(an_operator.acknowledged(), 0u);
  // The job goes on: all of them are in one view of it again.
  ASSERT_NO_FATAL_FAILURE(daemon.Start());
  AdminClient admin(daemon.address());
  auto status = admin.Status();
  while (status.ok() && status->nodes_active() < kNodes) {
    for (auto& member : members_) member->SendBeat();
    absl::SleepFor(absl::Milliseconds(20));  // or it would ask too often
    status = admin.Status();
  }
  ASSERT_TRUE(status.ok()) << status.status();
  EXPECT_GE(status->view().epoch(), store.views.back().proposal.view.epoch.value());
  EXPECT_EQ(status->view().job().high(), store.views.front().proposal.view.job.high);
}

TEST_F(StoreKillTest, AFullDiskIsSaidOnceAndNothingMoreIsAcknowledged) {
  // No file may grow beyond some 200 KiB.
  Daemon daemon(path_, "trap '' XFSZ; ulimit -f 400; ");
  ASSERT_NO_FATAL_FAILURE(daemon.Start());
  ASSERT_NO_FATAL_FAILURE(FoundJob(daemon.address()));
  Operator an_operator(1);
  constexpr int kRequestsMax = 10'000;  // each takes a page of the log, or more
  int requests = 0;
  while (requests < kRequestsMax && an_operator.Ask(daemon.address())) ++requests;
  ASSERT_LT(requests, kRequestsMax) << "the disk did not fill";
  EXPECT_EQ(daemon.child().Wait(kTestDeadline), 1) << daemon.Log();
  const std::string log = daemon.Log();
  const size_t line = log.find("perigeed: cannot write the store");
  ASSERT_NE(line, std::string::npos) << log;
  EXPECT_EQ(log.find('\n', line), log.size() - 1) << log;
  EXPECT_GT(an_operator.acknowledged(), 0u);
  for (auto& member : members_) EXPECT_FALSE(member->seen().removed.has_value());
  CoordinatorSnapshot store;
  ASSERT_NO_FATAL_FAILURE(CheckWhatIsLeft(&store));
  ASSERT_NO_FATAL_FAILURE(an_operator.Check(store));
  // There is room again.
  daemon.set_shell("");
  ASSERT_NO_FATAL_FAILURE(daemon.Start());
  EXPECT_TRUE(an_operator.Ask(daemon.address()));
}

}  // namespace
}  // namespace perigee
