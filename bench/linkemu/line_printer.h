// Hands on what the nodes print, whole lines at a time, so that lines of two nodes never mix.
#pragma once

#include <cstddef>
#include <string>

#include "bench/linkemu/file_descriptor.h"

namespace perigee::linkemu {

class LinePrinter {
 public:
  static constexpr size_t kLineBytesMax = 1 << 20;  // a longer line is cut in two

  // Reads from `source` (nonblocking), writes to the descriptor `target` with `prefix` before each
  // line. Borrows nothing.
  LinePrinter(FileDescriptor source, int target, std::string prefix);

  int fd() const { return source_.get(); }
  bool ended() const { return !source_.valid(); }
  // Reads what is there. At the end of the source a last line without its end gets one.
  void Pump();

 private:
  void Take(const char* bytes, size_t size);
  void Print(size_t size);

  FileDescriptor source_;
  int target_;
  std::string prefix_;
  std::string pending_;
};

}  // namespace perigee::linkemu
