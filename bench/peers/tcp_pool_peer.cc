// A ring over K TCP connections per neighbour: what a careful program gets out of TCP on long lossy
// links, where one connection's window is not enough. One thread, edge-triggered epoll.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "bench/peers/peer.h"
#include "bench/peers/tcp_lane.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

constexpr absl::Duration kConnectDeadline = absl::Seconds(30);
constexpr int kBacklog = 256;

absl::Status Failed(absl::string_view what) { return absl::ErrnoToStatus(errno, what); }

absl::StatusOr<sockaddr_in> AddressOf(const PeerOptions& options, uint32_t rank) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(options.port + rank));
  if (inet_pton(AF_INET, options.addresses[rank].c_str(), &address.sin_addr) != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("--addresses: ", options.addresses[rank], " is not an IPv4 address"));
  }
  return address;
}

absl::StatusOr<int> Socket(const PeerOptions& options) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return Failed("socket");
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  const std::string& name = options.congestion;
  if (!name.empty() && setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name.data(), name.size()) != 0) {
    close(fd);
    return Failed(absl::StrCat("--congestion ", name));
  }
  return fd;
}

absl::StatusOr<int> Listen(const PeerOptions& options) {
  PERIGEE_ASSIGN_OR_RETURN(const sockaddr_in address, AddressOf(options, options.rank));
  PERIGEE_ASSIGN_OR_RETURN(const int fd, Socket(options));
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      listen(fd, kBacklog) != 0) {
    const absl::Status status =
        Failed(absl::StrCat("listening on ", options.address(), ":", options.port + options.rank));
    close(fd);
    return status;
  }
  return fd;
}

// Says which lane it is, so that both ends count alike.
absl::StatusOr<int> ConnectRight(const PeerOptions& options, uint32_t lane) {
  const uint32_t right = (options.rank + 1) % options.nodes();
  PERIGEE_ASSIGN_OR_RETURN(const sockaddr_in address, AddressOf(options, right));
  const absl::Time deadline = absl::Now() + kConnectDeadline;
  for (;;) {
    PERIGEE_ASSIGN_OR_RETURN(const int fd, Socket(options));
    if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 &&
        send(fd, &lane, sizeof(lane), MSG_NOSIGNAL) == sizeof(lane)) {
      return fd;
    }
    const absl::Status status = Failed(absl::StrCat("connecting to rank ", right));
    close(fd);
    if (absl::Now() > deadline) return status;
    absl::SleepFor(absl::Milliseconds(20));
  }
}

absl::Status AcceptLeft(int listener, std::vector<int>* fds) {
  for (size_t count = 0; count < fds->size(); ++count) {
    const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    uint32_t lane = 0;
    if (fd < 0 || recv(fd, &lane, sizeof(lane), MSG_WAITALL) != sizeof(lane) ||
        lane >= fds->size() || (*fds)[lane] >= 0) {
      if (fd >= 0) close(fd);
      return absl::UnavailableError("the left neighbour does not connect as it should");
    }
    (*fds)[lane] = fd;
  }
  return absl::OkStatus();
}

class TcpPool : public Collective {
 public:
  explicit TcpPool(std::vector<TcpLane> lanes) : lanes_(std::move(lanes)) {}
  ~TcpPool() override {
    if (epoll_ >= 0) close(epoll_);
  }

  absl::Status Watch();
  std::string version() const override { return "tcp pool, ring"; }
  bool in_place() const override { return true; }
  absl::Status AllReduce(absl::Span<const float> input, absl::Span<float> output) override;

 private:
  absl::Status AdvanceReady();

  std::vector<TcpLane> lanes_;
  int epoll_ = -1;
};

// The number of a lane's event is twice its index, plus one for what comes from the left.
absl::Status TcpPool::Watch() {
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_ < 0) return Failed("epoll_create1");
  for (size_t i = 0; i < lanes_.size(); ++i) {
    for (const bool left : {false, true}) {
      const int fd = left ? lanes_[i].from_left() : lanes_[i].to_right();
      fcntl(fd, F_SETFL, O_NONBLOCK);
      epoll_event event = {};
      event.events = (left ? EPOLLIN : EPOLLOUT) | EPOLLET;
      event.data.u64 = 2 * i + (left ? 1 : 0);
      if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) return Failed("epoll_ctl");
    }
  }
  return absl::OkStatus();
}

absl::Status TcpPool::AllReduce(absl::Span<const float>, absl::Span<float> output) {
  for (TcpLane& lane : lanes_) {
    lane.Begin(output);
    PERIGEE_RETURN_IF_ERROR(lane.Advance());
  }
  const auto done = [&] {
    for (const TcpLane& lane : lanes_) {
      if (!lane.done()) return false;
    }
    return true;
  };
  while (!done()) PERIGEE_RETURN_IF_ERROR(AdvanceReady());
  return absl::OkStatus();
}

absl::Status TcpPool::AdvanceReady() {
  epoll_event events[64];
  const int count = epoll_wait(epoll_, events, 64, -1);
  if (count < 0 && errno != EINTR) return Failed("epoll_wait");
  for (int i = 0; i < count; ++i) {
    TcpLane& lane = lanes_[events[i].data.u64 / 2];
    if (events[i].data.u64 % 2 == 1) {
      lane.SetReadable();
    } else {
      lane.SetWritable();
    }
    PERIGEE_RETURN_IF_ERROR(lane.Advance());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Collective>> MakeTcpPool(const PeerOptions& options) {
  PERIGEE_ASSIGN_OR_RETURN(const int listener, Listen(options));
  std::vector<int> right, left(options.connections, -1);
  for (uint32_t lane = 0; lane < options.connections; ++lane) {
    PERIGEE_ASSIGN_OR_RETURN(const int fd, ConnectRight(options, lane));
    right.push_back(fd);
  }
  PERIGEE_RETURN_IF_ERROR(AcceptLeft(listener, &left));
  close(listener);
  std::vector<TcpLane> lanes;
  for (uint32_t lane = 0; lane < options.connections; ++lane) {
    lanes.emplace_back(LanePlace{options.rank, options.nodes(), lane, options.connections},
                       right[lane], left[lane]);
  }
  auto pool = std::make_unique<TcpPool>(std::move(lanes));
  PERIGEE_RETURN_IF_ERROR(pool->Watch());
  return pool;
}

}  // namespace
}  // namespace perigee

int main(int argc, char** argv) {
  return perigee::PeerMain(argc, argv, "peer-tcp-pool", &perigee::MakeTcpPool);
}
