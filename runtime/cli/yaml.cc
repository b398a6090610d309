#include "runtime/cli/yaml.h"

#include <yaml-cpp/yaml.h>

#include "absl/strings/str_cat.h"

namespace perigee {
namespace {

void Emit(const nlohmann::ordered_json& value, YAML::Emitter& out) {
  if (value.is_object()) {
    out << YAML::BeginMap;
    for (const auto& [key, item] : value.items()) {
      out << YAML::Key << key << YAML::Value;
      Emit(item, out);
    }
    out << YAML::EndMap;
  } else if (value.is_array()) {
    out << YAML::BeginSeq;
    for (const auto& item : value) Emit(item, out);
    out << YAML::EndSeq;
  } else if (value.is_string()) {
    out << YAML::DoubleQuoted << value.get<std::string>();
  } else if (value.is_null()) {
    out << YAML::Null;
  } else {
    // Numbers and booleans look the same in both; the emitter would print 0.1 with 17 digits.
    out << value.dump();
  }
}

}  // namespace

std::string ToYaml(const nlohmann::ordered_json& value) {
  YAML::Emitter out;
  Emit(value, out);
  return absl::StrCat(out.c_str(), "\n");
}

}  // namespace perigee
