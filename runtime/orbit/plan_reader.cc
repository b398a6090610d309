#include "runtime/orbit/plan_reader.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

using ::google::protobuf::TextFormat;

// A window of one directed pair, or of one node in the dark (then both ends are that node).
struct Window {
  uint32_t from = 0;
  uint32_t to = 0;
  absl::Time opens;
  absl::Time closes;
  int line = 0;
};

// With all the digits of a time: absl::StrCat keeps six.
std::string Number(double value) { return absl::StrFormat("%.15g", value); }

std::string Arrow(uint32_t from, uint32_t to) { return absl::StrCat(from, " -> ", to); }

// Turns one parsed message into a plan, checking as it goes so that each error can name its line.
class PlanReader {
 public:
  PlanReader(const proto::Constellation& input, absl::string_view name,
             const TextFormat::ParseInfoTree& lines, absl::Time relative_to)
      : input_(input),
        name_(name),
        lines_(lines),
        epoch_(input.epoch_unix_ms() != 0 ? absl::FromUnixMillis(input.epoch_unix_ms())
                                          : relative_to) {}

  absl::StatusOr<PlanFile> Read() {
    PERIGEE_RETURN_IF_ERROR(ReadNodes());
    PERIGEE_RETURN_IF_ERROR(ReadLinks());
    PERIGEE_RETURN_IF_ERROR(ReadContacts());
    PERIGEE_RETURN_IF_ERROR(ReadDark());
    PERIGEE_RETURN_IF_ERROR(ValidateDisjoint(windows_, "contact"));
    PERIGEE_RETURN_IF_ERROR(ValidateDisjoint(dark_windows_, "dark interval"));
    AddAlwaysOpenLinks();
    absl::StatusOr<ContactPlan> plan = ContactPlan::Create(std::move(contacts_), std::move(dark_));
    if (!plan.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(name_, ": ", plan.status().message()));
    }
    std::sort(nodes_.begin(), nodes_.end(),
              [](const PlanNode& a, const PlanNode& b) { return a.id < b.id; });
    return PlanFile{.nodes = std::move(nodes_), .plan = *std::move(plan)};
  }

 private:
  struct KnownLink {
    Link link;
    bool bidirectional = false;
    bool has_contacts = false;
  };
  using Pair = std::pair<uint32_t, uint32_t>;

  absl::Status ReadNodes();
  absl::Status ReadLinks();
  absl::Status ReadContacts();
  absl::Status ReadDark();
  absl::Status AddLink(Pair pair, const proto::PlanLink& link, int line);
  absl::StatusOr<Link> LinkOf(const proto::PlanContact& contact, int line) const;
  void AddContact(Pair pair, const Window& window, const Link& link);
  void AddAlwaysOpenLinks();

  absl::Status ValidateNode(uint32_t id, int line) const;
  absl::Status ValidatePair(Pair pair, int line) const;
  absl::Status ValidateLink(Pair pair, double bits_per_second, double delay_ms, int line) const;
  absl::Status ValidateDisjoint(std::vector<Window> windows, absl::string_view what) const;

  int LineOf(int field_number, int index) const {
    return lines_.GetLocation(input_.GetDescriptor()->FindFieldByNumber(field_number), index).line;
  }
  absl::Status Error(int line, absl::string_view message) const {
    return absl::InvalidArgumentError(absl::StrCat(name_, ":", line + 1, ": ", message));
  }
  absl::Time At(double ms) const { return epoch_ + absl::Milliseconds(ms); }

  const proto::Constellation& input_;
  std::string name_;
  const TextFormat::ParseInfoTree& lines_;
  absl::Time epoch_;
  std::vector<PlanNode> nodes_;
  std::set<uint32_t> ids_;
  std::map<Pair, KnownLink> links_;
  std::vector<Contact> contacts_;
  std::vector<Window> windows_;  // of contacts_
  std::vector<DarkInterval> dark_;
  std::vector<Window> dark_windows_;
};

absl::Status PlanReader::ReadNodes() {
  for (int i = 0; i < input_.nodes_size(); ++i) {
    const proto::PlanNode& node = input_.nodes(i);
    const int line = LineOf(proto::Constellation::kNodesFieldNumber, i);
    if (!ids_.insert(node.id()).second) {
      return Error(line, absl::StrCat("node ", node.id(), " appears twice: give each node an id"));
    }
    nodes_.push_back({.id = NodeId(node.id()), .name = node.name(), .address = node.address()});
  }
  return absl::OkStatus();
}

absl::Status PlanReader::ReadLinks() {
  for (int i = 0; i < input_.links_size(); ++i) {
    const proto::PlanLink& link = input_.links(i);
    const int line = LineOf(proto::Constellation::kLinksFieldNumber, i);
    PERIGEE_RETURN_IF_ERROR(AddLink({link.from(), link.to()}, link, line));
    if (link.bidirectional()) {
      PERIGEE_RETURN_IF_ERROR(AddLink({link.to(), link.from()}, link, line));
    }
  }
  return absl::OkStatus();
}

absl::Status PlanReader::AddLink(Pair pair, const proto::PlanLink& link, int line) {
  PERIGEE_RETURN_IF_ERROR(ValidatePair(pair, line));
  PERIGEE_RETURN_IF_ERROR(ValidateLink(pair, link.bits_per_second(), link.delay_ms(), line));
  const KnownLink known = {
      .link = {link.bits_per_second() / 8, absl::Milliseconds(link.delay_ms())},
      .bidirectional = link.bidirectional()};
  if (!links_.emplace(pair, known).second) {
    return Error(line, absl::StrCat("link ", Arrow(pair.first, pair.second),
                                    " appears twice: remove one (a bidirectional link is both)"));
  }
  return absl::OkStatus();
}

absl::Status PlanReader::ReadContacts() {
  for (int i = 0; i < input_.contacts_size(); ++i) {
    const proto::PlanContact& contact = input_.contacts(i);
    const Pair pair = {contact.from(), contact.to()};
    const int line = LineOf(proto::Constellation::kContactsFieldNumber, i);
    PERIGEE_RETURN_IF_ERROR(ValidatePair(pair, line));
    const std::string what = absl::StrCat("contact ", Arrow(pair.first, pair.second));
    const bool finite = (!contact.has_opens_ms() || std::isfinite(contact.opens_ms())) &&
                        (!contact.has_closes_ms() || std::isfinite(contact.closes_ms()));
    if (!finite) return Error(line, absl::StrCat(what, ": leave out a bound that is infinite"));
    const Window window = {
        .opens = contact.has_opens_ms() ? At(contact.opens_ms()) : absl::InfinitePast(),
        .closes = contact.has_closes_ms() ? At(contact.closes_ms()) : absl::InfiniteFuture(),
        .line = line};
    if (window.opens >= window.closes) {
      return Error(line, absl::StrCat(what, " closes at ", Number(contact.closes_ms()),
                                      " ms, not after it opens at ", Number(contact.opens_ms()),
                                      " ms: swap the two"));
    }
    PERIGEE_ASSIGN_OR_RETURN(const Link link, LinkOf(contact, line));
    AddContact(pair, window, link);
    const auto known = links_.find(pair);
    if (known != links_.end() && known->second.bidirectional) {
      AddContact({pair.second, pair.first}, window, link);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Link> PlanReader::LinkOf(const proto::PlanContact& contact, int line) const {
  const Pair pair = {contact.from(), contact.to()};
  const auto known = links_.find(pair);
  if (known == links_.end() && !(contact.has_bits_per_second() && contact.has_delay_ms())) {
    return Error(line, absl::StrCat("contact ", Arrow(pair.first, pair.second),
                                    " has no link: add links { from: ", pair.first, " to: ",
                                    pair.second, " ... }, or bits_per_second and delay_ms here"));
  }
  Link link = known == links_.end() ? Link{} : known->second.link;
  if (contact.has_bits_per_second()) link.bytes_per_second = contact.bits_per_second() / 8;
  if (contact.has_delay_ms()) link.delay = absl::Milliseconds(contact.delay_ms());
  PERIGEE_RETURN_IF_ERROR(
      ValidateLink(pair, link.bytes_per_second * 8, absl::ToDoubleMilliseconds(link.delay), line));
  return link;
}

void PlanReader::AddContact(Pair pair, const Window& window, const Link& link) {
  windows_.push_back(window);
  windows_.back().from = pair.first;
  windows_.back().to = pair.second;
  contacts_.push_back({.from = NodeId(pair.first),
                       .to = NodeId(pair.second),
                       .opens = window.opens,
                       .closes = window.closes,
                       .link = link});
  if (const auto known = links_.find(pair); known != links_.end()) {
    known->second.has_contacts = true;
  }
}

void PlanReader::AddAlwaysOpenLinks() {
  for (const auto& [pair, known] : links_) {
    if (known.has_contacts) continue;
    AddContact(pair, {.opens = absl::InfinitePast(), .closes = absl::InfiniteFuture()}, known.link);
  }
}

absl::Status PlanReader::ReadDark() {
  for (int i = 0; i < input_.dark_size(); ++i) {
    const proto::PlanDarkInterval& dark = input_.dark(i);
    const int line = LineOf(proto::Constellation::kDarkFieldNumber, i);
    PERIGEE_RETURN_IF_ERROR(ValidateNode(dark.node(), line));
    const Window window = {.from = dark.node(),
                           .to = dark.node(),
                           .opens = At(dark.begins_ms()),
                           .closes = At(dark.ends_ms()),
                           .line = line};
    if (!std::isfinite(dark.begins_ms()) || !std::isfinite(dark.ends_ms()) ||
        window.opens >= window.closes) {
      return Error(line, absl::StrCat("dark interval of node ", dark.node(), " ends at ",
                                      Number(dark.ends_ms()), " ms, not after it begins at ",
                                      Number(dark.begins_ms()), " ms: give begins_ms < ends_ms"));
    }
    dark_windows_.push_back(window);
    dark_.push_back({.node = NodeId(dark.node()), .begins = window.opens, .ends = window.closes});
  }
  return absl::OkStatus();
}

absl::Status PlanReader::ValidateNode(uint32_t id, int line) const {
  if (ids_.empty() || ids_.count(id) > 0) return absl::OkStatus();
  return Error(line, absl::StrCat("node ", id, " is not in the list: add nodes { id: ", id, " }"));
}

absl::Status PlanReader::ValidatePair(Pair pair, int line) const {
  PERIGEE_RETURN_IF_ERROR(ValidateNode(pair.first, line));
  PERIGEE_RETURN_IF_ERROR(ValidateNode(pair.second, line));
  if (pair.first != pair.second) return absl::OkStatus();
  return Error(line, absl::StrCat("from node ", pair.first,
                                  " to itself: give `from` and `to` two different nodes"));
}

absl::Status PlanReader::ValidateLink(Pair pair, double bits_per_second, double delay_ms,
                                      int line) const {
  if (!(bits_per_second > 0) || !std::isfinite(bits_per_second)) {
    return Error(line, absl::StrCat(Arrow(pair.first, pair.second), " has bits_per_second ",
                                    Number(bits_per_second), ": give a positive rate, e.g. 1e9"));
  }
  if (!(delay_ms >= 0) || !std::isfinite(delay_ms)) {
    return Error(line, absl::StrCat(Arrow(pair.first, pair.second), " has delay_ms ",
                                    Number(delay_ms), ": give the one-way delay, not negative"));
  }
  return absl::OkStatus();
}

absl::Status PlanReader::ValidateDisjoint(std::vector<Window> windows,
                                          absl::string_view what) const {
  std::sort(windows.begin(), windows.end(), [](const Window& a, const Window& b) {
    return std::tie(a.from, a.to, a.opens, a.line) < std::tie(b.from, b.to, b.opens, b.line);
  });
  for (size_t i = 1; i < windows.size(); ++i) {
    const Window& a = windows[i - 1];
    const Window& b = windows[i];
    if (a.from != b.from || a.to != b.to || a.closes <= b.opens) continue;
    const std::string who = a.from == a.to ? absl::StrCat(a.from) : Arrow(a.from, a.to);
    return Error(
        std::max(a.line, b.line),
        absl::StrCat(
            what, " ", who, " overlaps the one of line ", std::min(a.line, b.line) + 1,
            ": merge the two or move one (a contact of a bidirectional link holds both ways)"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<PlanFile> ReadPlan(const proto::Constellation& input,
                                  const TextFormat::ParseInfoTree& lines, absl::string_view name,
                                  absl::Time relative_to) {
  return PlanReader(input, name, lines, relative_to).Read();
}

}  // namespace perigee
