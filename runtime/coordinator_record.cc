#include "runtime/coordinator_record.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

absl::Status ValidateEvents(const std::deque<CoordinatorEvent>& events) {
  for (size_t i = 0; i < events.size(); ++i) {
    const uint64_t expected =
        i == 0 ? std::max<uint64_t>(1, events[0].number) : events[i - 1].number + 1;
    if (events[i].number == expected) continue;
    return absl::DataLossError(
        absl::StrCat("event ", events[i].number, " stands where event ", expected, " should"));
  }
  return absl::OkStatus();
}

std::deque<ViewRecord>::const_iterator Find(const std::deque<ViewRecord>& views, Epoch epoch) {
  return std::lower_bound(views.begin(), views.end(), epoch, [](const ViewRecord& record, Epoch e) {
    return record.proposal.view.epoch < e;
  });
}

absl::Status ValidateViews(const std::deque<ViewRecord>& views) {
  for (size_t i = 1; i < views.size(); ++i) {
    const View& before = views[i - 1].proposal.view;
    const View& view = views[i].proposal.view;
    const std::string name = absl::StrCat("view ", view.epoch.value());
    if (view.epoch <= before.epoch) {
      return absl::DataLossError(absl::StrCat(name, " comes after view ", before.epoch.value()));
    }
    if (view.job != before.job) {
      return absl::DataLossError(absl::StrCat(name, " is of job ", ToString(view.job),
                                              ", the one before of job ", ToString(before.job)));
    }
    // Views in between may never have been known here: the members had another coordinator.
    if (view.epoch == before.epoch.Next() && view.previous_digest != Digest(before)) {
      return absl::DataLossError(
          absl::StrCat(name, " does not follow from view ", before.epoch.value()));
    }
  }
  return absl::OkStatus();
}

}  // namespace

bool Follows(const View& view, const std::deque<ViewRecord>& views) {
  const auto at = Find(views, view.epoch);
  if (at != views.end()) {
    const View& known = at->proposal.view;
    if (known.epoch == view.epoch) return known == view;
    if (known.epoch == view.epoch.Next() && known.previous_digest != Digest(view)) return false;
  }
  if (at == views.begin()) return true;
  const View& before = std::prev(at)->proposal.view;
  return before.epoch.Next() != view.epoch || view.previous_digest == Digest(before);
}

bool Insert(const ViewRecord& record, std::deque<ViewRecord>* views) {
  const Epoch epoch = record.proposal.view.epoch;
  const auto it = Find(*views, epoch);
  if (it != views->end() && it->proposal.view.epoch == epoch) return false;
  views->insert(it, record);
  if (views->size() > kViewRecordsMax) views->pop_front();
  return true;
}

void Apply(const CoordinatorRecord& record, size_t events_max, CoordinatorSnapshot* snapshot) {
  if (const auto* event = std::get_if<CoordinatorEvent>(&record)) {
    snapshot->events.push_back(*event);
    if (snapshot->events.size() > std::max<size_t>(1, events_max)) snapshot->events.pop_front();
  } else if (const auto* view = std::get_if<ViewRecord>(&record)) {
    Insert(*view, &snapshot->views);
  } else if (const auto* drain = std::get_if<DrainRecord>(&record)) {
    if (drain->at) {
      snapshot->drains[drain->node] = *drain->at;
    } else {
      snapshot->drains.erase(drain->node);
    }
  } else {
    const auto& evict = std::get<EvictRecord>(record);
    if (evict.eviction) {
      snapshot->evictions[evict.node] = *evict.eviction;
    } else {
      snapshot->evictions.erase(evict.node);
    }
  }
}

absl::Status Validate(const CoordinatorSnapshot& snapshot) {
  PERIGEE_RETURN_IF_ERROR(ValidateEvents(snapshot.events));
  PERIGEE_RETURN_IF_ERROR(ValidateViews(snapshot.views));
  for (const auto& [node, eviction] : snapshot.evictions) {
    if (!eviction.incarnation.IsNone()) continue;
    return absl::DataLossError(
        absl::StrCat("the eviction of node ", node.value(), " names no incarnation"));
  }
  return absl::OkStatus();
}

}  // namespace perigee
