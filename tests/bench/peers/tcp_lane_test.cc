// The TCP pool's ring: lanes of all members in one thread, over socket pairs with small buffers, so
// that bytes move in odd pieces.
#include "bench/peers/tcp_lane.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <memory>
#include <vector>

#include "bench/peers/peer_vector.h"

namespace perigee {
namespace {

class Ring {
 public:
  Ring(uint32_t nodes, uint32_t lanes) : lanes_(nodes) {
    for (uint32_t lane = 0; lane < lanes; ++lane) {
      std::vector<std::array<int, 2>> pairs(nodes);  // from a member to its right neighbour
      for (auto& pair : pairs) {
        EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair.data()), 0);
        const int bytes = 4608;
        setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
      }
      for (uint32_t rank = 0; rank < nodes; ++rank) {
        lanes_[rank].push_back(std::make_unique<TcpLane>(LanePlace{rank, nodes, lane, lanes},
                                                         pairs[rank][0],
                                                         pairs[(rank + nodes - 1) % nodes][1]));
      }
    }
  }

  void AllReduce(std::vector<std::vector<float>>& data) {
    for (size_t rank = 0; rank < lanes_.size(); ++rank) {
      for (auto& lane : lanes_[rank]) lane->Begin(absl::MakeSpan(data[rank]));
    }
    for (int turn = 0; turn < 1000000 && !AdvanceAll(); ++turn) {
    }
  }

  std::vector<std::vector<std::unique_ptr<TcpLane>>>& lanes() { return lanes_; }

 private:
  bool AdvanceAll() {
    bool done = true;
    for (auto& member : lanes_) {
      for (auto& lane : member) {
        lane->SetReadable();
        lane->SetWritable();
        EXPECT_TRUE(lane->Advance().ok());
        done &= lane->done();
      }
    }
    return done;
  }

  std::vector<std::vector<std::unique_ptr<TcpLane>>> lanes_;
};

std::vector<std::vector<float>> Inputs(const PeerInput& input, uint32_t nodes, size_t count) {
  std::vector<std::vector<float>> data(nodes, std::vector<float>(count));
  for (uint32_t rank = 0; rank < nodes; ++rank) {
    FillPeerInput(input, rank, absl::MakeSpan(data[rank]));
  }
  return data;
}

TEST(TcpLaneTest, SumsForAnyNumberOfMembersLanesAndElements) {
  for (const uint32_t nodes : {2, 3, 4, 5}) {
    for (const uint32_t lanes : {1, 3, 8}) {
      Ring ring(nodes, lanes);
      uint64_t op = 0;
      // Fewer elements than pieces; not a multiple of the pieces; more than sockets hold.
      for (const size_t count : {size_t{3}, size_t{64}, size_t{1021}, size_t{100003}}) {
        const PeerInput input = {.seed = 1, .op = op++};
        auto data = Inputs(input, nodes, count);
        ring.AllReduce(data);
        for (const auto& result : data) {
          EXPECT_EQ(PeersInSum(input, nodes, result), (1u << nodes) - 1)
              << nodes << " members, " << lanes << " lanes, " << count << " elements";
        }
      }
    }
  }
}

TEST(TcpLaneTest, ANeighbourThatEndsIsAnError) {
  Ring ring(3, 1);
  auto data = Inputs({}, 3, 1000);
  for (uint32_t rank : {0, 1}) ring.lanes()[rank][0]->Begin(absl::MakeSpan(data[rank]));
  ring.lanes()[2][0].reset();
  absl::Status status = ring.lanes()[0][0]->Advance();
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(status.message().find("left neighbour"), absl::string_view::npos) << status;
}

}  // namespace
}  // namespace perigee
