// Rows for people and for programs from one source, so that the names are the same in both.
//
//   Table table({{"node"}, {"last_heard"}});
//   table.Add({Cell(3), Cell("0.1 s ago", "2026-11-22T13:00:00.000Z")});
//   table.ToText(/*wide=*/false);   table.ToJson();
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace perigee {

struct Cell {
  std::string text;
  nlohmann::ordered_json value;

  // Absent: empty for people, null for programs.
  Cell() = default;
  template <typename Number>
  requires std::is_arithmetic_v<Number>
  explicit Cell(Number number) : value(number) { text = value.dump(); }
  explicit Cell(const std::string& both) : text(both), value(both) {}
  Cell(std::string text, nlohmann::ordered_json value)
      : text(std::move(text)), value(std::move(value)) {}
};

struct Column {
  std::string name;
  bool wide = false;  // shown to people only when they ask for it
};

class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  // As many cells as columns.
  void Add(std::vector<Cell> row);
  bool empty() const { return rows_.empty(); }

  // Aligned columns under their names; a column without any text is left out. Numbers stand right.
  std::string ToText(bool wide) const;
  // One "name  text" line per column of the only row.
  std::string ToList() const;
  // An array of objects, one per row.
  nlohmann::ordered_json ToJson() const;
  nlohmann::ordered_json RowJson(size_t row) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

}  // namespace perigee
