#include "transport/view.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <vector>

namespace perigee {
namespace {

// The canonical form: every field in the order of the struct, integers as 64-bit little-endian
// words, strings and lists with their length before them.
class CanonicalWriter {
 public:
  void Word(uint64_t value) {
    for (int shift = 0; shift < 64; shift += 8)
      bytes_.push_back(static_cast<uint8_t>(value >> shift));
  }
  void Words(const Incarnation& id) {
    Word(id.high);
    Word(id.low);
  }
  void Text(const std::string& text) {
    Word(text.size());
    bytes_.insert(bytes_.end(), text.begin(), text.end());
  }
  uint64_t Digest() const { return XXH3_64bits(bytes_.data(), bytes_.size()); }

 private:
  std::vector<uint8_t> bytes_;
};

}  // namespace

uint64_t Digest(const View& view) {
  CanonicalWriter writer;
  writer.Words(view.job);
  writer.Word(view.epoch.value());
  writer.Word(view.ballot.round);
  writer.Word(view.ballot.proposer.value());
  writer.Words(view.ballot.incarnation);
  writer.Word(view.previous_digest);
  writer.Word(view.members.size());
  for (const Member& member : view.members) {
    writer.Word(member.node.value());
    writer.Words(member.incarnation);
    writer.Word(member.votes);
    writer.Text(member.address);
  }
  writer.Word(view.tie_breaker.value());
  writer.Word(view.first_step.value());
  return writer.Digest();
}

}  // namespace perigee
