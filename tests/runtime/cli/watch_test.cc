#include "runtime/cli/watch.h"

#include <gtest/gtest.h>
#include <signal.h>

namespace perigee {
namespace {

TEST(Watch, ReadsSecondsAndTimesWithinItsLimits) {
  EXPECT_EQ(*ParseWatch("2"), absl::Seconds(2));
  EXPECT_EQ(*ParseWatch("0.5"), absl::Milliseconds(500));
  EXPECT_EQ(*ParseWatch("500ms"), absl::Milliseconds(500));
  for (const char* text : {"", "soon", "0", "-1", "0.05", "2h", "nan", "inf"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseWatch(text).status())) << text;
  }
}

TEST(Watch, WithoutATextItDrawsOnce) {
  int drawn = 0;
  const auto draw = [&] {
    ++drawn;
    return absl::OkStatus();
  };
  EXPECT_TRUE(Watch("", draw).ok());
  EXPECT_EQ(drawn, 1);
}

TEST(Watch, TheFirstFailureIsTheErrorAndLaterOnesAreShown) {
  const absl::Status gone = absl::UnavailableError("no coordinator");
  EXPECT_EQ(Watch("1", [&] { return gone; }), gone);
  int drawn = 0;
  const auto draw = [&]() -> absl::Status {
    // The signal waits until the pause, and ends it.
    if (++drawn == 3) raise(SIGINT);
    return drawn == 1 ? absl::OkStatus() : gone;
  };
  EXPECT_TRUE(Watch("0.1", draw).ok());
  EXPECT_EQ(drawn, 3);
}

}  // namespace
}  // namespace perigee
