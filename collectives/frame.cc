#include "collectives/frame.h"

#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "transport/base/status.h"

#define XXH_INLINE_ALL
#include "xxhash.h"

namespace perigee {
namespace {

constexpr size_t kHeaderBytes = 32;
constexpr size_t kDigestBytes = 8;

template <typename T>
void Put(absl::Span<uint8_t> out, size_t offset, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) out[offset + i] = static_cast<uint8_t>(value >> (8 * i));
}

template <typename T>
T Get(absl::Span<const uint8_t> in, size_t offset) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) value |= static_cast<T>(in[offset + i]) << (8 * i);
  return value;
}

uint64_t DigestOf(absl::Span<const uint8_t> body, absl::Span<const uint8_t> trailer) {
  const uint64_t seed = XXH3_64bits(body.data(), body.size());
  return XXH3_64bits_withSeed(trailer.data(), trailer.size() - kDigestBytes, seed);
}

bool HasBitsOutside(const ContributionSet& set) {
  const uint32_t used = set.universe() % 64;
  return used != 0 && (set.words().back() >> used) != 0;
}

}  // namespace

size_t FrameBytes(uint32_t universe_max) {
  return kHeaderBytes + (size_t{universe_max} + 63) / 64 * 8 + kDigestBytes;
}

void EncodeFrame(const Frame& frame, absl::Span<const uint8_t> body, absl::Span<uint8_t> trailer) {
  const uint32_t universe = frame.contributions.universe();
  PERIGEE_CHECK(universe <= ContributionSet::kUniverseMax);
  PERIGEE_CHECK(trailer.size() >= FrameBytes(universe));
  std::memset(trailer.data(), 0, trailer.size());
  Put<uint32_t>(trailer, 0, kFrameVersion);
  Put<uint32_t>(trailer, 4, frame.flags);
  Put<uint64_t>(trailer, 8, frame.done_through.value());
  Put<uint64_t>(trailer, 16, frame.call_digest);
  Put<uint32_t>(trailer, 24, universe);
  size_t offset = kHeaderBytes;
  for (uint64_t word : frame.contributions.words()) {
    Put<uint64_t>(trailer, offset, word);
    offset += 8;
  }
  Put<uint64_t>(trailer, trailer.size() - kDigestBytes, DigestOf(body, trailer));
}

absl::StatusOr<Frame> DecodeFrame(absl::Span<const uint8_t> body,
                                  absl::Span<const uint8_t> trailer) {
  if (trailer.size() < FrameBytes(0)) {
    return absl::DataLossError(
        absl::StrCat("trailer has ", trailer.size(), " bytes, less than ", FrameBytes(0)));
  }
  const uint64_t expected = Get<uint64_t>(trailer, trailer.size() - kDigestBytes);
  const uint64_t digest = DigestOf(body, trailer);
  if (digest != expected) {
    return absl::DataLossError(absl::StrCat("digest ", absl::Hex(digest, absl::kZeroPad16),
                                            " does not match ",
                                            absl::Hex(expected, absl::kZeroPad16)));
  }
  const uint32_t version = Get<uint32_t>(trailer, 0);
  if (version != kFrameVersion) {
    return absl::DataLossError(
        absl::StrCat("frame version ", absl::Hex(version), ", not ", absl::Hex(kFrameVersion)));
  }
  const uint32_t universe = Get<uint32_t>(trailer, 24);
  if (universe > ContributionSet::kUniverseMax || FrameBytes(universe) > trailer.size()) {
    return absl::DataLossError(
        absl::StrCat("a universe of ", universe, " in a trailer of ", trailer.size(), " bytes"));
  }
  Frame frame = {.contributions = ContributionSet(universe),
                 .flags = Get<uint32_t>(trailer, 4),
                 .done_through = OpId(Get<uint64_t>(trailer, 8)),
                 .call_digest = Get<uint64_t>(trailer, 16)};
  size_t offset = kHeaderBytes;
  for (uint64_t& word : frame.contributions.words()) {
    word = Get<uint64_t>(trailer, offset);
    offset += 8;
  }
  if (HasBitsOutside(frame.contributions)) {
    return absl::DataLossError(absl::StrCat("contributions outside their universe of ", universe));
  }
  return frame;
}

}  // namespace perigee
