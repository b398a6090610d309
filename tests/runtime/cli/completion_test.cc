#include "runtime/cli/completion.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace perigee {
namespace {

using testing::HasSubstr;
using testing::Not;

class CompletionTest : public testing::Test {
 protected:
  CompletionTest() {
    app_.set_help_flag("--help,-h", "show this help");
    app_.add_flag("--fast", fast_, "don't wait");
    CLI::App* plan = app_.add_subcommand("plan", "Plans: all of them.");
    plan->set_help_flag();
    plan->add_subcommand("show", "Shows.")->set_help_flag();
    app_.add_option("--secret", secret_)->group("");
  }
  std::string Script(const std::string& shell) { return *CompletionScript(app_, shell); }

  bool fast_ = false;
  std::string secret_;
  CLI::App app_{"Does things.", "tool"};
};

TEST_F(CompletionTest, BashKnowsCommandsAndOptionsOfEveryPlace) {
  const std::string script = Script("bash");
  EXPECT_THAT(script, HasSubstr("\"/plan\"|\"plan/show\") at="));
  EXPECT_THAT(script, HasSubstr("\"\") words=\"plan --help -h --fast\""));
  EXPECT_THAT(script, HasSubstr("\"plan\") words=\"show --help -h --fast\""));
  EXPECT_THAT(script, HasSubstr("\"plan show\") words=\"--help -h --fast\""));
  EXPECT_THAT(script, HasSubstr("complete -o default -F _tool tool\n"));
  EXPECT_THAT(script, Not(HasSubstr("secret")));
}

TEST_F(CompletionTest, ZshHasTheDescriptionsToo) {
  const std::string script = Script("zsh");
  EXPECT_THAT(script, HasSubstr("#compdef tool\n"));
  EXPECT_THAT(script, HasSubstr("commands=('plan:Plans: all of them.')"));
  EXPECT_THAT(script, HasSubstr("'--fast:don'\\''t wait'"));
}

TEST_F(CompletionTest, OtherShellsAreRefused) {
  EXPECT_TRUE(absl::IsInvalidArgument(CompletionScript(app_, "fish").status()));
}

}  // namespace
}  // namespace perigee
