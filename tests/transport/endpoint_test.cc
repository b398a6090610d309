#include "transport/endpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "tests/transport/endpoint_world.h"

namespace perigee {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::Ge;
using testing::Le;
using testing::Not;

const ChannelSettings kGoodLink{.link = {125e6, absl::Milliseconds(10)}};

TransferKey Key(uint32_t chunk, Epoch epoch = Epoch(1)) {
  return {.epoch = epoch, .op = OpId(1), .chunk = ChunkId(chunk)};
}

// A world that writes its events down as "1 delivered 3" (at end 1, chunk 3).
class Recorded {
 public:
  explicit Recorded(const ChannelSettings& forth = kGoodLink,
                    const ChannelSettings& back = kGoodLink, Endpoint::Options options = {})
      : world(forth, back, 1, options) {
    world.on_event = [this](int end, const TransportEvent& event) {
      log.push_back(absl::StrCat(end, " ", Name(event)));
    };
  }
  absl::Status Post(uint32_t chunk, std::vector<uint8_t>& place) {
    return world.end(1).PostReceive(world.now(), world.node(0), Key(chunk),
                                    {.body = absl::MakeSpan(place)});
  }
  absl::Status Send(uint32_t chunk, const std::vector<uint8_t>& data) {
    return world.end(0).Send(world.now(), world.node(1), Key(chunk), {.body = data},
                             TrafficClass::kCollective);
  }
  absl::Status SendControl(const std::vector<uint8_t>& bytes) {
    return world.end(0).SendControl(world.now(), world.node(1), bytes);
  }
  bool Logged(const std::string& line) const {
    return std::find(log.begin(), log.end(), line) != log.end();
  }
  SessionCounters Counters(int end) { return *world.end(end).Counters(world.node(1 - end)); }

  EndpointWorld world;
  std::vector<std::string> log;

 private:
  static std::string Name(const TransportEvent& event) {
    if (auto* e = std::get_if<TransferDelivered>(&event)) {
      return absl::StrCat("delivered ", e->key.chunk.value());
    }
    if (auto* e = std::get_if<TransferSent>(&event)) {
      return absl::StrCat("sent ", e->key.chunk.value());
    }
    if (auto* e = std::get_if<ControlDelivered>(&event)) {
      return absl::StrCat("control ", std::string(e->bytes.begin(), e->bytes.end()));
    }
    if (std::holds_alternative<PeerFenced>(event)) return "fenced";
    return std::holds_alternative<PeerSilent>(event) ? "silent" : "heard";
  }
};

TEST(EndpointTest, Example) {
  Recorded r;
  const std::vector<uint8_t> data(5000, 7);
  std::vector<uint8_t> place(5000);
  ASSERT_TRUE(r.Post(3, place).ok());  // the receiver grants the credit,
  ASSERT_TRUE(r.Send(3, data).ok());   // the sender offers the transfer, in either order
  r.world.RunFor(absl::Seconds(1));
  EXPECT_THAT(r.log, ElementsAre("1 delivered 3", "0 sent 3"));
  EXPECT_EQ(place, data);
  EXPECT_EQ(r.Counters(1).data_bytes_delivered, 5000);
  EXPECT_EQ(r.world.end(0).NextTimeout(), absl::InfiniteFuture()) << "idle again";
  EXPECT_EQ(r.world.end(1).NextTimeout(), absl::InfiniteFuture());
}

TEST(EndpointTest, ActivityTellsWhichWayIsCut) {
  Recorded r;
  const auto activity = [&](int end) { return *r.world.end(end).Activity(r.world.node(1 - end)); };
  EXPECT_EQ(activity(0).heard, absl::InfinitePast());
  ASSERT_TRUE(r.SendControl({1}).ok());
  r.world.RunFor(absl::Seconds(1));
  EXPECT_EQ(activity(0).unanswered_since, absl::InfiniteFuture());
  EXPECT_GE(activity(1).heard, r.world.now() - absl::Seconds(1));

  r.world.channel(0).SetDown(true);  // what end 0 sends is lost
  ASSERT_TRUE(r.SendControl({2}).ok());
  ASSERT_TRUE(r.world.end(1).SendControl(r.world.now(), NodeId(0), std::vector<uint8_t>{3}).ok());
  r.world.RunFor(absl::Seconds(2));
  const absl::Time before = r.world.now() - absl::Milliseconds(1900);
  EXPECT_LE(activity(0).unanswered_since, before);
  EXPECT_GE(activity(0).heard, r.world.now() - absl::Milliseconds(100)) << "the other's probes";
  EXPECT_LE(activity(1).unanswered_since, before);
  EXPECT_LE(activity(1).heard, before);

  r.world.channel(0).SetDown(false);
  r.world.RunFor(absl::Seconds(2));
  EXPECT_EQ(activity(0).unanswered_since, absl::InfiniteFuture());
  EXPECT_EQ(activity(1).unanswered_since, absl::InfiniteFuture());
  EXPECT_FALSE(r.world.end(0).Activity(NodeId(7)));
}

TEST(EndpointTest, BodyAndTrailerAreOneMessage) {
  Recorded r;
  const std::vector<uint8_t> body(3000, 1), trailer(100, 2);
  std::vector<uint8_t> place_body(3000), place_trailer(100);
  ASSERT_TRUE(r.world.end(0)
                  .Send(r.world.now(), NodeId(1), Key(0), {body, trailer}, TrafficClass::kState)
                  .ok());
  ASSERT_TRUE(r.world.end(1)
                  .PostReceive(r.world.now(), NodeId(0), Key(0),
                               {absl::MakeSpan(place_body), absl::MakeSpan(place_trailer)})
                  .ok());
  r.world.RunFor(absl::Seconds(1));
  EXPECT_EQ(place_body, body);
  EXPECT_EQ(place_trailer, trailer);
}

TEST(EndpointTest, NothingIsSentWithoutCredit) {
  Recorded r;
  const std::vector<uint8_t> data(5000, 7);
  ASSERT_TRUE(r.Send(0, data).ok());
  r.world.RunFor(absl::Seconds(1));
  EXPECT_EQ(r.Counters(0).packets_sent, 0);
}

TEST(EndpointTest, ErrorsNameTheirReason) {
  Recorded r(kGoodLink, kGoodLink, {.transfers_max = 2, .controls_max = 3});
  std::vector<uint8_t> a(10), b(10), c(10);
  EXPECT_TRUE(r.Post(0, a).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(r.Post(0, a)));
  EXPECT_TRUE(r.Post(1, b).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(r.Post(2, c)));
  EXPECT_TRUE(absl::IsNotFound(r.world.end(0).SendControl(r.world.now(), NodeId(9), a)));
  EXPECT_TRUE(
      absl::IsInvalidArgument(r.SendControl(std::vector<uint8_t>(Endpoint::kControlBytesMax + 1))));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(r.SendControl({'x'}).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(r.SendControl({'x'})));
  r.world.RunFor(absl::Seconds(1));
  EXPECT_TRUE(r.SendControl({'x'}).ok()) << "acknowledged ones make room";

  EXPECT_TRUE(r.Send(0, a).ok());
  r.world.RunFor(absl::Seconds(1));
  EXPECT_TRUE(absl::IsAlreadyExists(r.Post(0, a))) << "delivered before";
  EXPECT_TRUE(absl::IsInvalidArgument(
      r.world.end(0).AddPeer(r.world.now(), {NodeId(0), Incarnation{1, 1}, kGoodLink.link})));
}

TEST(EndpointTest, AnotherSizeIsRefused) {
  Recorded r;
  const std::vector<uint8_t> data(5000, 7);
  std::vector<uint8_t> place(4000);
  ASSERT_TRUE(r.Post(0, place).ok());
  ASSERT_TRUE(r.Send(0, data).ok());
  r.world.RunFor(absl::Seconds(1));
  EXPECT_THAT(r.log, ElementsAre());
  EXPECT_EQ(r.Counters(0).credits_refused, 1);
  EXPECT_EQ(place, std::vector<uint8_t>(4000));

  r.world.end(0).CancelSend(NodeId(1), Key(0));
  const std::vector<uint8_t> right(4000, 8);
  ASSERT_TRUE(r.Send(0, right).ok());
  r.world.RunFor(absl::Seconds(1));
  EXPECT_EQ(place, right) << "the credit waits for an offer of its size";
}

TEST(EndpointTest, AWithdrawnReceiveCanBePostedAgain) {
  Recorded r;
  const std::vector<uint8_t> data(5'000'000, 7);
  std::vector<uint8_t> first(data.size()), second(data.size());
  ASSERT_TRUE(r.Post(0, first).ok());
  ASSERT_TRUE(r.Send(0, data).ok());
  r.world.RunFor(absl::Milliseconds(40));
  r.world.end(1).CancelReceive(NodeId(0), Key(0));
  const std::vector<uint8_t> at_cancel = first;
  EXPECT_NE(at_cancel, std::vector<uint8_t>(data.size())) << "some of it had arrived";
  ASSERT_TRUE(r.Post(0, second).ok());
  r.world.RunFor(absl::Seconds(1));
  EXPECT_THAT(r.log, ElementsAre("1 delivered 0", "0 sent 0"));
  EXPECT_EQ(second, data);
  EXPECT_EQ(first, at_cancel);
}

TEST(EndpointTest, AnEpochThatWasGivenUpIsForgotten) {
  Recorded r;
  const std::vector<uint8_t> data(5'000'000, 7);
  std::vector<uint8_t> place(data.size());
  ASSERT_TRUE(r.Post(0, place).ok());
  ASSERT_TRUE(r.Send(0, data).ok());
  r.world.RunFor(absl::Milliseconds(40));
  for (int i : {0, 1}) r.world.end(i).CancelEpoch(Epoch(1));
  const std::vector<uint8_t> at_cancel = place;
  r.world.RunFor(absl::Seconds(1));
  EXPECT_THAT(r.log, ElementsAre());
  EXPECT_EQ(place, at_cancel);
  EXPECT_EQ(r.world.end(1).PendingReceiveCount(NodeId(0)), 0);
}

TEST(EndpointTest, ARemovedPeerIsAStrangerAndIsToldSo) {
  Recorded r;
  r.world.end(1).RemovePeer(NodeId(0));
  EXPECT_FALSE(r.world.end(1).HasPeer(NodeId(0)));
  ASSERT_TRUE(r.SendControl({'x'}).ok());
  r.world.RunFor(absl::Milliseconds(400));
  // Once for what it sent and once in a while for its probes; it has not come back by that.
  EXPECT_THAT(r.log, Contains("0 fenced").Times(AllOf(Ge(2), Le(4))));
  EXPECT_THAT(r.log, Contains("0 silent").Times(1));
  EXPECT_THAT(r.log, Not(Contains("0 heard")));
  EXPECT_GT(r.world.end(1).unknown_packets(), 0);

  r.log.clear();
  r.world.Introduce(0);
  r.world.RunFor(absl::Milliseconds(400));
  EXPECT_THAT(r.log, ElementsAre("0 heard", "1 control x"));
}

TEST(EndpointTest, FullEventsHoldTheNetworkBackAndLoseNothing) {
  Recorded r(kGoodLink, kGoodLink, {.events_max = 2});
  r.world.takes_events = false;
  for (int i = 0; i < 9; ++i) {
    ASSERT_TRUE(r.SendControl(std::vector<uint8_t>(1000, static_cast<uint8_t>('0' + i))).ok());
  }
  r.world.RunFor(absl::Milliseconds(100));
  EXPECT_EQ(r.Counters(1).packets_received, 2);
  r.world.takes_events = true;
  r.world.RunFor(absl::Seconds(2));
  EXPECT_THAT(r.log, testing::Contains(testing::StartsWith("1 control")).Times(9));
}

TEST(EndpointTest, ControlOvertakesBulk) {
  Recorded r;
  const std::vector<uint8_t> data(20'000'000, 7);
  std::vector<uint8_t> place(data.size());
  ASSERT_TRUE(r.Post(0, place).ok());
  ASSERT_TRUE(r.Send(0, data).ok());
  r.world.RunFor(absl::Milliseconds(50));
  ASSERT_TRUE(r.SendControl({'!'}).ok());
  r.world.RunFor(absl::Milliseconds(12));  // one way, and what the pacer has let out before
  EXPECT_THAT(r.log, ElementsAre("1 control !"));
}

TEST(EndpointTest, ReduceGoesBeforeBroadcastAndEarlierOpsFirst) {
  Recorded r;
  const std::vector<uint8_t> data(1'000'000, 7);
  std::vector<std::vector<uint8_t>> places(4, std::vector<uint8_t>(data.size()));
  const TransferKey keys[] = {
      {.op = OpId(2), .chunk = ChunkId(0), .phase = Phase::kReduce},
      {.op = OpId(1), .chunk = ChunkId(1), .phase = Phase::kBroadcast},
      {.op = OpId(1), .chunk = ChunkId(1), .phase = Phase::kReduce},
      {.op = OpId(1), .chunk = ChunkId(2), .phase = Phase::kReduce},
  };
  std::vector<TransferKey> delivered;
  r.world.on_event = [&](int, const TransportEvent& event) {
    if (auto* e = std::get_if<TransferDelivered>(&event)) delivered.push_back(e->key);
  };
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(
        r.world.end(1)
            .PostReceive(r.world.now(), NodeId(0), keys[i], {.body = absl::MakeSpan(places[i])})
            .ok());
  }
  r.world.RunFor(absl::Milliseconds(100));
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(
        r.world.end(0)
            .Send(r.world.now(), NodeId(1), keys[i], {.body = data}, TrafficClass::kCollective)
            .ok());
  }
  r.world.RunFor(absl::Seconds(1));
  EXPECT_THAT(delivered, ElementsAre(keys[2], keys[1], keys[3], keys[0]));
}

TEST(EndpointTest, AnOutageEndsWithTheNextProbeAndNothingIsSentTwice) {
  ChannelSettings link = kGoodLink;
  const absl::Time begin = absl::UnixEpoch() + absl::Hours(1);
  const absl::Time down = begin + absl::Milliseconds(100);
  const absl::Time up = down + absl::Seconds(60);
  link.down = {{down, up}};
  Recorded r(link, link);
  const std::vector<uint8_t> data(40'000'000, 7);
  std::vector<uint8_t> place(data.size());
  ASSERT_TRUE(r.Post(0, place).ok());
  ASSERT_TRUE(r.Send(0, data).ok());
  r.world.RunUntil(up - absl::Seconds(1), [] { return false; });
  EXPECT_THAT(r.log, ElementsAre("0 silent"));
  const uint64_t sent_in_silence = r.Counters(0).packets_sent;
  r.world.RunUntil(up, [] { return false; });
  EXPECT_EQ(r.Counters(0).packets_sent - sent_in_silence, 50) << "a probe every 20 ms";

  const uint64_t received_before = r.Counters(1).packets_received;
  EXPECT_TRUE(r.world.RunUntil(up + absl::Milliseconds(20 + 3 * 10 + 2), [&] {
    return r.Counters(1).packets_received > received_before + 5;
  })) << "probe, answer, data";
  r.world.RunFor(absl::Seconds(1));
  EXPECT_THAT(r.log, ElementsAre("0 silent", "0 heard", "1 delivered 0", "0 sent 0"));
  EXPECT_EQ(place, data);
  EXPECT_EQ(r.Counters(1).duplicates_received, 0) << "delivered bytes were sent again";
}

TEST(EndpointTest, TheSameSeedMakesTheSameBytes) {
  std::set<std::string> runs;
  for (int run = 0; run < 2; ++run) {
    ChannelSettings lossy = kGoodLink;
    lossy.loss = 0.1;
    Recorded r(lossy, lossy);
    const std::vector<uint8_t> data(1'000'000, 7);
    std::vector<uint8_t> place(data.size());
    ASSERT_TRUE(r.Post(0, place).ok());
    ASSERT_TRUE(r.Send(0, data).ok());
    r.world.RunUntil(r.world.now() + absl::Seconds(10), [&] { return r.log.size() == 2; });
    const SessionCounters c = r.Counters(0);
    runs.insert(absl::StrCat(c.packets_sent, " ", c.packets_received, " ", c.packets_lost, " ",
                             absl::FormatTime(r.world.now())));
  }
  EXPECT_EQ(runs.size(), 1);
}

}  // namespace
}  // namespace perigee
