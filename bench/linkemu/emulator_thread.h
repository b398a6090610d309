// Drives an Emulator in real time: one thread, one epoll, the TUN devices of all nodes.
//
//   EmulatorThread thread(network, options, tuns);     // runs until destroyed
//   thread.Call([](Emulator& emulator, absl::Time now) { return emulator.Change(now, ...); });
#pragma once

#include <pthread.h>

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
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
  EmulatorThread(const Network& network, const Emulator::Options& options,
                 const std::vector<int>& tuns);
  absl::Status OpenEvents();
  void Run();
  void Wait();
  // False: nothing was there.
  bool ReadSome(int node);
  void DeliverDue();
  void RunCalls() ABSL_LOCKS_EXCLUDED(mutex_);

  Emulator emulator_;
  std::vector<int> tuns_;
  std::vector<int> readable_;  // nodes whose device may hold more
  FileDescriptor epoll_;
  FileDescriptor wakeup_;
  DurationHistogram lateness_;
  uint64_t write_errors_ = 0;
  bool real_time_ = false;
  std::atomic<bool> stop_ = false;

  absl::Mutex mutex_;
  std::vector<std::function<void()>> calls_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace perigee::linkemu
