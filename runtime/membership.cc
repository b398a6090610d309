#include "runtime/membership.h"

#include "runtime/hibernation.h"

namespace perigee {

bool IsQuorum(const View& view, const std::set<NodeId>& nodes) {
  uint64_t votes = 0;
  for (const Member& member : view.members) {
    if (nodes.contains(member.node)) votes += member.votes;
  }
  const uint64_t total = view.VotesTotal();
  return 2 * votes > total || (total > 0 && 2 * votes == total && nodes.contains(view.tie_breaker));
}

View WithoutVotesOf(View view, const std::set<NodeId>& nodes) {
  for (Member& member : view.members) {
    if (nodes.contains(member.node)) member.votes = 0;
  }
  return view;
}

Membership::Membership(NodeId self, const Incarnation& incarnation)
    : self_(self), incarnation_(incarnation) {}

bool Membership::MayVote(const JobId* job, Epoch epoch, bool planned) const {
  if (!installed_ || epoch != installed_->view.epoch.Next()) return false;
  if (job != nullptr && *job != installed_->view.job) return false;
  return installed_->view.Contains(self_, incarnation_) ||
         (!planned && HasNextLife(installed_->view, self_, incarnation_));
}

Promise Membership::OnPrepare(const Prepare& prepare, const LocalProgress& local) {
  Promise promise{.epoch = prepare.epoch,
                  .ballot = prepare.ballot,
                  .promised = promised_,
                  .started = local.started,
                  .any_started = local.any_started};
  if (!MayVote(nullptr, prepare.epoch, prepare.planned) || prepare.ballot < promised_)
    return promise;
  promise.granted = true;
  promised_ = prepare.ballot;
  if (!prepare.planned && !frozen_) {
    frozen_ = true;
    frozen_status_ = local.unstable;
  }
  promise.promised = promised_;
  promise.frozen = frozen_;
  if (frozen_) promise.status = frozen_status_;
  promise.accepted_ballot = accepted_ballot_;
  promise.accepted = accepted_;
  return promise;
}

Accepted Membership::OnAccept(const Accept& accept, const LocalProgress& local) {
  const View& view = accept.proposal.view;
  Accepted accepted{.epoch = view.epoch,
                    .ballot = accept.ballot,
                    .promised = promised_,
                    .started = local.started,
                    .any_started = local.any_started};
  if (!MayVote(&view.job, view.epoch, accept.proposal.planned) ||
      view.previous_digest != Digest(installed_->view)) {
    return accepted;
  }
  if (accept.ballot < promised_) return accepted;
  accepted.promised = promised_ = accept.ballot;
  // A value that is proposed again was accepted by somebody who had not started its first step;
  // then no op from there on can finish in this epoch, and it may begin there whatever was started
  // here. Refusing would leave the epoch undecided for ever once that somebody's value must be
  // proposed again.
  const bool again = accept.ballot != view.ballot || accepted_ballot_ == accept.ballot;
  const bool too_late =
      accept.proposal.planned && local.any_started && local.started >= view.first_step;
  if (too_late && !again) return accepted;
  accepted.granted = true;
  accepted_ballot_ = accept.ballot;
  accepted_ = accept.proposal;
  return accepted;
}

Membership::InstallResult Membership::OnInstall(const Install& install) {
  const Proposal& next = install.proposal;
  const bool contained = next.view.Contains(self_, incarnation_);
  bool gap = false;
  if (installed_) {
    const View& current = installed_->view;
    if (next.view.job != current.job || next.view.epoch <= current.epoch)
      return InstallResult::kIgnored;
    gap = next.view.epoch != current.epoch.Next();
    if (!gap && next.view.previous_digest != Digest(current)) return InstallResult::kIgnored;
  } else if (!contained) {
    return InstallResult::kIgnored;
  }
  const bool was_contained = !installed_ || installed_->view.Contains(self_, incarnation_);
  installed_ = next;
  promised_ = Ballot();
  accepted_ballot_.reset();
  accepted_.reset();
  frozen_ = false;
  frozen_status_.clear();
  if (gap || (!contained && !next.planned)) {
    views_.clear();
    return InstallResult::kOutNow;
  }
  if (!next.planned) {
    views_.assign(1, next.view);
    front_is_open_ = true;
    return InstallResult::kUnplanned;
  }
  // A leaver keeps what it needs to finish: the views it was in, and where they end.
  if (views_.size() == kViewsMax) ForgetBefore(views_[1].first_step);
  views_.push_back(next.view);
  if (contained) return InstallResult::kPlanned;
  return was_contained ? InstallResult::kOutPlanned : InstallResult::kIgnored;
}

std::optional<StepId> Membership::barrier() const {
  if (!accepted_ || !accepted_->planned) return std::nullopt;
  return accepted_->view.first_step;
}

const View* Membership::ViewForStep(StepId step) const {
  for (size_t i = views_.size(); i-- > 0;) {
    if (views_[i].first_step <= step || (i == 0 && front_is_open_)) return &views_[i];
  }
  return nullptr;
}

void Membership::ForgetBefore(StepId step) {
  while (views_.size() > 1 && views_[1].first_step <= step) {
    views_.erase(views_.begin());
    front_is_open_ = false;
  }
}

namespace {

void AppendIncarnation(const Incarnation& incarnation, std::string* out) {
  AppendFingerprint(incarnation.high, out);
  AppendFingerprint(incarnation.low, out);
}

void AppendView(const View& view, std::string* out) {
  AppendIncarnation(view.job, out);
  AppendFingerprint(view.epoch.value(), out);
  AppendFingerprint(view.ballot, out);
  AppendFingerprint(view.previous_digest, out);
  AppendFingerprint(view.members.size(), out);
  for (const Member& member : view.members) {
    AppendFingerprint(member.node.value(), out);
    AppendIncarnation(member.incarnation, out);
    AppendFingerprint(member.votes, out);
    AppendFingerprint(member.address.size(), out);
    out->append(member.address);
  }
  AppendFingerprint(view.tie_breaker.value(), out);
  AppendFingerprint(view.first_step.value(), out);
}

}  // namespace

void AppendFingerprint(uint64_t value, std::string* out) {
  // Seven bits a byte, so that the small numbers of a small world stay small.
  while (value >= 128) {
    out->push_back(static_cast<char>(value | 128));
    value >>= 7;
  }
  out->push_back(static_cast<char>(value));
}

void AppendFingerprint(const Ballot& ballot, std::string* out) {
  AppendFingerprint(ballot.round, out);
  AppendFingerprint(ballot.proposer.value(), out);
  AppendIncarnation(ballot.incarnation, out);
}

void AppendFingerprint(const std::vector<OpStatus>& status, std::string* out) {
  AppendFingerprint(status.size(), out);
  for (const OpStatus& op : status) {
    AppendFingerprint(op.op.value(), out);
    AppendFingerprint(op.epoch.value(), out);
    AppendFingerprint(op.holds_result, out);
  }
}

void AppendFingerprint(const Proposal& proposal, std::string* out) {
  AppendView(proposal.view, out);
  AppendFingerprint(proposal.planned + 2 * proposal.wakes.has_value(), out);
  if (proposal.wakes) {
    AppendFingerprint(static_cast<uint64_t>(absl::ToUnixNanos(*proposal.wakes)), out);
  }
  AppendFingerprint(proposal.decisions.size(), out);
  for (const OpDecision& decision : proposal.decisions) {
    AppendFingerprint(decision.op.value(), out);
    AppendFingerprint(static_cast<uint64_t>(decision.kind), out);
    AppendFingerprint(decision.holder.value(), out);
    AppendFingerprint(decision.missing.size(), out);
    for (NodeId node : decision.missing) AppendFingerprint(node.value(), out);
  }
  AppendFingerprint(proposal.reason.size(), out);
  out->append(proposal.reason);
}

std::string Membership::Fingerprint() const {
  std::string out;
  AppendFingerprint(self_.value(), &out);
  AppendIncarnation(incarnation_, &out);
  AppendFingerprint(installed_.has_value(), &out);
  if (installed_) AppendFingerprint(*installed_, &out);
  AppendFingerprint(views_.size(), &out);
  for (const View& view : views_) AppendView(view, &out);
  AppendFingerprint(front_is_open_ + 2 * frozen_, &out);
  AppendFingerprint(frozen_status_, &out);
  AppendFingerprint(promised_, &out);
  AppendFingerprint(accepted_ballot_.has_value(), &out);
  if (accepted_ballot_) AppendFingerprint(*accepted_ballot_, &out);
  if (accepted_) AppendFingerprint(*accepted_, &out);
  return out;
}

}  // namespace perigee
