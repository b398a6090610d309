#include "runtime/cli/table.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

constexpr size_t kGap = 2;

// Columns on a terminal, not bytes; wide characters do not occur in what we print.
size_t Width(const std::string& text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string Padded(const std::string& text, size_t width, bool right) {
  const std::string pad(width - Width(text), ' ');
  return right ? pad + text : text + pad;
}

}  // namespace

void Table::Add(std::vector<Cell> row) {
  PERIGEE_CHECK(row.size() == columns_.size());
  rows_.push_back(std::move(row));
}

std::string Table::ToText(bool wide) const {
  std::vector<std::string> lines(rows_.size() + 1);
  for (size_t c = 0; c < columns_.size(); ++c) {
    size_t width = 0;
    bool numbers = true;
    for (const std::vector<Cell>& row : rows_) {
      width = std::max(width, Width(row[c].text));
      numbers = numbers && (row[c].value.is_number() || row[c].value.is_null());
    }
    if (width == 0 || (columns_[c].wide && !wide)) continue;
    width = std::max(width, Width(columns_[c].name));
    lines[0] += Padded(columns_[c].name, width, numbers) + std::string(kGap, ' ');
    for (size_t r = 0; r < rows_.size(); ++r) {
      lines[r + 1] += Padded(rows_[r][c].text, width, numbers) + std::string(kGap, ' ');
    }
  }
  std::string text;
  for (std::string& line : lines) {
    line.erase(line.find_last_not_of(' ') + 1);
    absl::StrAppend(&text, line, "\n");
  }
  return text;
}

std::string Table::ToList() const {
  PERIGEE_CHECK(rows_.size() == 1);
  size_t width = 0;
  for (size_t c = 0; c < columns_.size(); ++c) {
    if (!rows_[0][c].text.empty()) width = std::max(width, Width(columns_[c].name));
  }
  std::string text;
  for (size_t c = 0; c < columns_.size(); ++c) {
    const std::string& value = rows_[0][c].text;
    if (value.empty()) continue;
    absl::StrAppend(&text, Padded(columns_[c].name, width + kGap, false), value, "\n");
  }
  return text;
}

nlohmann::ordered_json Table::RowJson(size_t row) const {
  auto object = nlohmann::ordered_json::object();
  for (size_t c = 0; c < columns_.size(); ++c) object[columns_[c].name] = rows_[row][c].value;
  return object;
}

nlohmann::ordered_json Table::ToJson() const {
  auto array = nlohmann::ordered_json::array();
  for (size_t r = 0; r < rows_.size(); ++r) array.push_back(RowJson(r));
  return array;
}

}  // namespace perigee
