// `perigeectl store check PATH` and `perigeectl store backup PATH --to PATH`: what is in a store of
// perigeed, and a copy of it. Both work on the file, whether a perigeed has it open or not.
#pragma once

#include <string>

#include "runtime/cli/flags.h"

namespace perigee {

struct StoreCommandOptions {
  std::string path;
  std::string to;
};

// `options` and `output` ("json", or a table is printed) outlive the program.
void AddStoreCommands(Program& program, StoreCommandOptions& options, const std::string& output);

}  // namespace perigee
