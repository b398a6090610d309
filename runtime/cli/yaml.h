// JSON values as YAML, for people who read and programs that parse.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace perigee {

// Block style, keys in their order; texts are quoted, so that "no" stays a text. Ends with a
// newline.
std::string ToYaml(const nlohmann::ordered_json& value);

}  // namespace perigee
