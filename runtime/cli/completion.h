// Shell completion from what CLI11 knows of a program, so that no list is kept by hand.
//
//   perigeectl completion bash > /etc/bash_completion.d/perigeectl
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "absl/status/statusor.h"

namespace perigee {

// A script that completes commands, and options after a '-'. `shell` is bash or zsh, else
// InvalidArgument.
absl::StatusOr<std::string> CompletionScript(const CLI::App& app, const std::string& shell);

}  // namespace perigee
