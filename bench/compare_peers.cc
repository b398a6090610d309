#include "bench/compare_peers.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "runtime/cli/child_process.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

std::string FirstLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

ComparePeer Peer(const std::string& name, const std::string& program,
                 std::vector<std::string> flags, const std::string& advice) {
  ComparePeer peer{.name = name, .program = SiblingProgram(program), .flags = std::move(flags)};
  if (access(peer.program.c_str(), X_OK) != 0) peer.missing = advice;
  return peer;
}

// Beside the folder of the programs: build/peers-venv.
ComparePeer Pccl() {
  const std::filesystem::path folder =
      std::filesystem::path(SiblingProgram("perigeed")).parent_path().parent_path() / "peers-venv";
  ComparePeer peer{.name = "pccl", .program = folder / "peer-pccl"};
  if (access(peer.program.c_str(), X_OK) != 0) {
    const std::string reason = FirstLine(folder / "NOT_INSTALLED");
    peer.missing = reason.empty() ? "not installed: run bench/peers/install.sh"
                                  : absl::StrCat("not installed: ", reason);
  }
  return peer;
}

std::vector<ComparePeer> AllPeers() {
  const std::string no_gloo = "not built: no Gloo when this was configured";
  std::vector<ComparePeer> peers = {
      Peer("perigee", "peer-perigee", {}, "not built"),
      Peer("gloo-ring", "peer-gloo", {"--algorithm", "ring"}, no_gloo),
      Peer("gloo-hd", "peer-gloo", {"--algorithm", "halving-doubling"}, no_gloo),
      Peer("tcp-1", "peer-tcp-pool", {"--connections", "1"}, "not built"),
      Peer("tcp-8", "peer-tcp-pool", {"--connections", "8"}, "not built"),
      Peer("tcp-64", "peer-tcp-pool", {"--connections", "64"}, "not built"),
      Pccl(),
  };
  peers.front().has_congestion = false;
  return peers;
}

// Any program may choose what the kernel allows; a namespace may default to nothing else.
absl::Status CheckCongestion(const std::string& name) {
  for (const char* list : {"available", "allowed"}) {
    const std::string path = absl::StrCat("/proc/sys/net/ipv4/tcp_", list, "_congestion_control");
    const std::string line = FirstLine(path);
    const std::vector<std::string> known = absl::StrSplit(line, ' ', absl::SkipEmpty());
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("--congestion ", name, ": ", path, " has ", line, " only; root adds it with ",
                     list == absl::string_view("allowed")
                         ? absl::StrCat("`echo ", line, " ", name, " > ", path, "`")
                         : absl::StrCat("`modprobe tcp_", name, "`")));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<ComparePeer>> FindPeers(absl::string_view names) {
  const std::vector<ComparePeer> all = AllPeers();
  if (names == "all") return all;
  std::vector<ComparePeer> chosen;
  for (absl::string_view name : absl::StrSplit(names, ',')) {
    const auto found = std::find_if(all.begin(), all.end(),
                                    [&](const ComparePeer& peer) { return peer.name == name; });
    if (found == all.end()) {
      const auto append = [](std::string* out, const ComparePeer& peer) { out->append(peer.name); };
      return absl::InvalidArgumentError(
          absl::StrCat("--peers ", name, ": there are all, ", absl::StrJoin(all, ", ", append)));
    }
    chosen.push_back(*found);
  }
  return chosen;
}

absl::StatusOr<std::vector<CompareRow>> MakeRows(const std::vector<ComparePeer>& peers,
                                                 absl::string_view congestion) {
  const std::vector<std::string> wanted = absl::StrSplit(congestion, ',', absl::SkipEmpty());
  for (const std::string& name : wanted) PERIGEE_RETURN_IF_ERROR(CheckCongestion(name));
  std::vector<CompareRow> rows;
  for (const ComparePeer& peer : peers) {
    if (!peer.has_congestion) rows.push_back({.peer = peer});
    for (const std::string& name : wanted) {
      if (!peer.has_congestion) continue;
      rows.push_back({.peer = peer, .congestion = name, .runs_once = name != wanted.front()});
    }
  }
  return rows;
}

}  // namespace perigee
