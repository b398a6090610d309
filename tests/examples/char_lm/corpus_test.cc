#include "examples/char_lm/corpus.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include "transport/base/rng.h"

namespace perigee::char_lm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string WriteText(const std::string& name, const std::string& text) {
  std::string path = ::testing::TempDir() + "perigee_corpus_" + name;
  std::ofstream(path, std::ios::binary) << text;
  return path;
}

TEST(CorpusTest, NumbersTheDistinctBytesInOrder) {
  const Corpus corpus = Corpus::FromText("banana\n").value();
  EXPECT_THAT(corpus.vocabulary(), ElementsAre('\n', 'a', 'b', 'n'));
  EXPECT_THAT(corpus.tokens(), ElementsAre(2, 1, 3, 1, 3, 1, 0));
}

TEST(CorpusTest, LoadReadsEveryByteOfAFile) {
  std::string text;
  for (int byte = 255; byte >= 0; --byte) text.push_back(static_cast<char>(byte));
  const std::string path = WriteText("bytes", text);
  const absl::StatusOr<Corpus> corpus = Corpus::Load(path);
  std::filesystem::remove(path);
  ASSERT_TRUE(corpus.ok()) << corpus.status();
  EXPECT_EQ(corpus->VocabularySize(), 256);
  EXPECT_EQ(corpus->tokens().front(), 255);
  EXPECT_EQ(corpus->tokens().back(), 0);
}

TEST(CorpusTest, ErrorsNameTheFileAndTheCause) {
  const absl::Status missing = Corpus::Load("/nonexistent/text").status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.message()), HasSubstr("/nonexistent/text does not exist"));

  const absl::Status folder = Corpus::Load(::testing::TempDir()).status();
  EXPECT_EQ(folder.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(folder.message()), HasSubstr("not a plain file"));

  EXPECT_EQ(Corpus::Load("").status().code(), absl::StatusCode::kInvalidArgument);

  const std::string path = WriteText("empty", "");
  const absl::Status empty = Corpus::Load(path).status();
  std::filesystem::remove(path);
  EXPECT_EQ(empty.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(empty.message()), HasSubstr(path + ": the text is empty"));
}

TEST(CorpusTest, UnreadableFileIsRefused) {
  const std::string path = WriteText("secret", "abc");
  std::filesystem::permissions(path, std::filesystem::perms::none);
  const bool readable_anyway = std::ifstream(path).good();  // As for root.
  const absl::Status status = Corpus::Load(path).status();
  std::filesystem::remove(path);
  if (readable_anyway) GTEST_SKIP() << "this user may read everything";
  EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(status.message()), HasSubstr(path));
}

TEST(CorpusTest, TextOfOneSymbolIsRefused) {
  EXPECT_EQ(Corpus::FromText("aaaa").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(CorpusTest, TextMustHoldOneSequenceAndItsTargets) {
  const Corpus corpus = Corpus::FromText("abcabc").value();
  EXPECT_TRUE(corpus.ValidateColumns(5).ok());
  const absl::Status status = corpus.ValidateColumns(6);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("needs at least 7"));
  // The smallest text has one offset only.
  const TokenBatch batch = corpus.Batch(1, StepId(0), MicrobatchId(0), {.rows = 1, .columns = 5});
  EXPECT_THAT(batch.inputs, ElementsAre(0, 1, 2, 0, 1));
  EXPECT_THAT(batch.targets, ElementsAre(1, 2, 0, 1, 2));
}

TEST(CorpusTest, DefaultTextExistsOrIsEmpty) {
  const std::string path = DefaultTextPath();
  if (path.empty()) GTEST_SKIP() << "no common licences on this machine";
  EXPECT_TRUE(Corpus::Load(path).ok());
}

// Property: a batch is a function of (seed, step, microbatch) and of each of them, and every target
// follows its input in the text.
TEST(CorpusTest, BatchIsAPureFunctionOfSeedStepAndMicrobatch) {
  std::string text;
  for (int i = 0; i < 40000; ++i) text.append(std::to_string(i));
  const Corpus corpus = Corpus::FromText(text).value();
  constexpr BatchShape kShape{.rows = 3, .columns = 32};
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    Rng rng(seed);
    const StepId step(rng.Next());
    const MicrobatchId microbatch(static_cast<uint32_t>(rng.Next()));
    const TokenBatch batch = corpus.Batch(seed, step, microbatch, kShape);
    corpus.Batch(seed + 1, step, microbatch, kShape);
    EXPECT_EQ(batch.inputs, corpus.Batch(seed, step, microbatch, kShape).inputs);
    EXPECT_NE(batch.inputs, corpus.Batch(seed + 1, step, microbatch, kShape).inputs);
    EXPECT_NE(batch.inputs, corpus.Batch(seed, step.Next(), microbatch, kShape).inputs);
    EXPECT_NE(batch.inputs, corpus.Batch(seed, step, microbatch.Next(), kShape).inputs);
    ASSERT_EQ(batch.inputs.size(), 96);
    ASSERT_EQ(batch.targets.size(), 96);
    for (int i = 0; i < 96; ++i) {
      if (i % kShape.columns == 0) continue;
      EXPECT_EQ(batch.inputs[i], batch.targets[i - 1]);
    }
  }
}

}  // namespace
}  // namespace perigee::char_lm
