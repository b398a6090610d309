#include "runtime/deputy.h"

#include <algorithm>
#include <utility>

#include "runtime/control_codec.h"
#include "runtime/hibernation.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

constexpr StreamId kOwnStream = 0;
constexpr int kBeatsAfterLateness = 2;

}  // namespace

Deputy::Deputy(NodeId self, const Incarnation& incarnation, std::string version, Rng rng)
    : self_(self), incarnation_(incarnation), version_(std::move(version)), rng_(rng) {}

// ---- What the node knows. ----

void Deputy::OnView(absl::Time now, const View& view) {
  view_ = view;
  // Others that act may not know it.
  for (auto& [node, attachment] : attachments_) attachment.registered = false;
  if (acting_ != nullptr) acting_->registered = false;
  if (acting_ != nullptr && GivesWay(now)) acting_.reset();
}

void Deputy::OnCoordinatorHeard(absl::Time now) {
  lease_until_ = now + policy_.lease;
  acting_.reset();
}

void Deputy::OnCoordinatorClosed(absl::Time now) { lease_until_ = std::min(lease_until_, now); }

void Deputy::OnLate(absl::Time now) {
  not_before_ = now + kBeatsAfterLateness * policy_.beat_interval;
}

void Deputy::OnPeerGone(absl::Time now, NodeId peer) {
  silent_.erase(peer);
  attachments_.erase(peer);
  if (acting_ == nullptr) return;
  auto it = acting_->members.find(peer);
  if (it == acting_->members.end()) return;
  Close(now, it->second);
  acting_->members.erase(it);
  PumpCoordinator();
}

void Deputy::Stop() {
  view_.reset();
  acting_.reset();
  attachments_.clear();
  messages_.clear();
  out_.clear();
}

// ---- Whose turn it is. ----

bool Deputy::MayAct() const {
  const Member* member = view_ ? view_->Find(self_) : nullptr;
  return member != nullptr && member->votes > 0 && HasLife(*view_, self_, incarnation_);
}

absl::Time Deputy::TurnAt() const {
  if (!MayAct() || acting_ != nullptr) return absl::InfiniteFuture();
  int before = 0;
  for (const Member& member : view_->members) {
    if (member.node >= self_) break;
    if (member.votes > 0 && !silent_.contains(member.node)) ++before;
  }
  absl::Time at = std::max(lease_until_ + (before + 1) * kTurn, not_before_);
  // Who acts and has a majority is good enough; who has none yet gets some time.
  for (const auto& [node, attachment] : attachments_) {
    if (attachment.broken) continue;
    const absl::Time until = attachment.since + policy_.lease;
    at = std::max(at, attachment.has_view ? attachment.until : std::min(until, attachment.until));
  }
  return at;
}

bool Deputy::GivesWay(absl::Time now) const {
  if (!MayAct() || HearsCoordinator(now)) return true;
  for (const auto& [node, attachment] : attachments_) {
    if (node < self_ && attachment.has_view && IsLive(attachment, now)) return true;
  }
  // The coordinator is back for a majority of the others.
  std::set<NodeId> hearing;
  for (const auto& [node, record] : acting_->coordinator.state().members) {
    if (record.stream && record.beat.hears_coordinator) hearing.insert(node);
  }
  return IsQuorum(*view_, hearing);
}

void Deputy::Act(absl::Time now) {
  CoordinatorOptions options;
  static_cast<ViewPolicy&>(options) = policy_;
  options.self = self_;
  options.version = version_;
  options.calendar_ahead = calendar_ahead_;
  acting_ = std::make_unique<Acting>(
      Acting{.life = ++lives_,
             .coordinator = Coordinator(options, plan_, /*plan_text=*/"", rng_.Fork()),
             .next_summons = now});
  Summon(now);
}

void Deputy::Summon(absl::Time now) {
  acting_->next_summons = now + policy_.beat_interval;
  const bool has_view = acting_->coordinator.state().view.has_value();
  for (const Member& member : view_->members) {
    // What a silent peer does not answer would pile up.
    if (member.node == self_ || silent_.contains(member.node)) continue;
    Push(member.node, SummonsMessage{.life = acting_->life, .has_view = has_view});
  }
}

void Deputy::OnTimeout(absl::Time now) {
  if (acting_ != nullptr && GivesWay(now)) acting_.reset();
  if (now >= TurnAt()) Act(now);
  if (acting_ == nullptr) return;
  if (now >= acting_->next_summons) Summon(now);
  if (now >= acting_->coordinator.NextTimeout()) acting_->coordinator.OnTimeout(now);
  PumpCoordinator();
}

absl::Time Deputy::NextTimeout() const {
  if (acting_ == nullptr) return TurnAt();
  return std::min(acting_->next_summons, acting_->coordinator.NextTimeout());
}

// ---- Messages. ----

void Deputy::OnPeerMessage(absl::Time now, NodeId peer, const SummonsMessage& summons) {
  auto it = attachments_.find(peer);
  const bool known = it != attachments_.end() && it->second.life == summons.life;
  if (it != attachments_.end() && summons.life < it->second.life) return;  // it was overtaken
  // One that has a majority is answered in any case, or it would think that this member is lost.
  if (!known && HearsCoordinator(now) && !summons.has_view) return;
  const bool live = known && IsLive(it->second, now);
  if (!live && !MakeRoom(now, peer, summons.has_view)) return;
  if (!known) {
    // The others stay: one that was silent goes on with its stream when it is heard again.
    attachments_.erase(peer);
    Attachment attachment{.life = summons.life,
                          .stream = PeerStream(summons.life, /*up=*/true),
                          .since = now,
                          .until = now};
    it = attachments_.emplace(peer, std::move(attachment)).first;
  }
  Attachment& attachment = it->second;
  if (now >= attachment.until) attachment.registered = false;
  attachment.until = now + policy_.lease;
  attachment.has_view = summons.has_view;
  if (acting_ != nullptr && GivesWay(now)) acting_.reset();
}

// Where more act than a member answers, all members answer the first ones in order: each one its
// own choice, and nobody would have a majority.
bool Deputy::MakeRoom(absl::Time now, NodeId peer, bool has_view) {
  int live = 0;
  std::pair<const NodeId, Attachment>* last = nullptr;  // without a majority
  for (auto& attachment : attachments_) {
    if (attachment.first == peer || !IsLive(attachment.second, now)) continue;
    ++live;
    if (!attachment.second.has_view) last = &attachment;
  }
  if (live < kAttachedMax) return true;
  if (last == nullptr || (last->first < peer && !has_view)) return false;
  last->second.until = now;
  return true;
}

void Deputy::OnPeerMessage(absl::Time now, NodeId peer, PartMessage part) {
  if (part.up) {
    OnPartUp(now, peer, std::move(part));
  } else {
    OnPartDown(now, peer, std::move(part));
  }
}

void Deputy::OnPartUp(absl::Time now, NodeId peer, PartMessage part) {
  if (acting_ == nullptr || part.life != acting_->life) return;
  auto it = acting_->members.find(peer);
  if (it == acting_->members.end()) {
    Attached member{.stream_id = acting_->next_stream++,
                    .stream = PeerStream(acting_->life, /*up=*/false)};
    it = acting_->members.emplace(peer, std::move(member)).first;
  }
  Attached& member = it->second;
  if (member.closed) return;
  auto whole = member.stream.OnPart(std::move(part));
  if (!whole.ok()) Close(now, member);
  for (size_t i = 0; whole.ok() && i < whole->size() && !member.closed; ++i) {
    const absl::StatusOr<MemberMessage> message = DecodeMemberMessage((*whole)[i]);
    if (message.ok()) {
      acting_->coordinator.OnMessage(now, member.stream_id, *message);
    } else {
      Close(now, member);  // another version, or worse
    }
  }
  PumpCoordinator();
}

void Deputy::OnPartDown(absl::Time now, NodeId peer, PartMessage part) {
  auto it = attachments_.find(peer);
  if (it == attachments_.end() || it->second.broken || part.life != it->second.life) return;
  auto whole = it->second.stream.OnPart(std::move(part));
  it->second.broken = !whole.ok();
  if (!whole.ok()) return;
  for (const std::vector<uint8_t>& bytes : *whole) {
    absl::StatusOr<CoordinatorMessage> message = DecodeCoordinatorMessage(bytes);
    if (!message.ok()) {
      it->second.broken = true;
      return;
    }
    PERIGEE_CHECK(messages_.size() < kQueueMax);
    it->second.clock.OnMessage(now, *message);
    messages_.push_back(*std::move(message));
  }
}

namespace {

// A beat names the clock of whom it is for.
MemberMessage WithClock(MemberMessage message, const std::optional<ClockReport>& clock) {
  if (auto* beat = std::get_if<Beat>(&message)) beat->clock = clock;
  return message;
}

}  // namespace

void Deputy::OnOwnMessage(absl::Time now, const MemberMessage& message) {
  const bool registers = std::holds_alternative<Register>(message);
  for (auto& [node, attachment] : attachments_) {
    if (!IsLive(attachment, now) || attachment.registered == registers) continue;
    attachment.registered = true;
    const std::vector<uint8_t> bytes = Encode(WithClock(message, attachment.clock.Report(now)));
    for (PartMessage& part : attachment.stream.Split(bytes)) Push(node, std::move(part));
  }
  if (acting_ == nullptr || acting_->registered == registers) return;
  acting_->registered = true;
  const ClockReport own{.clock = now, .heard = now};
  acting_->coordinator.OnMessage(now, kOwnStream, WithClock(message, own));
  PumpCoordinator();
}

void Deputy::Close(absl::Time now, Attached& member) {
  if (!std::exchange(member.closed, true)) {
    acting_->coordinator.OnStreamClosed(now, member.stream_id);
  }
}

void Deputy::PumpCoordinator() {
  while (auto outgoing = acting_->coordinator.NextMessage()) {
    if (outgoing->stream == kOwnStream) {
      PERIGEE_CHECK(messages_.size() < kQueueMax);
      messages_.push_back(std::move(outgoing->message));
      continue;
    }
    for (auto& [node, member] : acting_->members) {
      if (member.stream_id != outgoing->stream || member.closed) continue;
      for (PartMessage& part : member.stream.Split(Encode(outgoing->message))) {
        Push(node, std::move(part));
      }
      member.closed = outgoing->close_after;
    }
  }
}

void Deputy::Push(NodeId to, PeerMessage message) {
  PERIGEE_CHECK(out_.size() < kQueueMax);
  out_.push_back({to, std::move(message)});
}

// ---- What it wants. ----

bool Deputy::WantsRegistration(absl::Time now) const {
  if (acting_ != nullptr && !acting_->registered) return true;
  return std::any_of(attachments_.begin(), attachments_.end(), [&](const auto& entry) {
    return !entry.second.registered && IsLive(entry.second, now);
  });
}

std::optional<CoordinatorMessage> Deputy::NextMessage() {
  if (messages_.empty()) return std::nullopt;
  CoordinatorMessage message = std::move(messages_.front());
  messages_.pop_front();
  return message;
}

std::optional<Deputy::Out> Deputy::NextPeerMessage() {
  if (out_.empty()) return std::nullopt;
  Out out = std::move(out_.front());
  out_.pop_front();
  return out;
}

// ---- Reading. ----

bool Deputy::IsAttached(absl::Time now) const {
  if (acting_ != nullptr) return true;
  return std::any_of(attachments_.begin(), attachments_.end(),
                     [&](const auto& entry) { return IsLive(entry.second, now); });
}

std::optional<NodeId> Deputy::ActingNode(absl::Time now) const {
  if (acting_ != nullptr && acting_->coordinator.state().view) return self_;
  for (const auto& [node, attachment] : attachments_) {
    if (attachment.has_view && IsLive(attachment, now)) return node;
  }
  return std::nullopt;
}

}  // namespace perigee
