// What the transport spends on every packet. `perigee-bench link` says how fast a link is; this
// says where a change to one of its parts shows.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <vector>

#include "transport/ack_ranges.h"
#include "transport/base/rng.h"
#include "transport/reassembly.h"
#include "transport/sim/channel.h"
#include "transport/wire.h"

namespace perigee {
namespace {

constexpr uint32_t kSegments = 1024;

std::vector<uint8_t> Packet(uint64_t number) {
  std::vector<uint8_t> bytes(wire::kPacketBytesMax);
  wire::PacketWriter writer(absl::MakeSpan(bytes), {.connection = 1, .number = number});
  const absl::Span<uint8_t> body = writer.Data({.segment_count = 1}, wire::kSegmentBytes);
  std::fill(body.begin(), body.end(), uint8_t{0x5a});
  bytes.resize(writer.Finish());
  return bytes;
}

void BM_ChecksumOfAPacket(benchmark::State& state) {
  const std::vector<uint8_t> packet = Packet(1);
  for (auto _ : state) benchmark::DoNotOptimize(wire::Checksum(packet));
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(packet.size()));
}
BENCHMARK(BM_ChecksumOfAPacket);

void BM_WriteAPacket(benchmark::State& state) {
  std::vector<uint8_t> bytes(wire::kPacketBytesMax);
  const std::vector<uint8_t> content(wire::kSegmentBytes, 0x5a);
  uint64_t number = 0;
  for (auto _ : state) {
    wire::PacketWriter writer(absl::MakeSpan(bytes), {.connection = 1, .number = ++number});
    const absl::Span<uint8_t> body = writer.Data({.segment_count = 1}, content.size());
    std::copy(content.begin(), content.end(), body.begin());
    benchmark::DoNotOptimize(writer.Finish());
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_WriteAPacket);

void BM_ReadAPacket(benchmark::State& state) {
  const std::vector<uint8_t> packet = Packet(1);
  for (auto _ : state) benchmark::DoNotOptimize(wire::DecodePacket(packet).ok());
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_ReadAPacket);

// A message of 1024 segments, into memory that the caches hold.
void BM_ReassembleAMessage(benchmark::State& state) {
  std::vector<uint8_t> memory(size_t{kSegments} * wire::kSegmentBytes);
  const std::vector<uint8_t> segment(wire::kSegmentBytes, 0x5a);
  Reassembly reassembly(16);
  uint64_t op = 0;
  for (auto _ : state) {
    const TransferKey key = {.epoch = Epoch(1), .op = OpId::Of(StepId(++op), 1)};
    const uint64_t message = *reassembly.Post(key, {.body = absl::MakeSpan(memory)});
    for (uint32_t i = 0; i < kSegments; ++i) {
      benchmark::DoNotOptimize(reassembly.OnSegment(
          {.message = message, .segment = i, .segment_count = kSegments}, segment));
    }
  }
  state.SetItemsProcessed(state.iterations() * kSegments);
}
BENCHMARK(BM_ReassembleAMessage);

// Arrivals at a loss of `range` per mille, as the receiver notes them for its ACKs.
void BM_NoteAnArrival(benchmark::State& state) {
  AckRanges ranges;
  Rng rng(1);
  uint64_t number = 0;
  for (auto _ : state) {
    ++number;
    if (rng.Below(1000) < static_cast<uint64_t>(state.range(0))) ++number;
    ranges.Add(number);
    if (number % 4096 == 0) ranges.RaiseFloor(number - 2048);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_NoteAnArrival)->Arg(0)->Arg(10)->Arg(50);

// The emulated links, here and in perigee-linkemu.
void BM_FateOfAPacket(benchmark::State& state) {
  Channel channel({.link = {125e6, absl::Milliseconds(10)}, .loss = 0.01}, Rng(1));
  absl::Time now = absl::UnixEpoch();
  for (auto _ : state) {
    now += absl::Microseconds(12);
    benchmark::DoNotOptimize(channel.Send(now, 1500));
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_FateOfAPacket);

}  // namespace
}  // namespace perigee

BENCHMARK_MAIN();
