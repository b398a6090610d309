#include "bench/compare_launch.h"

#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

constexpr absl::Duration kStopDeadline = absl::Seconds(10);
constexpr absl::Duration kLook = absl::Milliseconds(200);
// Below what the system gives to others; two comparisons at a time are unlikely to meet.
constexpr uint32_t kLoopbackPort = 20000;
constexpr uint32_t kLoopbackPorts = 10000;
constexpr size_t kErrorLines = 3;
constexpr char kFolderPrefix[] = "perigee-compare-";  // and the process, and six letters

std::string Seconds(absl::Duration duration) {
  return absl::StrFormat("%.9gs", absl::ToDoubleSeconds(duration));
}

std::string Bits(double bytes_per_second) {
  return absl::StrFormat("%.0fbit", bytes_per_second * 8);
}

std::vector<std::string> MemberCommand(const LaunchSpec& spec, const std::string& folder) {
  std::vector<std::string> command = {spec.row.peer.program,
                                      "--rendezvous",
                                      folder,
                                      "--seed",
                                      absl::StrCat(spec.seed),
                                      "--rate",
                                      Bits(spec.bytes_per_second),
                                      "--delay",
                                      Seconds(spec.point.round_trip / 2)};
  if (spec.row.peer.has_congestion) {
    command.insert(command.end(), {"--congestion", spec.row.congestion});
  }
  command.insert(command.end(), spec.row.peer.flags.begin(), spec.row.peer.flags.end());
  command.insert(command.end(), spec.flags.begin(), spec.flags.end());
  return command;
}

std::string ReadAll(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// Words end with a zero byte, as in /proc.
bool HasWord(const std::string& text, const std::string& word) {
  return absl::StrContains(text, word + std::string(1, '\0'));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Launch>> Launch::Start(const LaunchSpec& spec) {
  std::string folder =
      std::filesystem::temp_directory_path() / absl::StrCat(kFolderPrefix, getpid(), "-XXXXXX");
  if (mkdtemp(folder.data()) == nullptr) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot make ", folder));
  }
  std::unique_ptr<Launch> launch(new Launch(std::move(folder)));
  PERIGEE_RETURN_IF_ERROR(spec.loopback ? launch->StartLoopback(spec)
                                        : launch->StartEmulator(spec));
  return launch;
}

Launch::~Launch() {
  Stop();
  std::error_code error;
  std::filesystem::remove_all(folder_, error);
}

absl::Status Launch::StartEmulator(const LaunchSpec& spec) {
  std::vector<std::string> command = {SiblingProgram("perigee-linkemu"),
                                      "run",
                                      "--nodes",
                                      absl::StrCat(spec.nodes),
                                      "--rate",
                                      Bits(spec.bytes_per_second),
                                      "--delay",
                                      Seconds(spec.point.round_trip / 2),
                                      "--loss",
                                      absl::StrFormat("%.9f", spec.point.loss),
                                      "--seed",
                                      absl::StrCat(spec.seed),
                                      "--no-prefix",
                                      "--json",
                                      folder_ + "/links.json"};
  if (!spec.row.congestion.empty()) {
    command.insert(command.end(), {"--congestion", spec.row.congestion});
  }
  // The emulator ends everything on the first failure: where failures are watched, it does not.
  if (spec.survives_members) command.push_back("--keep-going");
  command.push_back("--");
  const std::vector<std::string> member = MemberCommand(spec, folder_);
  command.insert(command.end(), member.begin(), member.end());
  PERIGEE_ASSIGN_OR_RETURN(ChildProcess process, ChildProcess::Start(command, folder_ + "/stderr"));
  processes_.push_back(std::move(process));
  return absl::OkStatus();
}

absl::Status Launch::StartLoopback(const LaunchSpec& spec) {
  const std::vector<std::string> addresses(spec.nodes, "127.0.0.1");
  const uint32_t port = kLoopbackPort + static_cast<uint32_t>(getpid()) * 64 % kLoopbackPorts;
  for (uint32_t rank = 0; rank < spec.nodes; ++rank) {
    std::vector<std::string> command = MemberCommand(spec, folder_);
    command.insert(command.end(), {"--rank", absl::StrCat(rank), "--addresses",
                                   absl::StrJoin(addresses, ","), "--port", absl::StrCat(port)});
    PERIGEE_ASSIGN_OR_RETURN(ChildProcess process,
                             ChildProcess::Start(command, folder_ + "/stderr"));
    processes_.push_back(std::move(process));
  }
  return absl::OkStatus();
}

bool Launch::Read(absl::Time deadline, const OnEvent& on_event) {
  std::vector<ChildProcess*> children;
  for (ChildProcess& process : processes_) children.push_back(&process);
  ReadLines(children, std::min(deadline, absl::Now() + kLook),
            [&](size_t, const std::string& line) {
              const nlohmann::json event =
                  nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
              if (event.is_object() && event.contains("event")) on_event(event);
              return true;
            });
  for (const ChildProcess& process : processes_) {
    if (process.fd() >= 0) return true;
  }
  return false;
}

nlohmann::json Launch::Stop() {
  for (const ChildProcess& process : processes_) process.Signal(SIGTERM);
  for (ChildProcess& process : processes_) process.Wait(kStopDeadline);
  processes_.clear();
  std::ifstream file(folder_ + "/links.json");
  if (!file) return nullptr;
  nlohmann::json links = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  return links.is_object() ? links : nlohmann::json(nullptr);
}

// Members are in process namespaces of their own, and know other numbers. A member's command line
// has this launch's folder, and its rank is a flag or in its environment; so has the shell around
// it.
pid_t Launch::MemberPid(uint32_t rank) const {
  const std::string flag = std::string("--rank\0", 7) + absl::StrCat(rank);
  const std::string variable = absl::StrCat("PERIGEE_RANK=", rank);
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    pid_t pid = 0;
    if (!absl::SimpleAtoi(entry.path().filename().string(), &pid)) continue;
    const std::string command = ReadAll(entry.path() / "cmdline");
    if (!absl::StrContains(command, folder_)) continue;
    if (HasWord(command, flag) || HasWord(ReadAll(entry.path() / "environ"), variable)) return pid;
  }
  return 0;
}

std::string Launch::ErrorTail() const {
  std::ifstream file(folder_ + "/stderr");
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    if (line.empty()) continue;
    lines.push_back(line);
    if (lines.size() > kErrorLines) lines.erase(lines.begin());
  }
  return absl::StrJoin(lines, " | ");
}

void HoldInterrupts() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  sigprocmask(SIG_BLOCK, &signals, nullptr);

  std::error_code error;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::filesystem::temp_directory_path(), error)) {
    const std::string name = entry.path().filename().string();
    absl::string_view rest = name;
    pid_t pid = 0;
    if (!absl::ConsumePrefix(&rest, kFolderPrefix) ||
        !absl::SimpleAtoi(rest.substr(0, rest.find('-')), &pid)) {
      continue;
    }
    if (kill(pid, 0) != 0 && errno == ESRCH) std::filesystem::remove_all(entry.path(), error);
  }
}

bool Interrupted() {
  sigset_t pending;
  sigpending(&pending);
  return sigismember(&pending, SIGINT) == 1 || sigismember(&pending, SIGTERM) == 1;
}

absl::Status CanEmulate() {
  const std::string emulator = SiblingProgram("perigee-linkemu");
  if (access(emulator.c_str(), X_OK) != 0) {
    return absl::UnavailableError(absl::StrCat(emulator, " is not there: build perigee-linkemu"));
  }
  const std::string folder = std::filesystem::temp_directory_path();
  const std::string errors = absl::StrCat(folder, "/perigee-compare-", getpid(), ".stderr");
  absl::StatusOr<ChildProcess> probe = ChildProcess::Start(
      {emulator, "run", "--nodes", "2", "--rate", "10Mbit", "--", "/bin/true"}, errors);
  if (!probe.ok()) return probe.status();
  const int code = probe->Wait(kStopDeadline);
  std::ifstream file(errors);
  std::string line;
  std::getline(file, line);
  std::filesystem::remove(errors);
  if (code == 0) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("links cannot be emulated here: ", line));
}

}  // namespace perigee
