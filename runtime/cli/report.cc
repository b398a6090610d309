#include "runtime/cli/report.h"

#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <limits>
#include <thread>

#include "absl/strings/str_cat.h"
#include "runtime/version.h"

namespace perigee {
namespace {

constexpr double kNotMeasured = std::numeric_limits<double>::quiet_NaN();

double Seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

nlohmann::ordered_json OrNull(double value) {
  return std::isfinite(value) ? nlohmann::ordered_json(value) : nlohmann::ordered_json(nullptr);
}

}  // namespace

double OwnCpuSeconds() {
  double seconds = 0;
  for (int who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    rusage usage{};
    if (getrusage(who, &usage) != 0) return kNotMeasured;
    seconds += Seconds(usage.ru_utime) + Seconds(usage.ru_stime);
  }
  return seconds;
}

double Quantile(std::vector<double> values, double q) {
  if (values.empty()) return kNotMeasured;
  const auto rank = static_cast<size_t>(std::ceil(q * static_cast<double>(values.size())));
  const auto at = values.begin() + static_cast<ptrdiff_t>(std::max<size_t>(rank, 1) - 1);
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

Report::CpuTimes Report::ReadCpuTimes() {
  CpuTimes times{kNotMeasured, kNotMeasured, OwnCpuSeconds()};
  std::FILE* file = std::fopen("/proc/stat", "r");
  if (file == nullptr) return times;
  // proc(5): user nice system idle iowait irq softirq steal, in clock ticks.
  double user, nice, system, idle, iowait, irq, softirq, steal;
  if (std::fscanf(file, "cpu %lf %lf %lf %lf %lf %lf %lf %lf", &user, &nice, &system, &idle,
                  &iowait, &irq, &softirq, &steal) == 8) {
    const double tick = 1.0 / static_cast<double>(sysconf(_SC_CLK_TCK));
    times.all = (user + nice + system + irq + softirq) * tick;
    times.steal = steal * tick;
  }
  std::fclose(file);
  return times;
}

Report::Report(const std::string& command, uint64_t seed)
    : command_(command),
      seed_(seed),
      start_(ReadCpuTimes()),
      parameters_(nlohmann::ordered_json::object()),
      fields_(nlohmann::ordered_json::object()) {}

absl::Status Report::Write(const std::string& path) {
  if (path.empty()) return absl::OkStatus();
  const CpuTimes end = ReadCpuTimes();
  const double busy = end.all - start_.all;
  utsname system{};
  const bool named = uname(&system) == 0;

  nlohmann::ordered_json object;
  object["command"] = command_;
  object["version"] = kVersion;
  object["seed"] = seed_;
  object["parameters"] = parameters_;
  auto& machine = object["machine"];
  machine["cores"] = std::thread::hardware_concurrency();
  machine["kernel"] = named ? nlohmann::ordered_json(system.release) : nullptr;
  // The kernel counts in ticks: a short run may appear to have used less than it did.
  const double foreign = busy - (end.own - start_.own);
  machine["foreign_cpu_seconds"] =
      OrNull(std::isfinite(foreign) ? std::max(0.0, foreign) : foreign);
  machine["steal_cpu_seconds"] = OrNull(end.steal - start_.steal);
  for (const auto& [key, value] : fields_.items()) object[key] = value;

  const std::string text =
      object.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  std::FILE* file = path == "-" ? stdout : std::fopen(path.c_str(), "w");
  if (file == nullptr) return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", path));
  bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  written = std::fflush(file) == 0 && written;
  if (path != "-") written = std::fclose(file) == 0 && written;
  if (!written) return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", path));
  return absl::OkStatus();
}

}  // namespace perigee
