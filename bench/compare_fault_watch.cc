#include "bench/compare_fault_watch.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace perigee {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kOpsBefore = 3;   // ended on every member before the strike
constexpr double kInsideOp = 0.4;  // of an op's usual time
constexpr uint64_t kOpsAfter = 2;  // that show that a member goes on

}  // namespace

void FaultWatch::OnEvent(const nlohmann::json& event) {
  const std::string kind = event.at("event");
  const uint32_t rank = event.at("rank");
  if (rank >= nodes_) return;
  Member& member = members_[rank];
  const double time = event.at("time");
  if (kind == "ready") {
    ++ready_;
    version_ = event.value("version", "");
  } else if (kind == "start") {
    member.ops.push_back({.op = event.at("op"), .began = time});
  } else if (kind == "op") {
    OnOp(member, event);
  } else if (kind == "notice") {
    Notice(member, time, event.at("message"));
  } else if (kind == "error") {
    member.gave_up = time;
    member.error = event.at("message");
    Notice(member, time, member.error);
  }
}

void FaultWatch::OnOp(Member& member, const nlohmann::json& event) {
  if (member.ops.empty()) return;
  Op& op = member.ops.back();
  op.ended = event.at("ended");
  op.members = event.at("members").get<std::vector<uint32_t>>();
  if (struck_ == 0 || op.ended <= struck_) return;
  const bool has_victim =
      std::find(op.members.begin(), op.members.end(), victim_) != op.members.end();
  if (op.members.empty()) {
    member.is_wrong = true;
    return;
  }
  if (!has_victim) Notice(member, op.ended, "an op without the member");
  // An op that had everything it needs from the struck member when it was struck shows nothing.
  if (has_victim && !heals_) return;
  if (member.went_on == 0) member.went_on = op.ended;
  ++member.ops_after;
}

void FaultWatch::Notice(Member& member, double time, const std::string& how) const {
  if (struck_ == 0 || time <= struck_ || member.noticed != 0) return;
  member.noticed = time;
  member.how = how;
}

bool FaultWatch::ReadyToStrike(double now) const {
  for (const Member& member : members_) {
    if (member.ops.size() <= kOpsBefore) return false;
  }
  const Op& running = members_[victim_].ops.back();
  const Op& before = members_[victim_].ops[members_[victim_].ops.size() - 2];
  return running.ended == 0 && now >= running.began + kInsideOp * (before.ended - before.began);
}

bool FaultWatch::Settled() const {
  for (uint32_t rank = 0; rank < nodes_; ++rank) {
    const Member& member = members_[rank];
    if (rank == victim_ || member.gave_up != 0 || member.is_wrong) continue;
    if (member.ops_after < kOpsAfter) return false;
  }
  return true;
}

std::string FaultWatch::Outcome(const Member& member) const {
  if (member.is_wrong) return "wrong result";
  if (member.gave_up != 0) return "error";
  return member.went_on != 0 ? "goes on" : "hangs";
}

Json FaultWatch::ToJson(double now) const {
  const auto after = [&](double time) { return time == 0 ? Json(nullptr) : Json(time - struck_); };
  Json survivors = Json::array();
  Json timeline = Json::array();
  for (uint32_t rank = 0; rank < nodes_; ++rank) {
    const Member& member = members_[rank];
    for (const Op& op : member.ops) {
      timeline.push_back({{"rank", rank},
                          {"op", op.op},
                          {"began", after(op.began)},
                          {"ended", after(op.ended)},
                          {"members", op.members}});
    }
    if (rank == victim_) continue;
    survivors.push_back({{"rank", rank},
                         {"outcome", Outcome(member)},
                         {"noticed_seconds", after(member.noticed)},
                         {"how", member.how},
                         {"goes_on_seconds", after(member.went_on)},
                         {"gave_up_seconds", after(member.gave_up)},
                         {"error", member.error}});
  }
  return {{"victim", victim_},
          {"watched_seconds", now - struck_},
          {"survivors", survivors},
          {"timeline", timeline}};
}

}  // namespace perigee
