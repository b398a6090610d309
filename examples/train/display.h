// What a person sees while the job runs: a progress bar with the time left on a terminal, plain
// lines otherwise.
#pragma once

#include <cstdint>
#include <string>

#include "absl/time/time.h"

namespace perigee {

struct Progress {
  uint64_t step = 0;
  uint64_t steps = 0;
  double loss = 0;
  uint32_t members = 0;
  double allreduce_seconds = 0;
  double goodput_bps = 0;
  uint64_t packets_lost = 0;
  uint64_t packets_repaired = 0;
};

class Display {
 public:
  // Quiet: nothing at all (with --json -).
  explicit Display(bool quiet);

  void Begin(const std::string& title);
  void Step(const Progress& progress);
  // "0 active  1 active  2 lost  5 dark": shown with the next steps.
  void SetStates(const std::string& states) { states_ = states; }
  void Line(const std::string& text);
  void End();

 private:
  void Print(const std::string& line);

  bool quiet_;
  bool terminal_;
  std::string title_;
  std::string states_;
  std::string bar_;  // what stands on the terminal's last line
  absl::Time begin_;
  uint64_t next_line_ = 0;
};

}  // namespace perigee
