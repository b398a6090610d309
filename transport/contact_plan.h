// What the orbit dictates, as plain data: who can talk to whom, when, how fast, how far; and who is
// dark when. Immutable input; nothing here knows about orbits. Text form: proto/constellation.proto
// (read by runtime/orbit).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "transport/base/ids.h"

namespace perigee {

// One directed link at one time, as the plan sees it.
struct Link {
  double bytes_per_second = 0;                  // capacity for IP packets, headers included
  absl::Duration delay = absl::ZeroDuration();  // one way

  friend bool operator==(const Link&, const Link&) = default;
};

// A window in which `from` can send to `to`. Half-open: [opens, closes).
struct Contact {
  NodeId from;
  NodeId to;
  absl::Time opens = absl::InfinitePast();
  absl::Time closes = absl::InfiniteFuture();
  Link link;
};

// A time in which a node neither computes nor talks. Half-open: [begins, ends).
struct DarkInterval {
  NodeId node;
  absl::Time begins;
  absl::Time ends;
};

class ContactPlan {
 public:
  // The empty plan: no contact is known, nobody is ever dark.
  ContactPlan() = default;
  // Sorts by time and joins dark intervals that overlap. InvalidArgument, naming the entry, where a
  // window is empty, two windows of one directed pair overlap, a rate is not positive, or a delay
  // is negative.
  static absl::StatusOr<ContactPlan> Create(std::vector<Contact> contacts,
                                            std::vector<DarkInterval> dark);

  // The directed link at `now`, or nothing when no contact covers it.
  std::optional<Link> LinkAt(NodeId from, NodeId to, absl::Time now) const;
  // The first time after `now` at which LinkAt(from, to, ·) changes; InfiniteFuture if it never
  // does.
  absl::Time NextChange(NodeId from, NodeId to, absl::Time now) const;

  // The dark interval that covers `now`, or else the next one of that node, if any.
  std::optional<DarkInterval> CurrentOrNextDark(NodeId node, absl::Time now) const;
  bool IsDark(NodeId node, absl::Time now) const;
  // `now` itself, or the end of the dark interval that covers it.
  absl::Time LitFrom(NodeId node, absl::Time now) const;

  const std::vector<Contact>& contacts() const { return contacts_; }
  const std::vector<DarkInterval>& dark_intervals() const { return dark_; }

 private:
  std::vector<Contact> contacts_;   // by (from, to, opens)
  std::vector<DarkInterval> dark_;  // by (node, begins)
};

}  // namespace perigee
