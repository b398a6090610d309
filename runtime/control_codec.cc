#include "runtime/control_codec.h"

#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

// ---- The fields of every struct, in order, for writing and reading alike. Each is taken apart
// whole, so that a field that is added to one cannot be forgotten here. ----

template <typename Archive>
void Fields(Archive& archive, Incarnation& id) {
  auto& [high, low] = id;
  archive(high, low);
}
template <typename Archive>
void Fields(Archive& archive, Ballot& ballot) {
  auto& [round, proposer, incarnation] = ballot;
  archive(round, proposer, incarnation);
}
template <typename Archive>
void Fields(Archive& archive, Member& member) {
  auto& [node, incarnation, votes, address] = member;
  archive(node, incarnation, votes, address);
}
template <typename Archive>
void Fields(Archive& archive, View& view) {
  auto& [job, epoch, ballot, previous_digest, members, tie_breaker, first_step] = view;
  archive(job, epoch, ballot, previous_digest, members, tie_breaker, first_step);
}
template <typename Archive>
void Fields(Archive& archive, OpStatus& status) {
  auto& [op, epoch, holds_result] = status;
  archive(op, epoch, holds_result);
}
template <typename Archive>
void Fields(Archive& archive, OpDecision& decision) {
  auto& [op, kind, holder, missing] = decision;
  archive(op, kind, holder, missing);
}
template <typename Archive>
void Fields(Archive& archive, Proposal& proposal) {
  auto& [view, planned, wakes, decisions, reason] = proposal;
  archive(view, planned, wakes, decisions, reason);
}
template <typename Archive>
void Fields(Archive& archive, Register& message) {
  auto& [node, incarnation, address, version, start_members, installed] = message;
  archive(node, incarnation, address, version, start_members, installed);
}
template <typename Archive>
void Fields(Archive& archive, OpReport& report) {
  auto& [op, epoch, progress, age, waiting_for, phase, stalled, call] = report;
  archive(op, epoch, progress, age, waiting_for, phase, stalled, call);
}
template <typename Archive>
void Fields(Archive& archive, LinkReport& report) {
  auto& [peer, unanswered, heard_ago, round_trip, goodput_bps, lost, repaired] = report;
  archive(peer, unanswered, heard_ago, round_trip, goodput_bps, lost, repaired);
}
template <typename Archive>
void Fields(Archive& archive, CallReport& report) {
  auto& [last, ago, failed, failed_ago, failure] = report;
  archive(last, ago, failed, failed_ago, failure);
}
template <typename Archive>
void Fields(Archive& archive, MemberStats& stats) {
  auto& [training_loss, allreduce_seconds, goodput_bps, packets_lost, packets_repaired] = stats;
  archive(training_loss, allreduce_seconds, goodput_bps, packets_lost, packets_repaired);
}
template <typename Archive>
void Fields(Archive& archive, ClockReport& report) {
  auto& [clock, heard, heard_for] = report;
  archive(clock, heard, heard_for);
}
template <typename Archive>
void Fields(Archive& archive, Beat& beat) {
  auto& [step, epoch, active, undecided, hears_coordinator, loop_lateness, stats, ops, frozen,
         calls, links, clock, step_interval, op_length] = beat;
  archive(step, epoch, active, undecided, hears_coordinator, loop_lateness, stats, ops, frozen,
          calls, links, clock, step_interval, op_length);
}
template <typename Archive>
void Fields(Archive& archive, Promise& promise) {
  auto& [epoch, ballot, granted, promised, started, any_started, frozen, status, accepted_ballot,
         accepted] = promise;
  archive(epoch, ballot, granted, promised, started, any_started, frozen, status, accepted_ballot,
          accepted);
}
template <typename Archive>
void Fields(Archive& archive, Accepted& accepted) {
  auto& [epoch, ballot, granted, promised, started, any_started] = accepted;
  archive(epoch, ballot, granted, promised, started, any_started);
}
template <typename Archive>
void Fields(Archive& archive, Leave& leave) {
  auto& [reason] = leave;
  archive(reason);
}
template <typename Archive>
void Fields(Archive& archive, Suspect& suspect) {
  auto& [node, incarnation, silent_for] = suspect;
  archive(node, incarnation, silent_for);
}
template <typename Archive>
void Fields(Archive& archive, ViewPolicy& policy) {
  auto& [beat_interval, suspect_after, lease, dark_lead, steps_ahead, min_members] = policy;
  archive(beat_interval, suspect_after, lease, dark_lead, steps_ahead, min_members);
}
template <typename Archive>
void Fields(Archive& archive, Welcome& welcome) {
  auto& [coordinator, policy, plan_text, clock] = welcome;
  archive(coordinator, policy, plan_text, clock);
}
template <typename Archive>
void Fields(Archive& archive, Prepare& prepare) {
  auto& [epoch, ballot, planned] = prepare;
  archive(epoch, ballot, planned);
}
template <typename Archive>
void Fields(Archive& archive, Accept& accept) {
  auto& [ballot, proposal] = accept;
  archive(ballot, proposal);
}
template <typename Archive>
void Fields(Archive& archive, Install& install) {
  auto& [proposal] = install;
  archive(proposal);
}
template <typename Archive>
void Fields(Archive& archive, Removed& removed) {
  auto& [may_rejoin, reason] = removed;
  archive(may_rejoin, reason);
}
template <typename Archive>
void Fields(Archive& archive, Waiting& waiting) {
  auto& [reason, clock, calendar_ahead] = waiting;
  archive(reason, clock, calendar_ahead);
}
template <typename Archive>
void Fields(Archive& archive, Resumption& resumption) {
  auto& [welcome, proposal] = resumption;
  archive(welcome, proposal);
}

// ---- Writing. ----

class Writer {
 public:
  template <typename... T>
  void operator()(T&... items) {
    (Item(items), ...);
  }
  std::vector<uint8_t> Take() { return std::move(bytes_); }

 private:
  void Word(uint64_t value) {
    for (int shift = 0; shift < 64; shift += 8) {
      bytes_.push_back(static_cast<uint8_t>(value >> shift));
    }
  }
  void Item(uint64_t value) { Word(value); }
  void Item(uint32_t value) { Word(value); }
  void Item(bool value) { Word(value); }
  void Item(double value) { Word(std::bit_cast<uint64_t>(value)); }
  void Item(absl::Duration value) { Word(static_cast<uint64_t>(absl::ToInt64Nanoseconds(value))); }
  void Item(absl::Time value) { Word(static_cast<uint64_t>(absl::ToUnixNanos(value))); }
  void Item(OpId value) { Word(value.value()); }
  void Item(OpDecision::Kind value) { Word(static_cast<uint64_t>(value)); }
  void Item(OpReport::Phase value) { Word(static_cast<uint64_t>(value)); }
  template <typename Tag, typename T>
  void Item(StrongInt<Tag, T> value) {
    Word(value.value());
  }
  void Item(std::string& text) {
    Word(text.size());
    bytes_.insert(bytes_.end(), text.begin(), text.end());
  }
  template <typename T>
  void Item(std::vector<T>& items) {
    Word(items.size());
    for (T& item : items) Item(item);
  }
  template <typename T>
  void Item(std::optional<T>& item) {
    Word(item.has_value());
    if (item) Item(*item);
  }
  template <typename T>
  requires std::is_class_v<T>
  void Item(T& item) { Fields(*this, item); }

  std::vector<uint8_t> bytes_;
};

// ---- Reading. Past the end there are only zeros, and `whole` is false. ----

class Reader {
 public:
  explicit Reader(absl::Span<const uint8_t> bytes) : bytes_(bytes) {}
  template <typename... T>
  void operator()(T&... items) {
    (Item(items), ...);
  }
  uint64_t Word() {
    if (bytes_.size() < 8) {
      Fail();
      return 0;
    }
    uint64_t value = 0;
    for (int i = 0; i < 8; ++i) value |= uint64_t{bytes_[i]} << (8 * i);
    bytes_.remove_prefix(8);
    return value;
  }
  bool whole() const { return whole_ && bytes_.empty(); }

 private:
  void Fail() {
    whole_ = false;
    bytes_ = {};
  }
  template <typename T>
  void Narrow(T& value) {
    const uint64_t word = Word();
    if (word > std::numeric_limits<T>::max()) Fail();
    value = static_cast<T>(word);
  }
  // Every item takes at least a byte, so a length is never more than what is left.
  size_t Length() {
    const uint64_t length = Word();
    if (length <= bytes_.size()) return length;
    Fail();
    return 0;
  }
  void Item(uint64_t& value) { value = Word(); }
  void Item(uint32_t& value) { Narrow(value); }
  void Item(bool& value) { Narrow(value); }
  void Item(double& value) {
    const auto read = std::bit_cast<double>(Word());
    value = std::isfinite(read) ? read : 0;
  }
  void Item(absl::Duration& value) { value = absl::Nanoseconds(static_cast<int64_t>(Word())); }
  void Item(absl::Time& value) { value = absl::FromUnixNanos(static_cast<int64_t>(Word())); }
  void Item(OpId& value) { value = OpId(Word()); }
  void Item(OpDecision::Kind& value) {
    bool abort = false;
    Item(abort);
    value = abort ? OpDecision::Kind::kAbort : OpDecision::Kind::kFinish;
  }
  void Item(OpReport::Phase& value) {
    const uint64_t word = Word();
    if (word > static_cast<uint64_t>(OpReport::Phase::kAwaitsInput)) return Fail();
    value = static_cast<OpReport::Phase>(word);
  }
  template <typename Tag, typename T>
  void Item(StrongInt<Tag, T>& value) {
    T read;
    Narrow(read);
    value = StrongInt<Tag, T>(read);
  }
  void Item(std::string& text) {
    const size_t size = Length();
    text.assign(reinterpret_cast<const char*>(bytes_.data()), size);
    bytes_.remove_prefix(size);
  }
  template <typename T>
  void Item(std::vector<T>& items) {
    const size_t count = Length();
    for (size_t i = 0; i < count && whole_; ++i) Item(items.emplace_back());
  }
  template <typename T>
  void Item(std::optional<T>& item) {
    bool has = false;
    Item(has);
    if (has) Item(item.emplace());
  }
  template <typename T>
  requires std::is_class_v<T>
  void Item(T& item) { Fields(*this, item); }

  absl::Span<const uint8_t> bytes_;
  bool whole_ = true;
};

// ---- What a decoded message must hold beyond its form. ----

absl::Status Check(const Proposal& proposal) {
  const std::vector<Member>& members = proposal.view.members;
  if (members.empty()) return absl::InvalidArgumentError("a view without members");
  for (size_t i = 1; i < members.size(); ++i) {
    if (members[i - 1].node < members[i].node) continue;
    return absl::InvalidArgumentError(absl::StrCat("a view with node ", members[i].node.value(),
                                                   " after ", members[i - 1].node.value()));
  }
  return absl::OkStatus();
}
absl::Status Check(const Accept& accept) { return Check(accept.proposal); }
absl::Status Check(const Install& install) { return Check(install.proposal); }
absl::Status Check(const Resumption& resumption) { return Check(resumption.proposal); }
absl::Status Check(const Register& message) {
  return message.installed ? Check(*message.installed) : absl::OkStatus();
}
absl::Status Check(const Promise& promise) {
  if (promise.accepted.has_value() != promise.accepted_ballot.has_value()) {
    return absl::InvalidArgumentError("an accepted value without its ballot, or the other way");
  }
  return promise.accepted ? Check(*promise.accepted) : absl::OkStatus();
}
template <typename T>
absl::Status Check(const T&) {
  return absl::OkStatus();
}

template <typename Message>
absl::StatusOr<Message> Read(Reader& reader) {
  Message fields;
  reader(fields);
  if (!reader.whole()) {
    return absl::InvalidArgumentError("a control message that is cut short or out of range");
  }
  PERIGEE_RETURN_IF_ERROR(Check(fields));
  return fields;
}

// ---- One of several kinds: its number, then its fields. ----

template <typename Message>
std::vector<uint8_t> EncodeKind(Message message) {
  Writer writer;
  uint64_t kind = message.index();
  writer(kind);
  std::visit([&](auto& fields) { writer(fields); }, message);
  return writer.Take();
}

template <typename Message, size_t kKind = 0>
absl::StatusOr<Message> DecodeKind(absl::Span<const uint8_t> bytes) {
  if constexpr (kKind == std::variant_size_v<Message>) {
    return absl::InvalidArgumentError("a control message of no known kind");
  } else {
    Reader reader(bytes);
    if (reader.Word() != kKind) return DecodeKind<Message, kKind + 1>(bytes);
    return Read<std::variant_alternative_t<kKind, Message>>(reader);
  }
}

}  // namespace

std::vector<uint8_t> Encode(MemberMessage message) { return EncodeKind(std::move(message)); }
std::vector<uint8_t> Encode(CoordinatorMessage message) { return EncodeKind(std::move(message)); }
std::vector<uint8_t> Encode(Resumption resumption) {
  Writer writer;
  writer(resumption);
  return writer.Take();
}

absl::StatusOr<MemberMessage> DecodeMemberMessage(absl::Span<const uint8_t> bytes) {
  return DecodeKind<MemberMessage>(bytes);
}
absl::StatusOr<CoordinatorMessage> DecodeCoordinatorMessage(absl::Span<const uint8_t> bytes) {
  return DecodeKind<CoordinatorMessage>(bytes);
}
absl::StatusOr<Resumption> DecodeResumption(absl::Span<const uint8_t> bytes) {
  Reader reader(bytes);
  return Read<Resumption>(reader);
}

}  // namespace perigee
