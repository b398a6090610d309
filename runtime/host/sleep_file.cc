#include "runtime/host/sleep_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string_view>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "runtime/control_codec.h"
#include "transport/base/status.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace perigee {
namespace {

// The file: this line, the lengths of the two parts, the parts, and a digest of all before it.
constexpr std::string_view kTitle = "perigee sleep 1\n";
constexpr size_t kHeaderBytes = kTitle.size() + 2 * sizeof(uint64_t);

absl::Status Failed(const std::string& path, const char* what) {
  return absl::UnavailableError(absl::StrCat(path, ": ", what, ": ", std::strerror(errno)));
}

absl::Status Damaged(const std::string& path, const char* what) {
  return absl::DataLossError(absl::StrCat(
      path, ": ", what, ": remove it, and the member joins as a newcomer when others run"));
}

absl::Status Sync(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Failed(path, "cannot open");
  const absl::Cleanup closer = [fd] { close(fd); };
  return fsync(fd) == 0 ? absl::OkStatus() : Failed(path, "cannot sync");
}

void Append(const void* data, size_t size, std::vector<uint8_t>* out) {
  const auto* bytes = static_cast<const uint8_t*>(data);
  out->insert(out->end(), bytes, bytes + size);
}

std::vector<uint8_t> Packed(const Sleep& sleep) {
  const std::vector<uint8_t> resumption = Encode(sleep.resumption);
  const uint64_t lengths[2] = {resumption.size(), sleep.state.size()};
  std::vector<uint8_t> bytes;
  Append(kTitle.data(), kTitle.size(), &bytes);
  Append(lengths, sizeof(lengths), &bytes);
  Append(resumption.data(), resumption.size(), &bytes);
  Append(sleep.state.data(), sleep.state.size(), &bytes);
  const XXH128_hash_t digest = XXH3_128bits(bytes.data(), bytes.size());
  Append(&digest, sizeof(digest), &bytes);
  return bytes;
}

absl::StatusOr<Sleep> Unpacked(const std::string& path, absl::Span<const uint8_t> bytes) {
  if (bytes.size() < kHeaderBytes + sizeof(XXH128_hash_t) ||
      std::memcmp(bytes.data(), kTitle.data(), kTitle.size()) != 0) {
    return Damaged(path, "not a member's sleep of this version");
  }
  XXH128_hash_t digest;
  const absl::Span<const uint8_t> before = bytes.first(bytes.size() - sizeof(digest));
  std::memcpy(&digest, before.data() + before.size(), sizeof(digest));
  uint64_t lengths[2];
  std::memcpy(lengths, bytes.data() + kTitle.size(), sizeof(lengths));
  const absl::Span<const uint8_t> parts = before.subspan(kHeaderBytes);
  if (XXH128_isEqual(digest, XXH3_128bits(before.data(), before.size())) == 0 ||
      lengths[0] > parts.size() || lengths[1] != parts.size() - lengths[0]) {
    return Damaged(path, "its bytes are damaged");
  }
  absl::StatusOr<Resumption> resumption = DecodeResumption(parts.first(lengths[0]));
  if (!resumption.ok()) return Damaged(path, "written by another version");
  const absl::Span<const uint8_t> state = parts.subspan(lengths[0]);
  return Sleep{*std::move(resumption), {state.begin(), state.end()}};
}

}  // namespace

std::string SleepPath(const std::string& folder, NodeId node) {
  return absl::StrCat(folder, "/node-", node.value(), ".sleep");
}

absl::Status WriteSleep(const std::string& folder, NodeId node, const Sleep& sleep) {
  const std::string path = SleepPath(folder, node);
  const std::string draft = path + ".draft";
  const std::vector<uint8_t> bytes = Packed(sleep);
  {
    std::ofstream file(draft, std::ios::binary | std::ios::trunc);
    file.write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    file.close();
    if (!file) return Failed(draft, "cannot write");
  }
  PERIGEE_RETURN_IF_ERROR(Sync(draft));
  if (std::rename(draft.c_str(), path.c_str()) != 0) return Failed(path, "cannot be put in place");
  return Sync(folder);
}

absl::StatusOr<std::optional<Sleep>> ReadSleep(const std::string& folder, NodeId node) {
  const std::string path = SleepPath(folder, node);
  if (access(path.c_str(), F_OK) != 0 && errno == ENOENT) return std::nullopt;
  std::ifstream file(path, std::ios::binary);
  const std::vector<uint8_t> bytes{std::istreambuf_iterator<char>(file), {}};
  if (!file) return Failed(path, "cannot read");
  PERIGEE_ASSIGN_OR_RETURN(Sleep sleep, Unpacked(path, bytes));
  if (sleep.resumption.proposal.view.Find(node) == nullptr) {
    return Damaged(path, "its view is without this node");
  }
  return sleep;
}

absl::Status EndSleep(const std::string& folder, NodeId node) {
  const std::string path = SleepPath(folder, node);
  if (unlink(path.c_str()) == 0) return Sync(folder);
  return errno == ENOENT ? absl::OkStatus() : Failed(path, "cannot be taken away");
}

}  // namespace perigee
