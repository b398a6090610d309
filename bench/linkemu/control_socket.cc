#include "bench/linkemu/control_socket.h"

#include <dirent.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "transport/base/status.h"

namespace perigee::linkemu {
namespace {

constexpr absl::string_view kSuffix = ".sock";

absl::StatusOr<sockaddr_un> Address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(
        absl::StrCat("control socket: the path ", path, " is too long for a socket"));
  }
  std::memcpy(address.sun_path, path.c_str(), path.size());
  return address;
}

absl::StatusOr<FileDescriptor> Connect(const std::string& path) {
  PERIGEE_ASSIGN_OR_RETURN(const sockaddr_un address, Address(path));
  FileDescriptor fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return absl::NotFoundError(
        absl::StrCat("no emulator answers at ", path, ": ", std::strerror(errno)));
  }
  return fd;
}

// Does the process live that gave the socket its name? It may not listen yet.
bool IsRunning(absl::string_view name) {
  pid_t pid = 0;
  return absl::SimpleAtoi(absl::StripSuffix(name, kSuffix), &pid) && pid > 0 &&
         (kill(pid, 0) == 0 || errno == EPERM);
}

// The sockets in `folder` that answer; those of emulators that are gone are removed.
std::vector<std::string> Running(const std::string& folder_path) {
  std::vector<std::string> paths;
  DIR* const folder = opendir(folder_path.c_str());
  if (folder == nullptr) return paths;
  while (const dirent* entry = readdir(folder)) {
    if (!absl::EndsWith(entry->d_name, kSuffix)) continue;
    const std::string path = absl::StrCat(folder_path, "/", entry->d_name);
    if (Connect(path).ok()) {
      paths.push_back(path);
    } else if (!IsRunning(entry->d_name)) {
      unlink(path.c_str());
    }
  }
  closedir(folder);
  return paths;
}

absl::StatusOr<std::string> FindPath(const std::string& path) {
  if (!path.empty()) return path;
  const char* const given = std::getenv("PERIGEE_LINKEMU");
  if (given != nullptr && *given != '\0') return std::string(given);
  const std::vector<std::string> running = Running(ControlServer::Folder());
  if (running.size() == 1) return running.front();
  return absl::NotFoundError(running.empty()
                                 ? "no emulator runs here; start one with perigee-linkemu run"
                                 : "more than one emulator runs; name one with --control PATH");
}

}  // namespace

std::string ControlServer::Folder() { return absl::StrCat("/tmp/perigee-linkemu-", getuid()); }

absl::StatusOr<ControlServer> ControlServer::Create(const std::string& folder) {
  struct stat status {};
  // A folder that another user made first is not ours to use.
  if ((mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) ||
      lstat(folder.c_str(), &status) != 0 || !S_ISDIR(status.st_mode) ||
      status.st_uid != getuid()) {
    return absl::PermissionDeniedError(
        absl::StrCat("control socket: ", folder, " cannot be used: remove it"));
  }
  Running(folder);
  ControlServer server;
  server.path_ = absl::StrCat(folder, "/", getpid(), kSuffix);
  unlink(server.path_.c_str());
  PERIGEE_ASSIGN_OR_RETURN(const sockaddr_un address, Address(server.path_));
  server.listener_ = FileDescriptor(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (bind(server.listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) !=
          0 ||
      listen(server.listener_.get(), static_cast<int>(kClientsMax)) != 0) {
    return absl::InternalError(
        absl::StrCat("control socket: ", server.path_, ": ", std::strerror(errno)));
  }
  return server;
}

ControlServer::~ControlServer() {
  if (!listener_.valid()) return;
  unlink(path_.c_str());
  rmdir(path_.substr(0, path_.rfind('/'))
            .c_str());  // stays while another emulator has its socket there
}

std::vector<int> ControlServer::fds() const {
  std::vector<int> fds = {listener_.get()};
  for (const Client& client : clients_) fds.push_back(client.fd.get());
  return fds;
}

void ControlServer::Serve(const std::function<std::string(absl::string_view line)>& answer) {
  while (clients_.size() < kClientsMax) {
    FileDescriptor fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!fd.valid()) break;
    const timeval patience{.tv_sec = 1, .tv_usec = 0};
    setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    clients_.push_back({std::move(fd), ""});
  }
  std::vector<Client> staying;
  for (Client& client : clients_) {
    if (ServeClient(&client, answer)) staying.push_back(std::move(client));
  }
  clients_ = std::move(staying);
}

bool ControlServer::ServeClient(Client* client,
                                const std::function<std::string(absl::string_view line)>& answer) {
  char buffer[1024];
  for (;;) {
    const ssize_t size = recv(client->fd.get(), buffer, sizeof(buffer), MSG_DONTWAIT);
    if (size < 0) return errno == EAGAIN || errno == EINTR;
    if (size == 0) return false;
    client->pending.append(buffer, static_cast<size_t>(size));
    for (size_t end = client->pending.find('\n'); end != std::string::npos;
         end = client->pending.find('\n')) {
      const std::string reply = answer(absl::string_view(client->pending).substr(0, end)) + "\n";
      client->pending.erase(0, end + 1);
      if (send(client->fd.get(), reply.data(), reply.size(), MSG_NOSIGNAL) < 0) return false;
    }
    if (client->pending.size() > kLineBytesMax) return false;
  }
}

absl::StatusOr<std::string> AskEmulator(const std::string& path, const std::string& line) {
  PERIGEE_ASSIGN_OR_RETURN(const std::string found, FindPath(path));
  PERIGEE_ASSIGN_OR_RETURN(const FileDescriptor fd, Connect(found));
  const std::string request = line + "\n";
  std::string reply;
  char buffer[4096];
  if (send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) >= 0) {
    while (!absl::StrContains(reply, '\n')) {
      const ssize_t size = recv(fd.get(), buffer, sizeof(buffer), 0);
      if (size <= 0) break;
      reply.append(buffer, static_cast<size_t>(size));
    }
  }
  if (!absl::EndsWith(reply, "\n")) {
    return absl::UnavailableError(absl::StrCat("the emulator at ", found, " ended"));
  }
  reply.pop_back();
  return reply;
}

}  // namespace perigee::linkemu
