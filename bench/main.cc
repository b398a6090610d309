// perigee-bench: one program for all measurements; each command is a file of its own.
#include "bench/allreduce.h"
#include "bench/compare.h"
#include "bench/control.h"
#include "bench/link.h"
#include "bench/reduce.h"
#include "bench/train.h"
#include "runtime/cli/flags.h"

int main(int argc, char** argv) {
  perigee::Program program("perigee-bench", "Measures Perigee.",
                           "perigee-bench link --loss 1%\n"
                           "perigee-bench allreduce --clock real --nodes 4\n"
                           "perigee-bench link --help");
  perigee::LinkOptions link;
  perigee::AddLinkCommand(program, link);
  perigee::AllReduceOptions all_reduce;
  perigee::AddAllReduceCommand(program, all_reduce);
  perigee::CompareOptions compare;
  perigee::AddCompareCommand(program, compare);
  perigee::TrainSweepOptions train;
  perigee::AddTrainCommand(program, train);
  perigee::ReduceOptions reduce;
  perigee::AddReduceCommand(program, reduce);
  perigee::ControlOptions control;
  perigee::AddControlCommand(program, control);
  return program.Run(argc, argv);
}
