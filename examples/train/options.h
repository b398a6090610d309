// What `example-train` can be told; the same for the launcher and the members that it starts.
#pragma once

#include <cstdint>
#include <string>

#include "absl/time/time.h"

namespace perigee {

struct TrainOptions {
  uint32_t nodes = 6;
  std::string text;  // empty: a text that every Debian has
  uint64_t steps = 100;
  uint32_t microbatches = 24;
  uint64_t seed = 1;
  std::string faults = "demo";
  double rate_bytes_per_second = 25e6;  // 200 Mbit/s
  absl::Duration delay = absl::Milliseconds(10);
  double loss = 0.01;
  double burst_ms = 0;
  bool netns = false;  // links by perigee-linkemu instead of the channel model in each member
  std::string json_path;
  uint32_t stages = 1;
  std::string device = "cpu";

  // A member of a job, not the launcher.
  int member = -1;
  std::string coordinator = "127.0.0.1:7000";
  std::string certs;      // of a member; the launcher makes its own
  bool insecure = false;  // of a member, and of the whole job that the launcher starts
  std::string listen = "127.0.0.1:0";
  std::string flight_records;  // folder; empty: none are written
  bool real_links = false;     // emulate nothing
  std::string state_dir;       // folder; empty: nothing outlives the process
};

}  // namespace perigee
