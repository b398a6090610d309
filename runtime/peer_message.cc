#include "runtime/peer_message.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"

namespace perigee {
namespace {

enum class Type : uint8_t { kCall = 1, kDone = 2, kFail = 3, kSummons = 4, kPart = 5 };

class Writer {
 public:
  explicit Writer(Type type) : bytes_{static_cast<uint8_t>(type)} {}
  Writer& Integer(uint64_t value, int size) {
    for (int i = 0; i < size; ++i) bytes_.push_back(static_cast<uint8_t>(value >> (8 * i)));
    return *this;
  }
  Writer& Text(const std::string& text) {
    return Bytes(absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(text.data()),
                                     std::min(text.size(), kPeerTextBytesMax)));
  }
  Writer& Bytes(absl::Span<const uint8_t> bytes) {
    Integer(bytes.size(), 2);
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  std::vector<uint8_t> Take() { return std::move(bytes_); }

 private:
  std::vector<uint8_t> bytes_;
};

// Reads past the end give zeros and make `whole` false.
class Reader {
 public:
  explicit Reader(absl::Span<const uint8_t> bytes) : bytes_(bytes) {}
  uint64_t Integer(int size) {
    uint64_t value = 0;
    for (int i = 0; i < size; ++i) {
      if (position_ >= bytes_.size()) {
        whole_ = false;
        return 0;
      }
      value |= uint64_t{bytes_[position_++]} << (8 * i);
    }
    return value;
  }
  absl::Span<const uint8_t> Bytes(size_t size_max) {
    const size_t size = Integer(2);
    if (size > size_max || size > bytes_.size() - position_) {
      whole_ = false;
      return {};
    }
    position_ += size;
    return bytes_.subspan(position_ - size, size);
  }
  std::string Text() {
    const absl::Span<const uint8_t> bytes = Bytes(kPeerTextBytesMax);
    return std::string(bytes.begin(), bytes.end());
  }
  bool Flag() {
    const uint64_t value = Integer(1);
    whole_ = whole_ && value <= 1;
    return value == 1;
  }
  uint32_t U32() { return static_cast<uint32_t>(Integer(4)); }
  bool whole() const { return whole_ && position_ == bytes_.size(); }

 private:
  absl::Span<const uint8_t> bytes_;
  size_t position_ = 0;
  bool whole_ = true;
};

}  // namespace

std::vector<uint8_t> Encode(const PeerMessage& message) {
  if (const auto* call = std::get_if<CallMessage>(&message)) {
    return Writer(Type::kCall).Integer(call->op.value(), 8).Text(call->text).Take();
  }
  if (const auto* done = std::get_if<DoneMessage>(&message)) {
    return Writer(Type::kDone).Integer(done->through.value(), 8).Take();
  }
  if (const auto* summons = std::get_if<SummonsMessage>(&message)) {
    return Writer(Type::kSummons).Integer(summons->life, 4).Integer(summons->has_view, 1).Take();
  }
  if (const auto* part = std::get_if<PartMessage>(&message)) {
    return Writer(Type::kPart)
        .Integer(part->life, 4)
        .Integer(part->up, 1)
        .Integer(part->sequence, 4)
        .Integer(part->last, 1)
        .Bytes(part->bytes)
        .Take();
  }
  const auto& fail = std::get<FailMessage>(message);
  return Writer(Type::kFail)
      .Integer(fail.op.value(), 8)
      .Integer(fail.code, 4)
      .Text(fail.text)
      .Take();
}

namespace {

PartMessage ReadPart(Reader& reader) {
  PartMessage part{.life = reader.U32(), .up = reader.Flag(), .sequence = reader.U32()};
  part.last = reader.Flag();
  const absl::Span<const uint8_t> bytes = reader.Bytes(kPartBytesMax);
  part.bytes.assign(bytes.begin(), bytes.end());
  return part;
}

}  // namespace

bool IsAboutViews(absl::Span<const uint8_t> bytes) {
  if (bytes.empty()) return false;
  const Type type = static_cast<Type>(bytes[0]);
  return type == Type::kSummons || type == Type::kPart;
}

absl::StatusOr<PeerMessage> DecodePeerMessage(absl::Span<const uint8_t> bytes) {
  Reader reader(bytes);
  PeerMessage message;
  switch (static_cast<Type>(reader.Integer(1))) {
    case Type::kCall:
      message = CallMessage{.op = OpId(reader.Integer(8)), .text = reader.Text()};
      break;
    case Type::kDone:
      message = DoneMessage{.through = OpId(reader.Integer(8))};
      break;
    case Type::kFail:
      message =
          FailMessage{.op = OpId(reader.Integer(8)), .code = reader.U32(), .text = reader.Text()};
      break;
    case Type::kSummons:
      message = SummonsMessage{.life = reader.U32(), .has_view = reader.Flag()};
      break;
    case Type::kPart:
      message = ReadPart(reader);
      break;
    default:
      return absl::InvalidArgumentError("peer message of an unknown type");
  }
  const auto* fail = std::get_if<FailMessage>(&message);
  if (!reader.whole() || (fail != nullptr && (fail->code == 0 || fail->code > 16))) {
    return absl::InvalidArgumentError("peer message that is cut short, too long, or out of range");
  }
  return message;
}

}  // namespace perigee
