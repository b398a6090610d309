#include "runtime/cli/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace perigee {
namespace {

// Between fork and exec: only async-signal-safe calls.
[[noreturn]] void Execute(char* const* argv, int output, const char* error_path, int failure,
                          pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);
  dup2(output, STDOUT_FILENO);
  if (*error_path != '\0') {
    const int error = open(error_path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (error >= 0) dup2(error, STDERR_FILENO);
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execv(argv[0], argv);
  const int code = errno;
  [[maybe_unused]] const ssize_t size = write(failure, &code, sizeof(code));
  _exit(127);
}

int ExitCode(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

absl::StatusOr<ChildProcess> ChildProcess::Start(const std::vector<std::string>& argv,
                                                 const std::string& error_path) {
  int output[2];
  int failure[2];
  if (pipe2(output, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "pipe");
  if (pipe2(failure, O_CLOEXEC) != 0) {
    close(output[0]);
    close(output[1]);
    return absl::ErrnoToStatus(errno, "pipe");
  }
  std::vector<char*> arguments;
  for (const std::string& argument : argv) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) {
    Execute(arguments.data(), output[1], error_path.c_str(), failure[1], parent);
  }
  const int fork_error = errno;
  close(output[1]);
  close(failure[1]);
  int code = 0;
  const bool failed = pid > 0 && read(failure[0], &code, sizeof(code)) == sizeof(code);
  close(failure[0]);
  if (pid < 0 || failed) {
    close(output[0]);
    if (pid > 0) waitpid(pid, nullptr, 0);
    return absl::ErrnoToStatus(pid < 0 ? fork_error : code, absl::StrCat("cannot start ", argv[0]));
  }
  fcntl(output[0], F_SETFL, O_NONBLOCK);
  return ChildProcess(pid, output[0]);
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept { *this = std::move(other); }

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(fd_, other.fd_);
  std::swap(exit_code_, other.exit_code_);
  std::swap(partial_, other.partial_);
  return *this;
}

ChildProcess::~ChildProcess() {
  if (fd_ >= 0) close(fd_);
  if (pid_ > 0) Wait(absl::ZeroDuration());
}

void ChildProcess::Signal(int signal) const {
  if (pid_ > 0 && !exit_code_) kill(pid_, signal);
}

std::optional<int> ChildProcess::Poll() {
  int status = 0;
  if (!exit_code_ && waitpid(pid_, &status, WNOHANG) == pid_) exit_code_ = ExitCode(status);
  return exit_code_;
}

int ChildProcess::Wait(absl::Duration deadline) {
  const absl::Time end = absl::Now() + deadline;
  while (!Poll() && absl::Now() < end) absl::SleepFor(absl::Milliseconds(5));
  if (!Poll()) {
    Signal(SIGKILL);
    int status = 0;
    waitpid(pid_, &status, 0);
    exit_code_ = ExitCode(status);
  }
  return *exit_code_;
}

bool ChildProcess::ReadAvailable(std::vector<std::string>* lines) {
  char buffer[4096];
  for (;;) {
    const ssize_t size = read(fd_, buffer, sizeof(buffer));
    if (size == 0) {
      close(std::exchange(fd_, -1));
      return false;
    }
    if (size < 0) return true;
    for (const char c : absl::string_view(buffer, static_cast<size_t>(size))) {
      if (c == '\n') {
        lines->push_back(std::exchange(partial_, ""));
      } else if (partial_.size() < kLineBytesMax) {
        partial_.push_back(c);
      }
    }
  }
}

void ReadLines(const std::vector<ChildProcess*>& children, absl::Time deadline,
               const std::function<bool(size_t, const std::string&)>& on_line) {
  for (;;) {
    std::vector<pollfd> fds;
    std::vector<size_t> indexes;
    for (size_t i = 0; i < children.size(); ++i) {
      if (children[i] == nullptr || children[i]->fd() < 0) continue;
      fds.push_back({.fd = children[i]->fd(), .events = POLLIN, .revents = 0});
      indexes.push_back(i);
    }
    const absl::Duration left = deadline - absl::Now();
    if (fds.empty() || left <= absl::ZeroDuration()) return;
    const timespec wait = absl::ToTimespec(left);
    ppoll(fds.data(), fds.size(), &wait, nullptr);
    bool more = true;
    for (size_t i = 0; i < fds.size(); ++i) {
      if (fds[i].revents == 0) continue;
      std::vector<std::string> lines;
      children[indexes[i]]->ReadAvailable(&lines);
      for (const std::string& line : lines) more &= on_line(indexes[i], line);
    }
    if (!more) return;
  }
}

std::string ReadOutput(ChildProcess& child, absl::Time deadline) {
  std::string output;
  ReadLines({&child}, deadline, [&output](size_t, const std::string& line) {
    output.append(line).push_back('\n');
    return true;
  });
  return output;
}

std::string SiblingProgram(const std::string& name) {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  return (error ? std::filesystem::path(".") : self.parent_path()) / name;
}

}  // namespace perigee
