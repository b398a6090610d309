#include "runtime/cli/report.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>

#include "runtime/version.h"

namespace perigee {
namespace {

TEST(Report, WritesOneObjectWithTheCommonFields) {
  Report report("link", 42);
  report.parameters()["loss"] = 0.01;
  report.fields()["goodput_bps"] = 24.5e6;
  report.fields()["resume_ms"] = nullptr;

  testing::internal::CaptureStdout();
  ASSERT_TRUE(report.Write("-").ok());
  const auto object = nlohmann::json::parse(testing::internal::GetCapturedStdout());
  EXPECT_EQ(object["command"], "link");
  EXPECT_EQ(object["version"], kVersion);
  EXPECT_EQ(object["seed"], 42);
  EXPECT_EQ(object["parameters"]["loss"], 0.01);
  EXPECT_EQ(object["goodput_bps"], 24.5e6);
  EXPECT_TRUE(object["resume_ms"].is_null());
  EXPECT_GE(object["machine"]["cores"], 1);
  EXPECT_GT(object["machine"]["kernel"].get<std::string>().size(), 0u);
  EXPECT_GE(object["machine"]["foreign_cpu_seconds"], 0);
  EXPECT_GE(object["machine"]["steal_cpu_seconds"], 0);
}

TEST(Report, WritesToAFileAndNamesOneThatCannotBeWritten) {
  Report report("plan", 1);
  const std::string path = testing::TempDir() + "/perigee_report_test.json";
  ASSERT_TRUE(report.Write(path).ok());
  std::ifstream file(path);
  EXPECT_EQ(nlohmann::json::parse(file)["command"], "plan");
  std::remove(path.c_str());

  EXPECT_TRUE(report.Write("").ok());
  const absl::Status status = report.Write("/no/such/folder/out.json");
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_NE(status.message().find("/no/such/folder/out.json"), std::string::npos);
}

}  // namespace
}  // namespace perigee
