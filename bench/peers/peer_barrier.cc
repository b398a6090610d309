#include "bench/peers/peer_barrier.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace perigee {
namespace {

constexpr absl::Duration kLook = absl::Microseconds(100);

size_t FileBytes(uint32_t nodes) { return size_t{3} * nodes * sizeof(uint64_t); }

}  // namespace

absl::StatusOr<std::unique_ptr<PeerBarrier>> PeerBarrier::Open(const std::string& path,
                                                               uint32_t rank, uint32_t nodes) {
  const size_t size = FileBytes(nodes);
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  // Growing the file to the size that it has already changes nothing: no matter who is first.
  const bool sized = fd >= 0 && ftruncate(fd, static_cast<off_t>(size)) == 0;
  void* memory =
      sized ? mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
  const int error = errno;
  if (fd >= 0) close(fd);
  if (memory == MAP_FAILED) return absl::ErrnoToStatus(error, absl::StrCat("barrier ", path));
  return std::unique_ptr<PeerBarrier>(new PeerBarrier(static_cast<uint64_t*>(memory), rank, nodes));
}

PeerBarrier::~PeerBarrier() { munmap(memory_, FileBytes(nodes_)); }

uint64_t PeerBarrier::Agree(uint64_t votes) {
  ++times_;
  std::atomic_ref(this->votes(rank_)).store(votes, std::memory_order_relaxed);
  std::atomic_ref(arrivals(rank_)).store(times_, std::memory_order_release);
  uint64_t all = 0;
  for (uint32_t rank = 0; rank < nodes_; ++rank) {
    while (std::atomic_ref(arrivals(rank)).load(std::memory_order_acquire) < times_) {
      absl::SleepFor(kLook);
    }
    all |= std::atomic_ref(this->votes(rank)).load(std::memory_order_relaxed);
  }
  return all;
}

}  // namespace perigee
