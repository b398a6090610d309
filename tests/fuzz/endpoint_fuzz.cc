// An endpoint that is given calls, times, and packets of its peer with right checksums and
// arbitrary contents. Nothing may crash, no byte outside a posted region may be written
// (AddressSanitizer watches), nobody may be asked to call again for ever.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "transport/base/status.h"
#include "transport/endpoint.h"
#include "transport/wire.h"

namespace perigee {
namespace {

constexpr Incarnation kSelf{1, 2};
constexpr Incarnation kPeer{3, 4};
constexpr int kPacketsPerStepMax = 5000;

class World {
 public:
  explicit World(FuzzedDataProvider& input)
      : input_(input),
        endpoint_({.self = NodeId(0),
                   .incarnation = kSelf,
                   .transfers_max = 8,
                   .controls_max = 4,
                   .events_max = 16},
                  Rng(1)) {
    AddPeer();
  }

  void Step() {
    switch (input_.ConsumeIntegralInRange(0, 9)) {
      case 0:
        return Post();
      case 1:
        return Send();
      case 2:
        return endpoint_.CancelReceive(NodeId(1), Key());
      case 3:
        return endpoint_.CancelSend(NodeId(1), Key());
      case 4:
        return Control();
      case 5:
        now_ += absl::Microseconds(input_.ConsumeIntegralInRange(0, 200'000));
        return endpoint_.OnTimeout(now_);
      case 6:
        return Drain();
      case 7:
        return input_.ConsumeBool() ? endpoint_.CancelEpoch(Epoch(1)) : AddPeer();
      default:
        return Packet();
    }
  }

 private:
  TransferKey Key() {
    return {.epoch = Epoch(1), .chunk = ChunkId(input_.ConsumeIntegralInRange(0, 7))};
  }
  void AddPeer() {
    const double rate = input_.ConsumeBool() ? 0 : 1e6;
    const absl::Duration delay = absl::Milliseconds(input_.ConsumeIntegralInRange(0, 50));
    PERIGEE_CHECK(endpoint_.AddPeer(now_, {NodeId(1), kPeer, {rate, delay}}).ok());
  }
  // Regions live as long as the world: the endpoint may hold on to all of them.
  absl::Span<uint8_t> NewMemory() {
    memory_.push_back(
        std::make_unique<std::vector<uint8_t>>(input_.ConsumeIntegralInRange(0, 5000)));
    return absl::MakeSpan(*memory_.back());
  }
  void Post() { (void)endpoint_.PostReceive(now_, NodeId(1), Key(), {.body = NewMemory()}); }
  void Send() {
    (void)endpoint_.Send(now_, NodeId(1), Key(), {.body = NewMemory()}, TrafficClass::kCollective);
  }
  void Control() {
    const std::vector<uint8_t> bytes(input_.ConsumeIntegralInRange(0, 1300));
    (void)endpoint_.SendControl(now_, NodeId(1), bytes);
  }
  void Drain() {
    std::vector<uint8_t> out(Endpoint::kDatagramBytesMax);
    int packets = 0;
    while (endpoint_.NextTransmit(now_, absl::MakeSpan(out))) {
      PERIGEE_CHECK(++packets < kPacketsPerStepMax);
    }
    while (endpoint_.NextEvent()) {
    }
    PERIGEE_CHECK(endpoint_.NextTimeout() > now_);
  }
  void Packet() {
    std::vector<uint8_t> packet(wire::kPacketBytesMax);
    wire::Header header;
    header.type = input_.PickValueInArray({wire::PacketType::kData, wire::PacketType::kControl,
                                           wire::PacketType::kAck, wire::PacketType::kFenced});
    header.connection = wire::ConnectionId(kPeer, kSelf);
    header.number = input_.ConsumeIntegralInRange<uint64_t>(0, 300);
    header.floor = input_.ConsumeIntegralInRange<uint64_t>(0, header.number);
    const std::vector<uint8_t> body =
        input_.ConsumeBytes<uint8_t>(input_.ConsumeIntegralInRange<size_t>(0, wire::kBodyBytesMax));
    wire::PacketWriter writer(absl::MakeSpan(packet), header);
    const size_t size = writer.Finish();  // for the header
    packet.resize(size - wire::kTrailerBytes);
    packet.insert(packet.end(), body.begin(), body.end());
    if (header.type == wire::PacketType::kData && input_.ConsumeBool()) {
      // Padding to the size of a full segment.
      packet.resize(wire::kHeaderBytes + wire::kBodyBytesMax);
    }
    const uint16_t length = static_cast<uint16_t>(packet.size() - wire::kHeaderBytes);
    std::memcpy(packet.data() + 2, &length, 2);
    const uint32_t checksum = wire::Checksum(packet);
    packet.resize(packet.size() + wire::kTrailerBytes);
    std::memcpy(packet.data() + packet.size() - wire::kTrailerBytes, &checksum, 4);
    endpoint_.OnDatagram(now_, packet);
  }

  FuzzedDataProvider& input_;
  absl::Time now_ = absl::UnixEpoch();
  std::vector<std::unique_ptr<std::vector<uint8_t>>> memory_;
  Endpoint endpoint_;
};

}  // namespace
}  // namespace perigee

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider input(data, size);
  perigee::World world(input);
  while (input.remaining_bytes() > 0) world.Step();
  return 0;
}
