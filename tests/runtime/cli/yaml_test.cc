#include "runtime/cli/yaml.h"

#include <gtest/gtest.h>
#include <yaml-cpp/yaml.h>

#include <string>

#include "absl/strings/numbers.h"

namespace perigee {
namespace {

using nlohmann::ordered_json;

TEST(Yaml, ReadsLikeTheTables) {
  EXPECT_EQ(ToYaml({{"node", 3}, {"state", "active"}, {"drain_at", nullptr}}),
            "node: 3\nstate: \"active\"\ndrain_at: ~\n");
  EXPECT_EQ(ToYaml(ordered_json::array()), "[]\n");
}

// What a parser makes of it again; quoted scalars are texts, the others what JSON calls them.
ordered_json Read(const YAML::Node& node) {
  if (node.IsNull()) return nullptr;
  if (node.IsSequence()) {
    auto array = ordered_json::array();
    for (const YAML::Node& item : node) array.push_back(Read(item));
    return array;
  }
  if (node.IsMap()) {
    auto object = ordered_json::object();
    for (const auto& item : node) object[item.first.as<std::string>()] = Read(item.second);
    return object;
  }
  if (node.Tag() == "!") return node.as<std::string>();
  return ordered_json::parse(node.as<std::string>());
}

TEST(Yaml, SaysTheSameAsTheJson) {
  const ordered_json value = {
      {"numbers", {0, -1, 1.5, -0.25, 0.1, 1e-9, uint64_t{18446744073709551615u}}},
      {"words", {"no", "1.5", "", "a: b", "- x", "\"quoted\"", "two\nlines", "\u00e4", "~", "#"}},
      {"nothing", nullptr},
      {"truth", {true, false}},
      {"rows", {{{"a", 1}, {"b", {{"c", "d"}}}}, {{"a", 2}, {"b", nullptr}}}},
      {"none", ordered_json::array()}};
  EXPECT_EQ(Read(YAML::Load(ToYaml(value))), value);
}

}  // namespace
}  // namespace perigee
