// Who takes part in a comparison, and how each is started.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace perigee {

struct ComparePeer {
  std::string name;                // "gloo-ring"
  std::string program;             // path
  std::vector<std::string> flags;  // what makes it this peer
  bool has_congestion = true;      // false: no TCP underneath, one row instead of one per algorithm
  std::string missing;             // why it cannot run here; empty when it can
};

// One row of a comparison: a peer, over TCP with one congestion control.
struct CompareRow {
  ComparePeer peer;
  std::string congestion;  // empty for peers without TCP
  // All congestion controls but the first: they are here to be seen, and slow with loss.
  bool runs_once = false;

  std::string name() const { return peer.name + (congestion.empty() ? "" : " " + congestion); }
};

// "all", or names separated by commas; InvalidArgument names the known ones. Peers that are not
// installed stay in, with the reason.
absl::StatusOr<std::vector<ComparePeer>> FindPeers(absl::string_view names);

// Congestion controls that this kernel lacks, or does not allow in namespaces, are an error that
// says what can be done.
absl::StatusOr<std::vector<CompareRow>> MakeRows(const std::vector<ComparePeer>& peers,
                                                 absl::string_view congestion);

}  // namespace perigee
