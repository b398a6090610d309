// First in line for the processor, where the kernel allows it.
#pragma once

#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>

namespace perigee::linkemu {

// While it lives, the calling thread goes before others and its timers are exact. Children that it
// forks meanwhile inherit the rank.
class ThreadPriority {
 public:
  enum class Rank {
    kLoad = 1,  // before all other programs
    kProbe,     // before the load, which it must be able to stop
    kEmulator,  // before both
  };

  explicit ThreadPriority(Rank rank) {
    prctl(PR_SET_TIMERSLACK, 1);
    // Being nice would not do: it counts among the threads of one session only (sched(7),
    // autogroup). Where real time is used up, the kernel takes 50 ms of every second for others.
    const sched_param parameters{.sched_priority = static_cast<int>(rank)};
    real_time_ = sched_setscheduler(0, SCHED_FIFO, &parameters) == 0;
    if (!real_time_) setpriority(PRIO_PROCESS, 0, -20);
  }
  ThreadPriority(const ThreadPriority&) = delete;
  ThreadPriority& operator=(const ThreadPriority&) = delete;
  ~ThreadPriority() {
    const sched_param none{.sched_priority = 0};
    sched_setscheduler(0, SCHED_OTHER, &none);
    setpriority(PRIO_PROCESS, 0, 0);
  }

  bool real_time() const { return real_time_; }

 private:
  bool real_time_ = false;
};

}  // namespace perigee::linkemu
