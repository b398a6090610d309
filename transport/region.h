// A message in memory: a body and a small trailer, two byte spans that travel as one message, so
// that tensor data stays where it is while the frame that describes it lives elsewhere. Non-owning.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "absl/types/span.h"
#include "transport/base/status.h"

namespace perigee {

struct ConstRegion {
  absl::Span<const uint8_t> body;
  absl::Span<const uint8_t> trailer;

  size_t size() const { return body.size() + trailer.size(); }

  // Copies bytes [offset, offset + out.size()) of the message. The range must lie inside the
  // message.
  void Read(size_t offset, absl::Span<uint8_t> out) const {
    PERIGEE_CHECK(offset + out.size() <= size());
    const size_t from_body =
        offset < body.size() ? std::min(out.size(), body.size() - offset) : size_t{0};
    if (from_body > 0) std::memcpy(out.data(), body.data() + offset, from_body);
    if (from_body < out.size()) {
      std::memcpy(out.data() + from_body, trailer.data() + (offset + from_body - body.size()),
                  out.size() - from_body);
    }
  }
};

struct MutableRegion {
  absl::Span<uint8_t> body;
  absl::Span<uint8_t> trailer;

  size_t size() const { return body.size() + trailer.size(); }

  // Writes `in` at [offset, offset + in.size()) of the message. The range must lie inside the
  // message.
  void Write(size_t offset, absl::Span<const uint8_t> in) const {
    PERIGEE_CHECK(offset + in.size() <= size());
    const size_t to_body =
        offset < body.size() ? std::min(in.size(), body.size() - offset) : size_t{0};
    if (to_body > 0) std::memcpy(body.data() + offset, in.data(), to_body);
    if (to_body < in.size()) {
      std::memcpy(trailer.data() + (offset + to_body - body.size()), in.data() + to_body,
                  in.size() - to_body);
    }
  }
};

}  // namespace perigee
