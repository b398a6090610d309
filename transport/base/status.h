// Errors: absl::Status for what space can do, PERIGEE_CHECK for our own bugs (in release builds
// too).
#pragma once

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace perigee::internal {

[[noreturn]] inline void CheckFailed(const char* file, int line, const char* condition) {
  std::fprintf(stderr, "%s:%d: check failed: %s\n", file, line, condition);
  std::abort();
}

}  // namespace perigee::internal

// Ends the process when an invariant of ours is broken: going on would corrupt somebody's training
// run.
#define PERIGEE_CHECK(condition)                                        \
  do {                                                                  \
    if (!(condition)) [[unlikely]]                                      \
      ::perigee::internal::CheckFailed(__FILE__, __LINE__, #condition); \
  } while (false)

#define PERIGEE_CONCAT_INNER(a, b) a##b
#define PERIGEE_CONCAT(a, b) PERIGEE_CONCAT_INNER(a, b)

#define PERIGEE_RETURN_IF_ERROR(expression)                                                      \
  do {                                                                                           \
    if (absl::Status perigee_status = (expression); !perigee_status.ok()) return perigee_status; \
  } while (false)

// PERIGEE_ASSIGN_OR_RETURN(auto view, LoadView(path));
// NOLINTBEGIN(bugprone-macro-parentheses): the arguments are names and declarations.
#define PERIGEE_ASSIGN_OR_RETURN(target, expression) \
  PERIGEE_ASSIGN_OR_RETURN_INNER(PERIGEE_CONCAT(perigee_statusor_, __LINE__), target, expression)
#define PERIGEE_ASSIGN_OR_RETURN_INNER(statusor, target, expression) \
  auto statusor = (expression);                                      \
  if (!statusor.ok()) return std::move(statusor).status();           \
  target = *std::move(statusor)
// NOLINTEND(bugprone-macro-parentheses)
