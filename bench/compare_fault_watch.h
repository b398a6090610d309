// What the members of one launch make of a fault, from the lines that they print. Pure.
//
//   FaultWatch watch(4, 2, /*heals=*/false);    // of four members, member 2 is struck
//   watch.OnEvent(line); ...
//   if (watch.ReadyToStrike(now)) { strike; watch.Struck(now); }
//   until watch.Settled(now) or a bound; watch.ToJson(now)
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace perigee {

class FaultWatch {
 public:
  // `heals`: the struck member comes back, so that an op of all counts as going on.
  FaultWatch(uint32_t nodes, uint32_t victim, bool heals)
      : nodes_(nodes), victim_(victim), heals_(heals), members_(nodes) {}

  void OnEvent(const nlohmann::json& event);
  // Seconds since the epoch, as in the lines. The strike falls into the middle of an op, when every
  // member has done some before.
  bool ReadyToStrike(double now) const;
  void Struck(double now) { struck_ = now; }
  // Every survivor goes on, or has given up.
  bool Settled() const;
  uint64_t ready() const { return ready_; }
  const std::string& version() const { return version_; }

  // Times are seconds after the strike; null for what did not happen.
  // `now`: the watch has ended.
  nlohmann::ordered_json ToJson(double now) const;

 private:
  struct Op {
    uint64_t op = 0;
    double began = 0;
    double ended = 0;  // 0: it has not
    std::vector<uint32_t> members;
  };
  struct Member {
    std::vector<Op> ops;
    double noticed = 0;  // when and how it first showed that it knows
    std::string how;
    double went_on = 0;  // end of the first right op that the fault did not spoil
    uint64_t ops_after = 0;
    double gave_up = 0;
    std::string error;
    bool is_wrong = false;
  };

  void OnOp(Member& member, const nlohmann::json& event);
  void Notice(Member& member, double time, const std::string& how) const;
  std::string Outcome(const Member& member) const;

  uint32_t nodes_;
  uint32_t victim_;
  bool heals_;
  std::vector<Member> members_;
  uint64_t ready_ = 0;
  std::string version_;
  double struck_ = 0;
};

}  // namespace perigee
