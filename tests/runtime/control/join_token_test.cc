#include "runtime/control/join_token.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "absl/strings/escaping.h"

namespace perigee {
namespace {

std::string Key() {
  std::string key;
  for (char c = 0; c < 32; ++c) key.push_back(c);
  return key;
}
const std::string kNonce(kJoinNonceBytes, 'n');
constexpr Incarnation kIncarnation = {.high = 0x0102030405060708, .low = 0x1112131415161718};

// Made with Python: hmac.new(key, b"perigee join v1" + struct.pack(">I", 32) + nonce +
// struct.pack(">IQQ", 7, high, low), "sha256").
TEST(JoinToken, IsTheHmacThatItsHeaderDescribes) {
  EXPECT_EQ(absl::BytesToHexString(JoinToken(Key(), kNonce, NodeId(7), kIncarnation)),
            "b59743509ce521050fa6d301774f2240"
            "870d2df487ffef105b82c66b214a470c");
}

TEST(JoinToken, FitsOneKeyNonceNodeAndIncarnationOnly) {
  const std::string token = JoinToken(Key(), kNonce, NodeId(7), kIncarnation);
  EXPECT_TRUE(CheckJoinToken(token, token).ok());
  std::string other_key = Key();
  other_key[0] = 1;
  Incarnation next = kIncarnation;
  ++next.low;
  const std::set<std::string> tokens = {
      token, JoinToken(other_key, kNonce, NodeId(7), kIncarnation),
      JoinToken(Key(), RandomBytes32(), NodeId(7), kIncarnation),
      JoinToken(Key(), kNonce, NodeId(8), kIncarnation), JoinToken(Key(), kNonce, NodeId(7), next)};
  EXPECT_EQ(tokens.size(), 5u);
  for (const std::string& other : tokens) {
    EXPECT_EQ(CheckJoinToken(other, token).ok(), other == token);
  }
}

TEST(JoinToken, RefusalsSayWhatIsWrong) {
  const std::string token = JoinToken(Key(), kNonce, NodeId(7), kIncarnation);
  const absl::Status none = CheckJoinToken("", token);
  EXPECT_EQ(none.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_NE(none.message().find("no join token"), std::string::npos) << none;
  const absl::Status cut = CheckJoinToken(token.substr(1), token);
  EXPECT_EQ(cut.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_NE(cut.message().find("replayed"), std::string::npos) << cut;
}

TEST(JoinToken, NoncesAreNew) {
  std::set<std::string> nonces;
  for (int i = 0; i < 100; ++i) nonces.insert(RandomBytes32());
  EXPECT_EQ(nonces.size(), 100u);
  EXPECT_EQ(nonces.begin()->size(), kJoinNonceBytes);
}

}  // namespace
}  // namespace perigee
