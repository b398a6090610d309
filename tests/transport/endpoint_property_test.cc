// Many small random worlds: whatever the channel does, every transfer arrives exactly once with the
// right bytes, in bounded virtual time; withdrawn receives are not written any more; a new
// incarnation gets nothing of the old one. PERIGEE_SEED=n runs one seed, PERIGEE_SEEDS=n runs that
// many.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/transport/endpoint_world.h"

namespace perigee {
namespace {

constexpr int kSeedsDefault = 300;
constexpr uint8_t kCanary = 0xc5;
constexpr size_t kCanaryBytes = 64;

// A posted region with guards around it.
struct Place {
  explicit Place(size_t bytes, size_t trailer_bytes)
      : memory(bytes + 2 * kCanaryBytes, kCanary), size(bytes), trailer(trailer_bytes) {}
  MutableRegion region() {
    uint8_t* begin = memory.data() + kCanaryBytes;
    return {{begin, size - trailer}, {begin + size - trailer, trailer}};
  }
  void ExpectHolds(const std::vector<uint8_t>& data) const {
    EXPECT_TRUE(std::equal(data.begin(), data.end(), memory.begin() + kCanaryBytes));
    EXPECT_EQ(std::count(memory.begin(), memory.begin() + kCanaryBytes, kCanary), kCanaryBytes);
    EXPECT_EQ(std::count(memory.end() - kCanaryBytes, memory.end(), kCanary), kCanaryBytes);
  }

  std::vector<uint8_t> memory;
  size_t size;
  size_t trailer;
};

struct Transfer {
  int from = 0;
  TransferKey key;
  std::vector<uint8_t> data;
  std::unique_ptr<Place> place;
  int delivered = 0;
  int sent = 0;
  bool is_cancelled = false;
  std::vector<uint8_t> at_cancel;  // the place as it was when the receive was withdrawn
};

std::vector<uint8_t> RandomBytes(Rng& rng, size_t size) {
  std::vector<uint8_t> bytes(size);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(rng.Next());
  return bytes;
}

size_t RandomSize(Rng& rng) {
  switch (rng.Below(8)) {
    case 0:
      return 0;
    case 1:
      return 1;
    case 2:
      return 1375 + rng.Below(3);
    case 3:
      return 1376 * (1 + rng.Below(70));
    case 4:
      return rng.Below(400'000);
    default:
      return rng.Below(20'000);
  }
}

ChannelSettings RandomChannel(Rng& rng) {
  constexpr double kRates[] = {0, 1e6, 10e6, 125e6};
  ChannelSettings settings{.link = {kRates[rng.Below(4)], absl::Milliseconds(rng.Below(151))}};
  if (rng.Bernoulli(0.2)) settings.link.delay = absl::ZeroDuration();
  if (rng.Bernoulli(0.7)) settings.loss = 0.2 * rng.Unit();
  if (rng.Bernoulli(0.3)) settings.burst_mean = absl::Milliseconds(1 + rng.Below(30));
  if (rng.Bernoulli(0.3)) settings.reorder = 0.2 * rng.Unit();
  if (rng.Bernoulli(0.3)) settings.duplicate = 0.2 * rng.Unit();
  if (rng.Bernoulli(0.3)) settings.bit_flip = 0.05 * rng.Unit();
  absl::Time time = absl::UnixEpoch() + absl::Hours(1);
  const uint64_t outages = rng.Bernoulli(0.4) ? 1 + rng.Below(3) : 0;
  for (uint64_t i = 0; i < outages; ++i) {
    time += absl::Milliseconds(rng.Below(1000));
    const absl::Time end = time + absl::Milliseconds(1 + rng.Below(3000));
    settings.down.push_back({time, end});
    time = end + absl::Milliseconds(1);
  }
  return settings;
}

class Scenario {
 public:
  explicit Scenario(uint64_t seed)
      : rng_(seed), world_(RandomChannel(rng_), RandomChannel(rng_), rng_.Next()) {
    world_.on_event = [this](int end, const TransportEvent& event) { OnEvent(end, event); };
  }

  void Run() {
    AddTransfers(1 + rng_.Below(30));
    const bool restarts = rng_.Bernoulli(0.25);
    const bool is_loaded = !restarts && rng_.Bernoulli(0.5);
    Offer();
    if (is_loaded) Cancel();
    if (restarts) Restart();
    const absl::Time deadline = world_.now() + absl::Minutes(3);
    ASSERT_TRUE(world_.RunUntil(deadline, [this] { return IsDone(); }));
    world_.RunFor(absl::Seconds(2));  // late duplicates must change nothing
    Check();
  }

 private:
  void AddTransfers(uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) {
      Transfer transfer;
      transfer.from = static_cast<int>(rng_.Below(2));
      transfer.key = {.epoch = Epoch(epoch_),
                      .op = OpId(rng_.Below(5)),
                      .chunk = ChunkId(static_cast<uint32_t>(i)),
                      .phase = static_cast<Phase>(rng_.Below(2))};
      transfer.data = RandomBytes(rng_, RandomSize(rng_));
      transfer.place =
          std::make_unique<Place>(transfer.data.size(), rng_.Below(transfer.data.size() + 1));
      transfers_.push_back(std::move(transfer));
    }
    const uint64_t controls = rng_.Below(20);
    for (uint64_t i = 0; i < controls; ++i) {
      std::vector<uint8_t> bytes = RandomBytes(rng_, rng_.Below(Endpoint::kControlBytesMax));
      bytes.push_back(static_cast<uint8_t>(epoch_));  // tells the incarnations apart
      const int from = static_cast<int>(rng_.Below(2));
      EXPECT_TRUE(world_.end(from).SendControl(world_.now(), world_.node(1 - from), bytes).ok());
      ++controls_[{from, bytes}];
    }
  }

  // Posts and offers in random order and at random times.
  void Offer() {
    std::vector<std::pair<size_t, bool>> steps;
    for (size_t i = 0; i < transfers_.size(); ++i) {
      if (transfers_[i].key.epoch != Epoch(epoch_)) continue;
      steps.push_back({i, false});
      steps.push_back({i, true});
    }
    for (size_t i = steps.size(); i > 1; --i) std::swap(steps[i - 1], steps[rng_.Below(i)]);
    for (const auto& [index, is_send] : steps) {
      Transfer& t = transfers_[index];
      const absl::Status status =
          is_send ? world_.end(t.from).Send(world_.now(), world_.node(1 - t.from), t.key,
                                            {.body = t.data}, TrafficClass::kCollective)
                  : world_.end(1 - t.from)
                        .PostReceive(world_.now(), world_.node(t.from), t.key, t.place->region());
      EXPECT_TRUE(status.ok()) << status;
      if (rng_.Bernoulli(0.3)) world_.RunFor(absl::Microseconds(rng_.Below(30'000)));
    }
  }

  void Cancel() {
    for (Transfer& t : transfers_) {
      if (t.delivered > 0 || !rng_.Bernoulli(0.3)) continue;
      world_.end(1 - t.from).CancelReceive(world_.node(t.from), t.key);
      t.is_cancelled = true;
      t.at_cancel = t.place->memory;
      if (rng_.Bernoulli(0.5)) world_.end(t.from).CancelSend(world_.node(1 - t.from), t.key);
      if (rng_.Bernoulli(0.5)) world_.RunFor(absl::Microseconds(rng_.Below(30'000)));
    }
  }

  // One end starts anew; what was pending is given up on both sides, and new transfers follow.
  void Restart() {
    world_.RunFor(absl::Microseconds(rng_.Below(300'000)));
    const int restarted = static_cast<int>(rng_.Below(2));
    world_.Restart(restarted);
    if (rng_.Bernoulli(0.5)) world_.RunFor(absl::Microseconds(rng_.Below(2'000'000)));
    world_.Introduce(restarted);
    for (Transfer& t : transfers_) {
      if (t.delivered > 0) continue;
      t.is_cancelled = true;
      t.at_cancel = t.place->memory;
    }
    controls_.clear();
    ++epoch_;
    AddTransfers(1 + rng_.Below(20));
    Offer();
  }

  void OnEvent(int end, const TransportEvent& event) {
    if (const auto* delivered = std::get_if<TransferDelivered>(&event)) {
      Transfer& t = Find(1 - end, delivered->key);
      EXPECT_FALSE(t.is_cancelled);
      ++t.delivered;
      EXPECT_EQ(delivered->bytes, t.data.size());
      t.place->ExpectHolds(t.data);
    } else if (const auto* sent = std::get_if<TransferSent>(&event)) {
      Transfer& t = Find(end, sent->key);
      ++t.sent;
      EXPECT_TRUE(t.delivered == 1 || t.is_cancelled);
    } else if (const auto* control = std::get_if<ControlDelivered>(&event)) {
      if (control->bytes.back() == epoch_) {
        ++controls_received_[{1 - end, control->bytes}];
      }
    }
  }

  Transfer& Find(int from, const TransferKey& key) {
    for (Transfer& t : transfers_) {
      if (t.from == from && t.key == key) return t;
    }
    ADD_FAILURE() << "no transfer " << ToString(key);
    return transfers_.front();
  }

  bool IsDone() const {
    for (const Transfer& t : transfers_) {
      if (t.is_cancelled || t.key.epoch != Epoch(epoch_)) continue;
      if (t.delivered == 0 || t.sent == 0) return false;
    }
    for (const auto& [control, count] : controls_) {
      if (!controls_received_.contains(control)) return false;
    }
    return true;
  }

  void Check() {
    for (const Transfer& t : transfers_) {
      if (t.is_cancelled) {
        EXPECT_EQ(t.delivered, 0);
        EXPECT_EQ(t.place->memory, t.at_cancel) << "written after it was withdrawn";
      } else {
        EXPECT_EQ(t.delivered, 1);
        // An end that restarted does not hear about what it sent before.
        EXPECT_TRUE(t.sent == 1 || (t.sent == 0 && t.key.epoch != Epoch(epoch_)));
        t.place->ExpectHolds(t.data);
      }
    }
    for (const auto& [control, count] : controls_) {
      EXPECT_EQ(controls_received_[control], count) << "control messages: lost or repeated";
    }
  }

  Rng rng_;
  EndpointWorld world_;
  uint64_t epoch_ = 1;
  std::vector<Transfer> transfers_;
  std::map<std::pair<int, std::vector<uint8_t>>, int> controls_;
  std::map<std::pair<int, std::vector<uint8_t>>, int> controls_received_;
};

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST(EndpointPropertyTest, EveryTransferArrivesExactlyOnce) {
  const uint64_t only = FromEnvironment("PERIGEE_SEED", 0);
  const uint64_t count = FromEnvironment("PERIGEE_SEEDS", kSeedsDefault);
  for (uint64_t seed = only > 0 ? only : 1; seed <= (only > 0 ? only : count); ++seed) {
    SCOPED_TRACE("PERIGEE_SEED=" + std::to_string(seed));
    Scenario(seed).Run();
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace perigee
