// `perigeectl cert init` and `perigeectl cert show`: a job's certificates, without a coordinator.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "runtime/cli/flags.h"

namespace perigee {

class CertCommands {
 public:
  // Adds the commands to `program`; outlives its Run. `output` is "json" for programs.
  CertCommands(Program& program, const std::string& output);
  CertCommands(const CertCommands&) = delete;
  CertCommands& operator=(const CertCommands&) = delete;

 private:
  absl::Status Init() const;
  absl::Status Show() const;

  const std::string& output_;
  CLI::App* init_ = nullptr;  // the program's
  std::string folder_;
  uint32_t days_ = 365;
};

}  // namespace perigee
