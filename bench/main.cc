// perigee-bench: one program for all measurements; each command is a file of its own.
#include "bench/link.h"
#include "runtime/cli/flags.h"

int main(int argc, char** argv) {
  perigee::Program program("perigee-bench", "Measures Perigee.",
                           "perigee-bench link --loss 1%\nperigee-bench link --help");
  perigee::LinkOptions link;
  perigee::AddLinkCommand(program, link);
  return program.Run(argc, argv);
}
