// /metrics as Prometheus reads it, and the list of its names in runtime/control/README.md.
#include "runtime/cli/metrics_http.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "tests/runtime/control/test_member.h"

namespace perigee {
namespace {

using testing::HasSubstr;

class MetricsHttpTest : public testing::Test {
 protected:
  MetricsHttpTest() {
    server_ = *ControlServer::Start({.listen = "127.0.0.1:0", .insecure = true}, ContactPlan(), "");
    http_ = *MetricsHttp::Start("127.0.0.1:0", *server_);
  }
  ~MetricsHttpTest() override { http_.reset(); }

  std::string Get(const std::string& path) {
    int port = 0;
    EXPECT_TRUE(absl::SimpleAtoi(http_->address().substr(http_->address().rfind(':') + 1), &port));
    sockaddr_in address{.sin_family = AF_INET, .sin_port = htons(static_cast<uint16_t>(port))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    const std::string request = absl::StrCat("GET ", path, " HTTP/1.0\r\n\r\n");
    EXPECT_EQ(write(fd, request.data(), request.size()), static_cast<ssize_t>(request.size()));
    std::string reply;
    char buffer[4096];
    for (ssize_t size; (size = read(fd, buffer, sizeof(buffer))) > 0;) reply.append(buffer, size);
    close(fd);
    return reply;
  }

  std::unique_ptr<ControlServer> server_;
  std::unique_ptr<MetricsHttp> http_;
};

// "name type" of every metric of ours.
std::set<std::string> Scraped(const std::string& reply) {
  std::set<std::string> names;
  for (const absl::string_view line : absl::StrSplit(reply, '\n')) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ');
    if (words.size() == 4 && words[1] == "TYPE" && absl::StartsWith(words[2], "perigee_")) {
      names.insert(absl::StrCat(words[2], " ", absl::StripAsciiWhitespace(words[3])));
    }
  }
  return names;
}

// "| `name` | type | ... |" of the README.
std::set<std::string> Documented() {
  std::set<std::string> names;
  std::ifstream file("runtime/control/README.md");
  for (std::string line; std::getline(file, line);) {
    const std::vector<std::string> cells = absl::StrSplit(line, absl::ByAnyChar("|`{"));
    if (!absl::StartsWith(line, "| `perigee_")) continue;
    const std::vector<std::string> columns = absl::StrSplit(line, '|');
    names.insert(absl::StrCat(cells[2], " ", absl::StripAsciiWhitespace(columns[2])));
  }
  return names;
}

TEST_F(MetricsHttpTest, TheReadmeListsWhatIsServed) {
  const std::set<std::string> scraped = Scraped(Get("/metrics"));
  EXPECT_GT(scraped.size(), 10u);
  EXPECT_EQ(scraped, Documented());
}

TEST_F(MetricsHttpTest, ShowsTheJobAndItsNodes) {
  TestMember first(server_->address(), 0, 2), second(server_->address(), 1, 2);
  ASSERT_TRUE(first.WaitForEpoch(1));
  ASSERT_TRUE(second.WaitForEpoch(1));
  first.SendBeat();
  const absl::Time deadline = absl::Now() + kTestDeadline;
  std::string reply = Get("/metrics");
  while (!absl::StrContains(reply, "perigee_node_step{node=\"0\"} 41") && absl::Now() < deadline) {
    reply = Get("/metrics");
  }
  EXPECT_THAT(reply, HasSubstr("200 OK"));
  EXPECT_THAT(reply, HasSubstr("\nperigee_node_step{node=\"0\"} 41\n"));
  EXPECT_THAT(reply, HasSubstr("\nperigee_epoch 1\n"));
  EXPECT_THAT(reply, HasSubstr("\nperigee_members_connected 2\n"));
  EXPECT_THAT(reply, HasSubstr("\nperigee_views_total{planned=\"true\"} 1\n"));
  EXPECT_THAT(reply, HasSubstr("\nperigee_members{state=\"lost\"} 0\n"));
  EXPECT_THAT(Get("/"), HasSubstr("404"));
}

TEST_F(MetricsHttpTest, APortInUseIsOneLine) {
  const auto second = MetricsHttp::Start(http_->address(), *server_);
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(second.status().message(), HasSubstr("choose another --http"));
}

}  // namespace
}  // namespace perigee
