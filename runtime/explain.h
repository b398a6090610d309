// Why a job stands still, in one sentence per op: which op waits for which node, because of what.
// Pure: from what the members and the coordinator say, to words. `perigeectl explain` feeds it from
// the coordinator, or from flight records when there is none.
//
//   for (const Sentence& sentence : Explain(situation, {})) puts(sentence.text);
//   op 12.1 (allreduce sum of 1000 f32) waits on nodes 0, 1, 3 for node 2, from which nothing was
//   heard for 2.3s (by the coordinator: 2.3s; by nodes 1 and 3: 2.2s)
//
// A member that waits names the node whose message is missing, but that node mostly waits itself: a
// ring waits in a circle. So the reason is looked for at every member of the view and on every link
// over which somebody waits, and the strongest kind of reason is told (README.md has the order).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "runtime/control_message.h"
#include "transport/base/ids.h"
#include "transport/contact_plan.h"

namespace perigee {

// What is known of one member.
struct MemberAccount {
  NodeId node;
  bool in_view = false;
  // Of the coordinator; both mean nothing in flight records.
  bool connected = false;                               // its control stream is open
  absl::Duration heard_ago = absl::InfiniteDuration();  // infinite: never
  // What it said last, with all its links; empty: nothing yet.
  std::optional<Beat> report;
  absl::Duration report_age;  // how long ago it said so
};

struct Situation {
  absl::Time now;
  bool coordinator = true;     // false: only flight records are known
  std::string waiting_reason;  // of the coordinator: why there is no other view; empty: none wanted
  ContactPlan plan;
  std::vector<MemberAccount> members;  // by node
};

struct ExplainOptions {
  // An op without progress for less than this does not hang.
  absl::Duration patience = absl::Seconds(1);
  // Silence that means something: some beats, and more than an idle link's longest pause.
  absl::Duration silence = absl::Milliseconds(500);
  std::optional<OpId> op;  // only this one, however short it waits
};

struct Sentence {
  std::optional<OpId> op;
  std::string text;
  bool hangs = true;  // false: "nothing hangs: ..."
};

// Ordered by op; what is no op's comes last. Never empty.
std::vector<Sentence> Explain(const Situation& situation, const ExplainOptions& options);

}  // namespace perigee
