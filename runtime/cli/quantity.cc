#include "runtime/cli/quantity.h"

#include <array>
#include <cmath>
#include <cstdio>
#include <limits>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace perigee {
namespace {

struct Unit {
  const char* name;
  uint64_t factor;
};

// Largest first within each family: formatting takes the first that fits.
constexpr std::array<Unit, 11> kSizeUnits = {{{"TiB", uint64_t{1} << 40},
                                              {"GiB", uint64_t{1} << 30},
                                              {"MiB", uint64_t{1} << 20},
                                              {"KiB", uint64_t{1} << 10},
                                              {"B", 1},
                                              {"TB", 1'000'000'000'000},
                                              {"GB", 1'000'000'000},
                                              {"MB", 1'000'000},
                                              {"kB", 1'000},
                                              {"KB", 1'000},
                                              {"", 1}}};
constexpr size_t kBinaryUnitCount = 5;
constexpr std::array<Unit, 5> kRateUnits = {{{"Tbit", 1'000'000'000'000},
                                             {"Gbit", 1'000'000'000},
                                             {"Mbit", 1'000'000},
                                             {"kbit", 1'000},
                                             {"bit", 1}}};
constexpr double kBitsPerByte = 8;

// "6.5ms" -> {"6.5", "ms"}. One space may stand between the two, as in what is printed.
struct NumberAndUnit {
  absl::string_view number;
  absl::string_view unit;
};
NumberAndUnit Split(absl::string_view text) {
  const size_t end = std::min(text.find_first_not_of("0123456789."), text.size());
  NumberAndUnit parts{text.substr(0, end), text.substr(end)};
  if (!parts.number.empty() && parts.unit.size() > 1) absl::ConsumePrefix(&parts.unit, " ");
  return parts;
}

template <size_t N>
const Unit* FindUnit(const std::array<Unit, N>& units, absl::string_view name) {
  for (const Unit& unit : units) {
    if (name == unit.name) return &unit;
  }
  return nullptr;
}

absl::Status Bad(absl::string_view text, absl::string_view what, absl::string_view examples) {
  return absl::InvalidArgumentError(
      absl::StrCat("'", text, "' is not a ", what, "; write for example ", examples));
}

// At most two decimals, without trailing zeros.
std::string FormatNumber(double value) {
  char text[64];
  std::snprintf(text, sizeof(text), "%.2f", value);
  std::string number(text);
  number.erase(number.find_last_not_of('0') + 1);
  if (number.back() == '.') number.pop_back();
  return number;
}

bool IsPort(absl::string_view text, bool zero_port) {
  uint32_t port = 0;
  const bool digits = !text.empty() && text.find_first_not_of("0123456789") == text.npos;
  return digits && absl::SimpleAtoi(text, &port) && port <= 65535 && (port > 0 || zero_port);
}

}  // namespace

absl::StatusOr<uint64_t> ParseSize(absl::string_view text) {
  const absl::Status bad = Bad(text, "size", "4096, 64KiB, 16MiB or 1GB");
  const NumberAndUnit parts = Split(text);
  const Unit* unit = FindUnit(kSizeUnits, parts.unit);
  if (unit == nullptr) return bad;
  uint64_t whole = 0;
  if (parts.number.find('.') == absl::string_view::npos) {
    if (!absl::SimpleAtoi(parts.number, &whole)) return bad;
    if (whole > std::numeric_limits<uint64_t>::max() / unit->factor) return bad;
    return whole * unit->factor;
  }
  double number = 0;
  if (!absl::SimpleAtod(parts.number, &number)) return bad;
  const double bytes = std::round(number * static_cast<double>(unit->factor));
  if (bytes >= 0x1p63 || (unit->factor == 1 && bytes != number)) return bad;
  return static_cast<uint64_t>(bytes);
}

absl::StatusOr<double> ParseRate(absl::string_view text) {
  if (text == "unlimited") return 0.0;
  const absl::Status bad = Bad(text, "rate", "200Mbit, 1Gbit or unlimited");
  NumberAndUnit parts = Split(text);
  absl::ConsumeSuffix(&parts.unit, "/s");
  const Unit* unit = FindUnit(kRateUnits, parts.unit);
  double number = 0;
  if (unit == nullptr || !absl::SimpleAtod(parts.number, &number)) return bad;
  // Zero would mean "unlimited" to the callers: nobody who writes 0 wants that.
  if (!(number > 0) || !std::isfinite(number)) return bad;
  return number * static_cast<double>(unit->factor) / kBitsPerByte;
}

absl::StatusOr<absl::Duration> ParseTime(absl::string_view text) {
  absl::Duration time;
  if (!absl::ParseDuration(text, &time) || time < absl::ZeroDuration() ||
      time == absl::InfiniteDuration()) {
    return Bad(text, "time", "5ms, 6.5ms, 2s, 1h or 0");
  }
  return time;
}

absl::StatusOr<double> ParseProbability(absl::string_view text) {
  absl::string_view number = text;
  const bool percent = absl::ConsumeSuffix(&number, "%");
  double value = 0;
  const bool plain = number.find_first_not_of("0123456789.e-") == absl::string_view::npos;
  if (!plain || !absl::SimpleAtod(number, &value)) value = -1;
  if (percent) value /= 100;
  if (!(value >= 0 && value <= 1)) return Bad(text, "probability", "0.01 or 1%");
  return value;
}

absl::StatusOr<std::string> ParseHostPort(absl::string_view text, bool zero_port) {
  const size_t colon = text.rfind(':');
  const absl::string_view host = text.substr(0, colon == absl::string_view::npos ? 0 : colon);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  const bool plain = !host.empty() && host.find_first_of(":[]/ \t\n") == absl::string_view::npos;
  if (!(plain || bracketed) || !IsPort(text.substr(colon + 1), zero_port)) {
    return Bad(text, "HOST:PORT", "127.0.0.1:7000 or [::1]:7000");
  }
  return std::string(text);
}

std::string FormatSize(uint64_t bytes) {
  for (size_t i = 0; i < kBinaryUnitCount; ++i) {
    const Unit& unit = kSizeUnits[i];
    if (bytes < unit.factor) continue;
    return absl::StrCat(FormatNumber(static_cast<double>(bytes) / static_cast<double>(unit.factor)),
                        " ", unit.name);
  }
  return "0 B";
}

std::string FormatRate(double bytes_per_second) {
  if (bytes_per_second == 0) return "unlimited";
  const double bits = bytes_per_second * kBitsPerByte;
  for (const Unit& unit : kRateUnits) {
    // Half a hundredth below the unit is printed as the unit: "1 Gbit/s", not "1000 Mbit/s".
    if (bits < static_cast<double>(unit.factor) * 0.999995 && unit.factor > 1) continue;
    return absl::StrCat(FormatNumber(bits / static_cast<double>(unit.factor)), " ", unit.name,
                        "/s");
  }
  return "0 bit/s";
}

}  // namespace perigee
