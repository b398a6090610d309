// The text that the model learns: the bytes of one file, numbered by the sorted distinct bytes that
// occur.
//
//   auto corpus = Corpus::Load(DefaultTextPath());
//   TokenBatch batch = corpus->Batch(seed, step, microbatch, {.rows = 2, .columns = 64});
//
// Which text a microbatch holds depends on (seed, step, microbatch) only: a microbatch that is
// dealt again to another member brings the same samples, none lost and none twice. All members need
// the same file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "transport/base/ids.h"

namespace perigee::char_lm {

// A file above this is refused: the text is held in memory, one byte a token.
inline constexpr size_t kTextBytesMax = size_t{256} << 20;

struct BatchShape {
  int rows = 0;     // Sequences.
  int columns = 0;  // Tokens of each: the model's context.
};

// `targets[i]` is the token that follows `inputs[i]`. Row-major, rows · columns of each.
struct TokenBatch {
  BatchShape shape;
  std::vector<int32_t> inputs;
  std::vector<int32_t> targets;
};

// Immutable.
class Corpus {
 public:
  // NotFound, PermissionDenied or FailedPrecondition (not a plain file) when it cannot be read;
  // InvalidArgument when it is empty, of one symbol only, or larger than kTextBytesMax.
  static absl::StatusOr<Corpus> Load(const std::string& path);
  static absl::StatusOr<Corpus> FromText(absl::string_view text);

  // InvalidArgument when the text is too small to cut a sequence of `columns` tokens and its
  // targets from.
  absl::Status ValidateColumns(int columns) const;

  // Sequences from uniformly drawn offsets. `shape.columns` has passed ValidateColumns.
  TokenBatch Batch(uint64_t seed, StepId step, MicrobatchId microbatch, BatchShape shape) const;

  int VocabularySize() const { return static_cast<int>(vocabulary_.size()); }
  size_t size() const { return tokens_.size(); }
  // The byte of each token, ascending.
  const std::vector<uint8_t>& vocabulary() const { return vocabulary_; }
  const std::vector<uint8_t>& tokens() const { return tokens_; }

 private:
  Corpus(std::vector<uint8_t> vocabulary, std::vector<uint8_t> tokens)
      : vocabulary_(std::move(vocabulary)), tokens_(std::move(tokens)) {}

  std::vector<uint8_t> vocabulary_;
  std::vector<uint8_t> tokens_;
};

// A text that is there already: Debian and Ubuntu put the common licences into base-files, an
// essential package, so that even the smallest container has them and a first run needs no
// download. 35 kB of English is enough for the loss to fall visibly. Empty when the machine has
// none of them.
std::string DefaultTextPath();

}  // namespace perigee::char_lm
