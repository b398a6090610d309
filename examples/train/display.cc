#include "examples/train/display.h"

#include <unistd.h>

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

namespace perigee {
namespace {

constexpr int kBarWidth = 24;
constexpr uint64_t kLineEvery = 5;  // steps, where there is no terminal

}  // namespace

Display::Display(bool quiet) : quiet_(quiet), terminal_(isatty(STDOUT_FILENO) == 1) {}

void Display::Begin(const std::string& title) {
  title_ = title;
  states_.clear();
  begin_ = absl::Now();
  next_line_ = 0;
  Line(absl::StrCat("== ", title));
}

void Display::Step(const Progress& progress) {
  if (quiet_) return;
  const double done = static_cast<double>(progress.step + 1) / static_cast<double>(progress.steps);
  const absl::Duration left = (absl::Now() - begin_) / done * (1 - done);
  const std::string numbers = absl::StrFormat(
      "step %d/%d  loss %.4f  members %d  allreduce %.0f ms  goodput %.1f Mbit/s  lost %d  "
      "repaired %d",
      progress.step + 1, progress.steps, progress.loss, progress.members,
      progress.allreduce_seconds * 1e3, progress.goodput_bps / 1e6, progress.packets_lost,
      progress.packets_repaired);
  if (!terminal_) {
    if (progress.step < next_line_ && progress.step + 1 < progress.steps) return;
    next_line_ = progress.step - progress.step % kLineEvery + kLineEvery;
    return Print(states_.empty() ? numbers : absl::StrCat(numbers, "  | ", states_));
  }
  const int filled = static_cast<int>(done * kBarWidth);
  std::string bar =
      absl::StrCat("[", std::string(filled, '#'), std::string(kBarWidth - filled, '.'), "] ",
                   absl::FormatDuration(absl::Trunc(left, absl::Seconds(1))), " left  ", numbers);
  if (!states_.empty()) absl::StrAppend(&bar, "  | ", states_);
  bar_ = bar;
  std::printf("\r\033[K%s", bar_.c_str());
  std::fflush(stdout);
}

void Display::Line(const std::string& text) {
  if (quiet_) return;
  if (!bar_.empty()) std::printf("\r\033[K");
  Print(text);
  if (!bar_.empty()) std::printf("%s", bar_.c_str());
  std::fflush(stdout);
}

void Display::Print(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

void Display::End() {
  if (!bar_.empty()) std::printf("\n");
  bar_.clear();
}

}  // namespace perigee
