#include "runtime/control/join_token.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

void AppendBigEndian(uint64_t value, int bytes, std::string* out) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
    out->push_back(static_cast<char>(value >> shift));
  }
}

}  // namespace

std::string RandomBytes32() {
  unsigned char bytes[32];
  PERIGEE_CHECK(RAND_bytes(bytes, sizeof(bytes)) == 1);
  return std::string(reinterpret_cast<const char*>(bytes), sizeof(bytes));
}

std::string JoinToken(absl::string_view join_key, absl::string_view nonce, NodeId node,
                      const Incarnation& incarnation) {
  // Every part but the nonce has a fixed length, and the nonce's is given first: no two inputs have
  // the same bytes.
  std::string text = "perigee join v1";
  AppendBigEndian(nonce.size(), 4, &text);
  absl::StrAppend(&text, nonce);
  AppendBigEndian(node.value(), 4, &text);
  AppendBigEndian(incarnation.high, 8, &text);
  AppendBigEndian(incarnation.low, 8, &text);
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  const void* made =
      HMAC(EVP_sha256(), join_key.data(), static_cast<int>(join_key.size()),
           reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest, &size);
  PERIGEE_CHECK(made != nullptr);
  return std::string(reinterpret_cast<const char*>(digest), size);
}

absl::Status CheckJoinToken(absl::string_view token, absl::string_view expected) {
  if (token.empty()) {
    return absl::UnauthenticatedError(
        "the registration has no join token: start the member with --certs and the job's join.key");
  }
  if (token.size() == expected.size() &&
      CRYPTO_memcmp(token.data(), expected.data(), expected.size()) == 0) {
    return absl::OkStatus();
  }
  return absl::UnauthenticatedError(
      "the join token does not fit this stream: it was made with another join.key, or is replayed");
}

}  // namespace perigee
