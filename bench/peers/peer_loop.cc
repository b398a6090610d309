#include "bench/peers/peer_loop.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "runtime/cli/report.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

// How much longer the next size will take at least: not in proportion to the bytes, because it has
// the same round trips to wait for; where bytes decide already, almost.
double Growth(uint64_t bytes, uint64_t next) {
  const double ratio = static_cast<double>(next) / static_cast<double>(bytes);
  return ratio * (bytes >= uint64_t{16} << 20 ? 0.85 : 0.5);
}

double UnixSeconds(absl::Time time) { return absl::ToDoubleSeconds(time - absl::UnixEpoch()); }

void Print(const char* event, uint32_t rank, const nlohmann::ordered_json& fields) {
  nlohmann::ordered_json line = {
      {"event", event}, {"rank", rank}, {"time", UnixSeconds(absl::Now())}};
  line.update(fields);
  const std::string text =
      line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  [[maybe_unused]] const ssize_t written = write(STDOUT_FILENO, text.data(), text.size());
}

std::vector<uint32_t> Ranks(uint32_t set) {
  std::vector<uint32_t> ranks;
  for (uint32_t rank = 0; rank < 32; ++rank) {
    if ((set >> rank & 1) != 0) ranks.push_back(rank);
  }
  return ranks;
}

}  // namespace

void PrintNotice(uint32_t rank, const std::string& message) {
  Print("notice", rank, {{"message", message}});
}

PeerLoop::PeerLoop(const PeerOptions& options, Collective& collective)
    : options_(options), collective_(collective) {}

absl::Status PeerLoop::Run() {
  if (options_.barrier) {
    PERIGEE_ASSIGN_OR_RETURN(
        barrier_, PeerBarrier::Open(absl::StrCat(options_.rendezvous, "/barrier"), options_.rank,
                                    options_.nodes()));
  }
  // How the emulator around this member can be reached; a comparison strikes links with it.
  const char* control = std::getenv("PERIGEE_LINKEMU");
  Print("ready", options_.rank,
        {{"pid", getpid()},
         {"version", collective_.version()},
         {"control", control == nullptr ? "" : control}});
  for (size_t index = 0; index < options_.sizes.size(); ++index) {
    if (next_is_too_long_) {
      Print("cut", options_.rank, {{"bytes", options_.sizes[index]}});
      continue;
    }
    PERIGEE_RETURN_IF_ERROR(RunSize(index));
  }
  // A member that ended first would close connections under the others' last bytes.
  if (barrier_ != nullptr) barrier_->Agree(0);
  Print("end", options_.rank, {{"cpu_seconds", OwnCpuSeconds()}});
  return absl::OkStatus();
}

absl::Status PeerLoop::RunSize(size_t index) {
  const uint64_t bytes = options_.sizes[index];
  std::vector<float> input(bytes / sizeof(float));
  std::vector<float> own_output(collective_.in_place() ? 0 : input.size());
  const auto in = absl::MakeSpan(input);
  const auto out = collective_.in_place() ? in : absl::MakeSpan(own_output);
  PERIGEE_RETURN_IF_ERROR(collective_.Prepare(in, out));
  const uint64_t timed = options_.iterations[std::min(index, options_.iterations.size() - 1)];
  const uint64_t warmup = next_is_slow_ ? 0 : options_.warmup;
  const absl::Time begin = absl::Now();
  fastest_ = absl::InfiniteDuration();
  for (uint64_t i = 0; i < warmup + timed; ++i) {
    FillPeerInput({options_.seed, op_}, options_.rank, in);
    PERIGEE_RETURN_IF_ERROR(RunOp(i >= warmup, in, out));
    if (barrier_ == nullptr) continue;
    // A warm-up says little: it may have met slow connections.
    const uint64_t votes = barrier_->Agree(i < warmup ? 0 : Votes(index, begin));
    next_is_too_long_ = (votes & kNextIsTooLong) != 0;
    next_is_slow_ = (votes & kNextIsSlow) != 0;
    if ((votes & kStop) != 0) break;
  }
  return absl::OkStatus();
}

uint64_t PeerLoop::Votes(size_t index, absl::Time begin) const {
  const uint64_t stop = absl::Now() - begin >= options_.budget ? kStop : 0;
  if (index + 1 == options_.sizes.size()) return stop;
  const absl::Duration next =
      fastest_ * Growth(options_.sizes[index], options_.sizes[index + 1]);
  return stop | (next > options_.budget ? kNextIsSlow : 0) |
         (next > options_.op_limit ? kNextIsTooLong : 0);
}

absl::Status PeerLoop::RunOp(bool timed, absl::Span<float> input, absl::Span<float> output) {
  const uint64_t bytes = input.size() * sizeof(float);
  nlohmann::ordered_json fields = {{"op", op_}, {"bytes", bytes}};
  if (barrier_ != nullptr) barrier_->Agree(0);
  Print("start", options_.rank, fields);
  const double cpu_begin = OwnCpuSeconds();
  const absl::Time begin = absl::Now();
  absl::Status status = collective_.AllReduce(input, output);
  const absl::Duration took = absl::Now() - begin;
  fields["seconds"] = absl::ToDoubleSeconds(took);
  if (!status.ok()) {
    fields["message"] = status.ToString();
    Print("error", options_.rank, fields);
    return status;
  }
  fields["cpu_seconds"] = OwnCpuSeconds() - cpu_begin;
  fields["ended"] = UnixSeconds(begin + took);
  fastest_ = std::min(fastest_, took);
  const uint32_t set = PeersInSum({options_.seed, op_}, options_.nodes(), output);
  fields["timed"] = timed;
  fields["members"] = Ranks(set);
  fields["checksum"] = absl::StrCat(absl::Hex(PeerChecksum(output), absl::kZeroPad16));
  Print("op", options_.rank, fields);
  ++op_;
  return absl::OkStatus();
}

}  // namespace perigee
