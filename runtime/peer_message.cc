#include "runtime/peer_message.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"

namespace perigee {
namespace {

enum class Type : uint8_t { kCall = 1, kDone = 2, kFail = 3 };

class Writer {
 public:
  explicit Writer(Type type) : bytes_{static_cast<uint8_t>(type)} {}
  Writer& Integer(uint64_t value, int size) {
    for (int i = 0; i < size; ++i) bytes_.push_back(static_cast<uint8_t>(value >> (8 * i)));
    return *this;
  }
  Writer& Text(const std::string& text) {
    const size_t size = std::min(text.size(), kPeerTextBytesMax);
    Integer(size, 2);
    bytes_.insert(bytes_.end(), text.begin(), text.begin() + static_cast<ptrdiff_t>(size));
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
  std::string Text() {
    const size_t size = Integer(2);
    if (size > kPeerTextBytesMax || size > bytes_.size() - position_) {
      whole_ = false;
      return "";
    }
    std::string text(bytes_.begin() + static_cast<ptrdiff_t>(position_),
                     bytes_.begin() + static_cast<ptrdiff_t>(position_ + size));
    position_ += size;
    return text;
  }
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
  const auto& fail = std::get<FailMessage>(message);
  return Writer(Type::kFail)
      .Integer(fail.op.value(), 8)
      .Integer(fail.code, 4)
      .Text(fail.text)
      .Take();
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
      message = FailMessage{.op = OpId(reader.Integer(8)),
                            .code = static_cast<uint32_t>(reader.Integer(4)),
                            .text = reader.Text()};
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
