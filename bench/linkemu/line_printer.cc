#include "bench/linkemu/line_printer.h"

#include <unistd.h>

#include <cerrno>
#include <utility>

namespace perigee::linkemu {
namespace {

constexpr int kReadsInTurn = 16;

void WriteAll(int fd, const std::string& text) {
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t size = write(fd, text.data() + done, text.size() - done);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return;  // nobody reads any more
    done += static_cast<size_t>(size);
  }
}

}  // namespace

LinePrinter::LinePrinter(FileDescriptor source, int target, std::string prefix)
    : source_(std::move(source)), target_(target), prefix_(std::move(prefix)) {}

void LinePrinter::Pump() {
  char buffer[16 * 1024];
  for (int i = 0; i < kReadsInTurn && source_.valid(); ++i) {
    const ssize_t size = read(source_.get(), buffer, sizeof(buffer));
    if (size > 0) {
      Take(buffer, static_cast<size_t>(size));
      continue;
    }
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    source_.Close();
    if (!pending_.empty()) Take("\n", 1);
  }
}

void LinePrinter::Take(const char* bytes, size_t size) {
  pending_.append(bytes, size);
  const size_t end = pending_.rfind('\n');
  if (end != std::string::npos) Print(end + 1);
  if (pending_.size() >= kLineBytesMax) {
    pending_ += '\n';
    Print(pending_.size());
  }
}

// The first `size` pending bytes are whole lines.
void LinePrinter::Print(size_t size) {
  std::string text;
  for (size_t begin = 0; begin < size;) {
    const size_t end = pending_.find('\n', begin) + 1;
    text += prefix_;
    text.append(pending_, begin, end - begin);
    begin = end;
  }
  pending_.erase(0, size);
  WriteAll(target_, text);
}

}  // namespace perigee::linkemu
