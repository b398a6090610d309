// How a running emulator is reached: a Unix socket in a folder of its user, one line up, one line
// down ("ok", "error: ...", or a JSON object). Nodes reach it too: it is a file, and they find its
// path in PERIGEE_LINKEMU.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "bench/linkemu/file_descriptor.h"

namespace perigee::linkemu {

class ControlServer {
 public:
  static constexpr size_t kClientsMax = 64;
  static constexpr size_t kLineBytesMax = 4096;

  // Where this user's emulators have their sockets. Asked before PrepareNamespaces: afterwards this
  // process has another user id.
  static std::string Folder();
  // Also removes the sockets of emulators that are gone.
  static absl::StatusOr<ControlServer> Create(const std::string& folder);
  ControlServer(ControlServer&&) noexcept = default;
  ControlServer& operator=(ControlServer&&) noexcept = default;
  ~ControlServer();

  const std::string& path() const { return path_; }
  // To be polled for reading.
  std::vector<int> fds() const;
  // Takes new clients and answers whole lines with what `answer` says. Waits at most a second for
  // a client that does not read its answer.
  void Serve(const std::function<std::string(absl::string_view line)>& answer);

 private:
  struct Client {
    FileDescriptor fd;
    std::string pending;
  };
  ControlServer() = default;
  // False: the client is done with.
  static bool ServeClient(Client* client,
                          const std::function<std::string(absl::string_view line)>& answer);

  std::string path_;
  FileDescriptor listener_;
  std::vector<Client> clients_;
};

// Sends `line` to the emulator at `path`, or for an empty path to PERIGEE_LINKEMU, or else to the
// only one that runs, and returns its answer. NotFound when there is none or more than one.
absl::StatusOr<std::string> AskEmulator(const std::string& path, const std::string& line);

}  // namespace perigee::linkemu
