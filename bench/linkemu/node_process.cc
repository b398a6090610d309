#include "bench/linkemu/node_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "transport/base/status.h"

// close_range(2) came with glibc 2.34; the number is the same everywhere.
#ifndef SYS_close_range
#define SYS_close_range 436
#endif

extern char** environ;

namespace perigee::linkemu {
namespace {

constexpr int kExitCannotExecute = 127;
constexpr int kCommandsFd = 3;

struct Pipe {
  FileDescriptor read;
  FileDescriptor write;
};

absl::StatusOr<Pipe> MakePipe() {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "pipe");
  return Pipe{FileDescriptor(fds[0]), FileDescriptor(fds[1])};
}

// What the two new processes need, made before they exist: after that, only async-signal-safe
// calls, since other threads of the emulator may hold any lock at the moment of the fork.
struct Plan {
  std::vector<char*> argv;
  std::vector<char*> environment;
  int network_namespace = -1;
  int commands = -1;
  int output = -1;
  int error = -1;
};

// fork(3) has no argument for namespaces, and in a process with threads it waits for locks that
// nobody holds any more in the new one.
pid_t Fork(unsigned long namespaces) {
  return static_cast<pid_t>(syscall(SYS_clone, namespaces | SIGCHLD, nullptr, nullptr, 0, 0));
}

std::vector<char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (const std::string& string : strings) pointers.push_back(const_cast<char*>(string.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// The names in `added` win over those of this process.
std::vector<std::string> Environment(const std::vector<std::string>& added) {
  std::vector<std::string> all = added;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const absl::string_view text = *variable;
    const absl::string_view name = text.substr(0, text.find('=') + 1);
    bool replaced = false;
    for (const std::string& own : added) replaced |= absl::StartsWith(own, name);
    if (!replaced) all.emplace_back(text);
  }
  return all;
}

void Say(const char* what, const char* name) {
  const char* const reason = strerrordesc_np(errno);
  for (const char* part : {what, name, ": ", reason, "\n"}) {
    [[maybe_unused]] const ssize_t size = write(STDERR_FILENO, part, strlen(part));
  }
}

[[noreturn]] void Execute(const Plan& plan) {
  setsid();  // Ctrl-C goes to the emulator, which then ends the nodes in order
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGPIPE, SIG_DFL);
  execvpe(plan.argv[0], plan.argv.data(), plan.environment.data());
  Say("cannot run ", plan.argv[0]);
  _exit(kExitCannotExecute);
}

// Lets `ps` and /proc show the node's own processes; where it is not allowed they show the host's.
void MountProc() {
  if (unshare(CLONE_NEWNS) != 0) return;
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return;
  mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr);
}

// Reaps what ends. Ends this process, and with it the namespace, when `command` has.
void CollectEnds(pid_t command) {
  int status = 0;
  for (pid_t ended = waitpid(-1, &status, WNOHANG); ended > 0;
       ended = waitpid(-1, &status, WNOHANG)) {
    if (ended != command) continue;
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
  }
}

void ForwardSignals() {
  unsigned char signals[16];
  const ssize_t size = read(kCommandsFd, signals, sizeof(signals));
  if (size <= 0) _exit(kExitCannotExecute);  // the emulator is gone
  for (ssize_t i = 0; i < size; ++i) kill(-1, signals[i]);
}

// The first process of the node.
[[noreturn]] void RunNode(const Plan& plan) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  prctl(PR_SET_NAME, "linkemu-node");
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGCHLD);
  sigprocmask(SIG_SETMASK, &ends, nullptr);
  dup2(plan.output, STDOUT_FILENO);
  dup2(plan.error, STDERR_FILENO);
  if (setns(plan.network_namespace, CLONE_NEWNET) != 0) {
    Say("cannot enter the network namespace", "");
    _exit(kExitCannotExecute);
  }
  const int null = open("/dev/null", O_RDONLY);
  dup2(null, STDIN_FILENO);
  dup2(plan.commands, kCommandsFd);
  syscall(SYS_close_range, kCommandsFd + 1, ~0u, 0);
  fcntl(kCommandsFd, F_SETFD, FD_CLOEXEC);
  MountProc();
  const int ended = signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
  const pid_t command = Fork(0);
  if (command == 0) Execute(plan);
  if (command < 0 || ended < 0) {
    Say("cannot start a process", "");
    _exit(kExitCannotExecute);
  }
  // The pipes end when the last process that writes to them does.
  dup2(null >= 0 ? STDIN_FILENO : kCommandsFd, STDOUT_FILENO);
  dup2(STDOUT_FILENO, STDERR_FILENO);
  for (;;) {
    pollfd fds[2] = {{kCommandsFd, POLLIN, 0}, {ended, POLLIN, 0}};
    if (poll(fds, 2, -1) < 0) continue;
    if (fds[1].revents != 0) {
      signalfd_siginfo info;
      while (read(ended, &info, sizeof(info)) > 0) continue;
      CollectEnds(command);
    }
    if (fds[0].revents != 0) ForwardSignals();
  }
}

}  // namespace

absl::StatusOr<NodeProcess> NodeProcess::Start(const Settings& settings) {
  PERIGEE_CHECK(!settings.argv.empty());
  PERIGEE_ASSIGN_OR_RETURN(Pipe commands, MakePipe());
  PERIGEE_ASSIGN_OR_RETURN(Pipe output, MakePipe());
  PERIGEE_ASSIGN_OR_RETURN(Pipe error, MakePipe());
  const std::vector<std::string> environment = Environment(settings.environment);
  const Plan plan{.argv = Pointers(settings.argv),
                  .environment = Pointers(environment),
                  .network_namespace = settings.network_namespace,
                  .commands = commands.read.get(),
                  .output = output.write.get(),
                  .error = error.write.get()};
  const pid_t pid = Fork(CLONE_NEWPID);
  if (pid == 0) RunNode(plan);
  if (pid < 0) return absl::ErrnoToStatus(errno, "cannot start a process in its own namespace");
  NodeProcess node;
  node.pid_ = Pid(pid);
  node.exit_ = FileDescriptor(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  node.commands_ = std::move(commands.write);
  node.output_ = std::move(output.read);
  node.error_ = std::move(error.read);
  for (const FileDescriptor* pipe : {&node.output_, &node.error_}) {
    fcntl(pipe->get(), F_SETFL, O_NONBLOCK);
  }
  if (!node.exit_.valid()) return absl::ErrnoToStatus(errno, "pidfd_open");
  return node;
}

NodeProcess::~NodeProcess() {
  if (pid_.value < 0 || Poll()) return;
  Kill();
  waitpid(pid_.value, nullptr, 0);
}

void NodeProcess::Signal(int signal) {
  const auto byte = static_cast<unsigned char>(signal);
  [[maybe_unused]] const ssize_t size = write(commands_.get(), &byte, 1);
}

void NodeProcess::Kill() {
  if (pid_.value > 0 && !exit_code_) kill(pid_.value, SIGKILL);
}

std::optional<int> NodeProcess::Poll() {
  int status = 0;
  if (!exit_code_ && waitpid(pid_.value, &status, WNOHANG) == pid_.value) {
    exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  return exit_code_;
}

}  // namespace perigee::linkemu
