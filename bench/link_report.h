// How `perigee-bench link` shows its figures: a table for people, JSON for scripts.
#pragma once

#include "absl/status/status.h"
#include "bench/link.h"
#include "bench/link_figures.h"
#include "runtime/cli/report.h"

namespace perigee {

class LinkReport {
 public:
  // Starts measuring the machine.
  LinkReport(const LinkOptions& options, const LinkCase& link_case);
  // The table goes to stdout, but not with `--json -`.
  absl::Status Write(const LinkFigures& figures);

 private:
  std::string json_;
  Report report_;
};

}  // namespace perigee
