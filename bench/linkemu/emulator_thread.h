// Drives an Emulator in real time: one thread, one epoll, the TUN devices of all nodes.
//
//   EmulatorThread thread(network, options, tuns);     // runs until destroyed
//   thread.Call([](Emulator& emulator, absl::Time now) { return emulator.Change(now, ...); });
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "bench/linkemu/emulator.h"
#include "bench/linkemu/file_descriptor.h"
#include "bench/linkemu/histogram.h"

namespace perigee::linkemu {

// The emulator's clock: monotonic, counted from boot. Not the time of day.
absl::Time EmulatorNow();

struct EmulatorFigures {
  std::vector<LinkCounters> links;
  Emulator::Counters frames;
  DurationHistogram lateness;  // of every piece: handed to the node's device after it was due
  uint64_t write_errors = 0;   // arrivals that a node's device refused
  double cpu_seconds = 0;      // of the thread, with the kernel's work on both ends' packets
};

class EmulatorThread {
 public:
  // `tuns[i]` is node i's device, nonblocking, borrowed. Internal when the kernel lacks what the
  // loop needs.
  static absl::StatusOr<std::unique_ptr<EmulatorThread>> Start(const Network& network,
                                                               const Emulator::Options& options,
                                                               const std::vector<int>& tuns);
  ~EmulatorThread();

  // Runs `action` between two packets and waits for it. Thread-safe.
  absl::Status Call(const std::function<absl::Status(Emulator&, absl::Time now)>& action);
  EmulatorFigures Figures();
  // Forgets the lateness so far: for measurements in phases.
  void ResetLateness();
  // Did the kernel grant the thread real-time priority?
  bool real_time() const { return real_time_; }

 private:
  using Action = std::function<absl::Status(Emulator&, absl::Time now)>;
  struct PendingCall {
    const Action& action;
    absl::Status status;
    bool done = false;
  };

  EmulatorThread(const Network& network, const Emulator::Options& options,
                 const std::vector<int>& tuns);
  absl::Status OpenEvents();
  void Run();
  void Wait();
  // False: nothing was there.
  bool ReadSome(int node);
  void DeliverDue();
  void RunCalls();

  Emulator emulator_;
  std::vector<int> tuns_;
  std::vector<int> readable_;  // nodes whose device may hold more
  FileDescriptor epoll_;
  FileDescriptor wakeup_;
  DurationHistogram lateness_;
  uint64_t write_errors_ = 0;
  bool real_time_ = false;
  std::atomic<bool> stop_ = false;

  // Not absl::Mutex: ThreadSanitizer cannot see into a system's Abseil.
  std::mutex mutex_;  // of what follows
  std::condition_variable call_done_;
  std::vector<PendingCall*> calls_;  // each waits in Call
  std::thread thread_;
};

}  // namespace perigee::linkemu
