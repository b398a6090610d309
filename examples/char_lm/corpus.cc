#include "examples/char_lm/corpus.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "examples/char_lm/philox.h"
#include "transport/base/status.h"

namespace perigee::char_lm {
namespace {

constexpr const char* kDefaultTextPaths[] = {
    "/usr/share/common-licenses/GPL-3",
    "/usr/share/common-licenses/GPL-2",
    "/usr/share/common-licenses/LGPL-2.1",
};

absl::Status CheckFile(const std::string& path) {
  if (path.empty()) {
    return absl::InvalidArgumentError(
        "no text file is named, and this machine has no default text");
  }
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (status.type() == std::filesystem::file_type::not_found) {
    return absl::NotFoundError(absl::StrCat("text file ", path, " does not exist"));
  }
  if (error) {
    return absl::PermissionDeniedError(
        absl::StrCat("text file ", path, " cannot be looked at: ", error.message()));
  }
  if (status.type() != std::filesystem::file_type::regular) {
    return absl::FailedPreconditionError(absl::StrCat("text file ", path, " is not a plain file"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Corpus> Corpus::Load(const std::string& path) {
  PERIGEE_RETURN_IF_ERROR(CheckFile(path));
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return absl::PermissionDeniedError(
        absl::StrCat("text file ", path, " cannot be opened: ", std::strerror(errno)));
  }
  std::string text;
  std::array<char, 65536> block;
  while (file.read(block.data(), block.size()), file.gcount() > 0) {
    text.append(block.data(), static_cast<size_t>(file.gcount()));
    if (text.size() > kTextBytesMax) break;  // FromText says so.
  }
  if (file.bad()) return absl::DataLossError(absl::StrCat("text file ", path, ": read failed"));
  absl::StatusOr<Corpus> corpus = FromText(text);
  if (!corpus.ok()) {
    return absl::Status(corpus.status().code(),
                        absl::StrCat("text file ", path, ": ", corpus.status().message()));
  }
  return corpus;
}

absl::StatusOr<Corpus> Corpus::FromText(absl::string_view text) {
  if (text.empty()) return absl::InvalidArgumentError("the text is empty");
  if (text.size() > kTextBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("the text has more than the ", kTextBytesMax, " bytes that are supported"));
  }
  std::array<bool, 256> occurs{};
  for (char c : text) occurs[static_cast<uint8_t>(c)] = true;
  std::vector<uint8_t> vocabulary;
  std::array<uint8_t, 256> token_of{};
  for (int byte = 0; byte < 256; ++byte) {
    if (!occurs[byte]) continue;
    token_of[byte] = static_cast<uint8_t>(vocabulary.size());
    vocabulary.push_back(static_cast<uint8_t>(byte));
  }
  if (vocabulary.size() < 2) {
    return absl::InvalidArgumentError("the text repeats one byte: there is nothing to learn");
  }
  std::vector<uint8_t> tokens;
  tokens.reserve(text.size());
  for (char c : text) tokens.push_back(token_of[static_cast<uint8_t>(c)]);
  return Corpus(std::move(vocabulary), std::move(tokens));
}

absl::Status Corpus::ValidateColumns(int columns) const {
  if (columns < 1) return absl::InvalidArgumentError("a sequence needs at least one token");
  if (tokens_.size() < static_cast<size_t>(columns) + 1) {
    return absl::InvalidArgumentError(absl::StrCat("the text has ", tokens_.size(),
                                                   " bytes; a context of ", columns,
                                                   " needs at least ", columns + 1));
  }
  return absl::OkStatus();
}

TokenBatch Corpus::Batch(uint64_t seed, StepId step, MicrobatchId microbatch,
                         BatchShape shape) const {
  PERIGEE_CHECK(ValidateColumns(shape.columns).ok());
  const PhiloxKey key = StreamKey(seed, Stream::kBatch);
  const uint32_t offset_count = static_cast<uint32_t>(tokens_.size() - shape.columns);
  TokenBatch batch{.shape = shape, .inputs = {}, .targets = {}};
  batch.inputs.reserve(static_cast<size_t>(shape.rows) * shape.columns);
  batch.targets.reserve(batch.inputs.capacity());
  for (int row = 0; row < shape.rows; ++row) {
    const PhiloxBlock draw =
        Philox({microbatch.value(), static_cast<uint32_t>(row), static_cast<uint32_t>(step.value()),
                static_cast<uint32_t>(step.value() >> 32)},
               key);
    const auto first = tokens_.begin() + Below(draw[0], draw[1], offset_count);
    batch.inputs.insert(batch.inputs.end(), first, first + shape.columns);
    batch.targets.insert(batch.targets.end(), first + 1, first + 1 + shape.columns);
  }
  return batch;
}

std::string DefaultTextPath() {
  std::error_code error;
  for (const char* path : kDefaultTextPaths) {
    if (std::filesystem::is_regular_file(path, error)) return path;
  }
  return "";
}

}  // namespace perigee::char_lm
