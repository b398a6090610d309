// The JSON that every command can write (interface.md): command, version, seed, parameters,
// machine, and the command's own fields.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace perigee {

// CPU seconds of this process and of the children that have been waited for; NaN where the system
// does not say.
double OwnCpuSeconds();

// The smallest of the values that a share `q` (0 to 1) of them does not exceed (nearest rank); NaN
// where there are none.
double Quantile(std::vector<double> values, double q);

class Report {
 public:
  // Starts measuring the machine: cores, kernel, and the CPU that others and the hypervisor took
  // meanwhile.
  Report(const std::string& command, uint64_t seed);
  // Parameters as given; fields as measured. A field that was not measured is set to nullptr, never
  // a constant.
  nlohmann::ordered_json& parameters() { return parameters_; }
  nlohmann::ordered_json& fields() { return fields_; }
  // Writes one object to `path`, or to stdout for "-"; nothing for "". Not found or unwritable
  // paths are errors.
  absl::Status Write(const std::string& path);

 private:
  struct CpuTimes {
    double all = 0, steal = 0, own = 0;  // seconds
  };
  static CpuTimes ReadCpuTimes();

  std::string command_;
  uint64_t seed_;
  CpuTimes start_;
  nlohmann::ordered_json parameters_;
  nlohmann::ordered_json fields_;
};

}  // namespace perigee
