#include "runtime/cli/quantity.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "transport/base/rng.h"

namespace perigee {
namespace {

TEST(Quantity, ReadsWhatPeopleWrite) {
  EXPECT_EQ(*ParseSize("4096"), 4096u);
  EXPECT_EQ(*ParseSize("64KiB"), 65536u);
  EXPECT_EQ(*ParseSize("1GiB"), uint64_t{1} << 30);
  EXPECT_EQ(*ParseSize("1GB"), 1'000'000'000u);
  EXPECT_EQ(*ParseSize("1.5MiB"), 1'572'864u);
  EXPECT_EQ(*ParseSize("16 MiB"), uint64_t{16} << 20);

  EXPECT_EQ(*ParseRate("200Mbit"), 25e6);
  EXPECT_EQ(*ParseRate("2.5Gbit"), 312.5e6);
  EXPECT_EQ(*ParseRate("200 Mbit/s"), 25e6);
  EXPECT_EQ(*ParseRate("unlimited"), 0);

  EXPECT_EQ(*ParseTime("6.5ms"), absl::Microseconds(6500));
  EXPECT_EQ(*ParseTime("2s"), absl::Seconds(2));
  EXPECT_EQ(*ParseTime("0"), absl::ZeroDuration());

  EXPECT_EQ(*ParseProbability("0.01"), 0.01);
  EXPECT_EQ(*ParseProbability("1%"), 0.01);
  EXPECT_EQ(*ParseProbability("0"), 0);
  EXPECT_EQ(*ParseProbability("100%"), 1);

  EXPECT_EQ(*ParseHostPort("127.0.0.1:7000", false), "127.0.0.1:7000");
  EXPECT_EQ(*ParseHostPort("[::1]:7000", false), "[::1]:7000");
  EXPECT_EQ(*ParseHostPort("localhost:0", true), "localhost:0");
}

TEST(Quantity, RefusesNonsenseAndShowsAnExample) {
  for (const char* text : {"", "MiB", "-1", "4k", "64 kib", "1e9", "0.5", "1.2.3", "16MiBs", "nan",
                           "18446744073709551616", "99999999TiB", "16  MiB", "1 "}) {
    const auto size = ParseSize(text);
    ASSERT_FALSE(size.ok()) << text;
    EXPECT_EQ(size.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(size.status().message().find("64KiB"), std::string::npos) << size.status();
  }
  for (const char* text : {"", "0", "0Mbit", "200", "200MB", "-1Gbit", "infGbit", "1Gbit/h"}) {
    EXPECT_FALSE(ParseRate(text).ok()) << text;
  }
  for (const char* text : {"", "5", "-5ms", "inf", "5 ms", "ms", "5parsecs"}) {
    EXPECT_FALSE(ParseTime(text).ok()) << text;
  }
  for (const char* text : {"", "%", "1.01", "101%", "-0.1", "nan", "inf", "0x1", "one"}) {
    EXPECT_FALSE(ParseProbability(text).ok()) << text;
  }
  for (const char* text : {"", "host", "host:", ":7000", "host:0", "host:65536", "host:-1",
                           "host:+1", "::1:7000", "a b:1", "host:70x"}) {
    EXPECT_FALSE(ParseHostPort(text, false).ok()) << text;
  }
}

TEST(Quantity, PrintsShortly) {
  EXPECT_EQ(FormatSize(0), "0 B");
  EXPECT_EQ(FormatSize(1023), "1023 B");
  EXPECT_EQ(FormatSize(1536), "1.5 KiB");
  EXPECT_EQ(FormatSize(uint64_t{16} << 20), "16 MiB");
  EXPECT_EQ(FormatRate(0), "unlimited");
  EXPECT_EQ(FormatRate(25e6), "200 Mbit/s");
  EXPECT_EQ(FormatRate(125e6), "1 Gbit/s");
  EXPECT_EQ(FormatRate(0.01), "0.08 bit/s");
}

// What is printed can be typed again and means the same, up to the two decimals that are printed.
TEST(Quantity, PrintedQuantitiesCanBeReadAgain) {
  constexpr uint64_t kSeed = 7;
  SCOPED_TRACE(kSeed);
  Rng rng(kSeed);
  for (int i = 0; i < 2000; ++i) {
    const uint64_t bytes = rng.Next() >> rng.Between(14, 63);
    const auto size = ParseSize(FormatSize(bytes));
    ASSERT_TRUE(size.ok()) << bytes << ": " << size.status();
    EXPECT_NEAR(static_cast<double>(*size), static_cast<double>(bytes),
                static_cast<double>(bytes) * 0.0051)
        << FormatSize(bytes);

    const double rate = std::pow(10, rng.Unit() * 12);
    const auto read = ParseRate(FormatRate(rate));
    ASSERT_TRUE(read.ok()) << rate << ": " << read.status();
    EXPECT_NEAR(*read, rate, rate * 0.0051) << FormatRate(rate);

    const absl::Duration time = absl::Nanoseconds(rng.Below(uint64_t{1} << rng.Between(1, 60)));
    EXPECT_EQ(*ParseTime(absl::FormatDuration(time)), time);
  }
}

}  // namespace
}  // namespace perigee
