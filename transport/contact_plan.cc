#include "transport/contact_plan.h"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

std::string Name(const Contact& contact) {
  return absl::StrCat("contact ", contact.from.value(), " -> ", contact.to.value(), " at ",
                      absl::FormatTime(contact.opens, absl::UTCTimeZone()));
}

absl::Status Validate(const Contact& contact) {
  const absl::string_view wrong =
      contact.opens >= contact.closes ? "empty window"
      : !(contact.link.bytes_per_second > 0) || !std::isfinite(contact.link.bytes_per_second)
          ? "rate is not positive"
      : contact.link.delay < absl::ZeroDuration() ? "negative delay"
                                                  : "";
  if (wrong.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(Name(contact), ": ", wrong));
}

// Orders a contact against a time of a directed pair, by the end of the window.
struct ClosesBefore {
  NodeId from;
  NodeId to;
  absl::Time now;
  bool operator()(const Contact& contact) const {
    return std::tie(contact.from, contact.to) < std::tie(from, to) ||
           (contact.from == from && contact.to == to && contact.closes <= now);
  }
};

// The first contact of the pair that closes after `now`, or of a later pair, or the end.
std::vector<Contact>::const_iterator FirstOpenAfter(const std::vector<Contact>& contacts,
                                                    NodeId from, NodeId to, absl::Time now) {
  return std::partition_point(contacts.begin(), contacts.end(), ClosesBefore{from, to, now});
}

// Sorted and disjoint: overlapping or touching intervals of a node become one.
std::vector<DarkInterval> Union(std::vector<DarkInterval> dark) {
  std::sort(dark.begin(), dark.end(), [](const DarkInterval& a, const DarkInterval& b) {
    return std::tie(a.node, a.begins, a.ends) < std::tie(b.node, b.begins, b.ends);
  });
  std::vector<DarkInterval> result;
  for (const DarkInterval& interval : dark) {
    if (!result.empty() && result.back().node == interval.node &&
        interval.begins <= result.back().ends) {
      result.back().ends = std::max(result.back().ends, interval.ends);
    } else {
      result.push_back(interval);
    }
  }
  return result;
}

}  // namespace

absl::StatusOr<ContactPlan> ContactPlan::Create(std::vector<Contact> contacts,
                                                std::vector<DarkInterval> dark) {
  for (const Contact& contact : contacts) PERIGEE_RETURN_IF_ERROR(Validate(contact));
  for (const DarkInterval& interval : dark) {
    if (interval.begins >= interval.ends) {
      return absl::InvalidArgumentError(
          absl::StrCat("dark interval of node ", interval.node.value(), " at ",
                       absl::FormatTime(interval.begins, absl::UTCTimeZone()), ": empty window"));
    }
  }
  std::sort(contacts.begin(), contacts.end(), [](const Contact& a, const Contact& b) {
    return std::tie(a.from, a.to, a.opens, a.closes) < std::tie(b.from, b.to, b.opens, b.closes);
  });
  for (size_t i = 1; i < contacts.size(); ++i) {
    const Contact& before = contacts[i - 1];
    const Contact& contact = contacts[i];
    if (before.from == contact.from && before.to == contact.to && contact.opens < before.closes) {
      return absl::InvalidArgumentError(
          absl::StrCat(Name(contact), ": overlaps the window before it"));
    }
  }
  ContactPlan plan;
  plan.contacts_ = std::move(contacts);
  plan.dark_ = Union(std::move(dark));
  return plan;
}

std::optional<Link> ContactPlan::LinkAt(NodeId from, NodeId to, absl::Time now) const {
  auto it = FirstOpenAfter(contacts_, from, to, now);
  if (it == contacts_.end() || it->from != from || it->to != to || it->opens > now) {
    return std::nullopt;
  }
  return it->link;
}

absl::Time ContactPlan::NextChange(NodeId from, NodeId to, absl::Time now) const {
  auto it = FirstOpenAfter(contacts_, from, to, now);
  if (it == contacts_.end() || it->from != from || it->to != to) return absl::InfiniteFuture();
  if (it->opens > now) return it->opens;
  // Windows that touch and have the same link are one to the reader.
  for (auto next = it + 1; next != contacts_.end() && next->from == from && next->to == to &&
                           next->opens == it->closes && next->link == it->link;
       ++next) {
    it = next;
  }
  return it->closes;
}

std::optional<DarkInterval> ContactPlan::CurrentOrNextDark(NodeId node, absl::Time now) const {
  auto it = std::partition_point(dark_.begin(), dark_.end(), [&](const DarkInterval& interval) {
    return interval.node < node || (interval.node == node && interval.ends <= now);
  });
  if (it == dark_.end() || it->node != node) return std::nullopt;
  return *it;
}

bool ContactPlan::IsDark(NodeId node, absl::Time now) const {
  return LitFrom(node, now) > now;
}

absl::Time ContactPlan::LitFrom(NodeId node, absl::Time now) const {
  const std::optional<DarkInterval> dark = CurrentOrNextDark(node, now);
  return dark && dark->begins <= now ? dark->ends : now;
}

}  // namespace perigee
