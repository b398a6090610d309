#include "bench/linkemu/node_namespace.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "bench/linkemu/address_plan.h"
#include "bench/linkemu/packet.h"
#include "transport/base/status.h"

namespace perigee::linkemu {
namespace {

// UDP segmentation offload; in linux/if_tun.h since 6.2, so missing on Debian 12.
constexpr unsigned kTunUso4 = 0x20;
constexpr unsigned kTunUso6 = 0x40;
// Frames that wait for the emulator inside the device: 64 KiB each at the most.
constexpr uint32_t kDeviceQueueFrames = 4096;

absl::Status SystemError(const std::string& what, const std::string& advice = "") {
  const int code = errno;
  const std::string text =
      absl::StrCat(what, ": ", std::strerror(code), advice.empty() ? "" : "; ", advice);
  if (code == EPERM || code == EACCES) return absl::PermissionDeniedError(text);
  if (code == ENOENT || code == ENODEV) return absl::NotFoundError(text);
  return absl::InternalError(text);
}

absl::Status WriteFile(const std::string& path, absl::string_view text) {
  const FileDescriptor file(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file.valid() || write(file.get(), text.data(), text.size()) < 0) return SystemError(path);
  return absl::OkStatus();
}

absl::Status OnOwnThread(const std::function<absl::Status()>& action) {
  absl::Status status;
  std::thread thread([&] { status = action(); });
  thread.join();
  return status;
}

absl::StatusOr<FileDescriptor> OpenTun() {
  FileDescriptor tun(open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!tun.valid()) {
    return SystemError("cannot open /dev/net/tun",
                       "run as root, or load the tun module and make the file writable");
  }
  ifreq request{};
  std::strncpy(request.ifr_name, kDeviceName, IFNAMSIZ - 1);
  request.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
  if (ioctl(tun.get(), TUNSETIFF, &request) != 0) {
    return SystemError("cannot create a TUN device", "run as root");
  }
  const unsigned tcp = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
  // Kernels before 6.2 have no UDP offload: datagrams then come one by one.
  if (ioctl(tun.get(), TUNSETOFFLOAD, tcp | kTunUso4 | kTunUso6) != 0 &&
      ioctl(tun.get(), TUNSETOFFLOAD, tcp) != 0) {
    return SystemError("cannot set the offloads of a TUN device");
  }
  return tun;
}

class Interface {
 public:
  explicit Interface(const char* name)
      : ip4_(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)),
        ip6_(socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0)),
        name_(name) {}

  absl::Status SetMtu(int mtu) {
    ifreq request = Request();
    request.ifr_mtu = mtu;
    return Ioctl(SIOCSIFMTU, &request, "MTU");
  }
  // Over netlink: the ioctl is for the host's root only.
  absl::Status SetQueue(uint32_t frames) {
    struct {
      nlmsghdr header;
      ifinfomsg link;
      rtattr attribute;
      uint32_t frames;
    } request{};
    request.header.nlmsg_len = sizeof(request);
    request.header.nlmsg_type = RTM_NEWLINK;
    request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    request.link.ifi_index = static_cast<int>(if_nametoindex(name_));
    request.attribute = {.rta_len = RTA_LENGTH(sizeof(frames)), .rta_type = IFLA_TXQLEN};
    request.frames = frames;
    const FileDescriptor netlink(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    struct {
      nlmsghdr header;
      nlmsgerr error;
    } reply{};
    if (send(netlink.get(), &request, sizeof(request), 0) < 0 ||
        recv(netlink.get(), &reply, sizeof(reply), MSG_TRUNC) < 0) {
      return SystemError("cannot talk to netlink");
    }
    errno = -reply.error.error;
    if (errno == 0) return absl::OkStatus();
    return SystemError(absl::StrCat("cannot set the queue length of ", name_));
  }
  absl::Status SetIp4(const std::array<uint8_t, 4>& address) {
    ifreq request = Request();
    auto* const value = reinterpret_cast<sockaddr_in*>(&request.ifr_addr);
    value->sin_family = AF_INET;
    std::memcpy(&value->sin_addr, address.data(), address.size());
    PERIGEE_RETURN_IF_ERROR(Ioctl(SIOCSIFADDR, &request, "address"));
    value->sin_addr.s_addr = htonl(~uint32_t{0} << (32 - kIp4PrefixBits));
    return Ioctl(SIOCSIFNETMASK, &request, "netmask");
  }
  absl::Status Up() {
    ifreq request = Request();
    PERIGEE_RETURN_IF_ERROR(Ioctl(SIOCGIFFLAGS, &request, "flags"));
    request.ifr_flags |= IFF_UP | IFF_RUNNING;
    return Ioctl(SIOCSIFFLAGS, &request, "flags");
  }
  // Many systems run without IPv6: no error there.
  void SetIp6IfThere(const std::array<uint8_t, 16>& address) {
    struct {  // struct in6_ifreq; its header collides with the C library's
      uint8_t address[16];
      uint32_t prefix_bits;
      int32_t index;
    } request{};
    std::memcpy(request.address, address.data(), address.size());
    request.prefix_bits = kIp6PrefixBits;
    request.index = static_cast<int32_t>(if_nametoindex(name_));
    if (ip6_.valid()) ioctl(ip6_.get(), SIOCSIFADDR, &request);
  }

 private:
  ifreq Request() const {
    ifreq request{};
    std::strncpy(request.ifr_name, name_, IFNAMSIZ - 1);
    return request;
  }
  absl::Status Ioctl(unsigned long code, ifreq* request, const char* what) {
    if (ioctl(ip4_.get(), code, request) == 0) return absl::OkStatus();
    return SystemError(absl::StrCat("cannot set the ", what, " of ", name_));
  }

  FileDescriptor ip4_;
  FileDescriptor ip6_;
  const char* name_;
};

// What can be set is set; buffers that cannot grow only make TCP slower.
absl::Status SetTcp(const NodeNetworkSettings& settings) {
  const std::string folder = "/proc/sys/net/ipv4/";
  const std::string buffers = absl::StrCat("4096 131072 ", settings.socket_buffer_bytes_max);
  WriteFile(folder + "tcp_rmem", buffers).IgnoreError();
  WriteFile(folder + "tcp_wmem", buffers).IgnoreError();
  // What one connection learnt must not help the next one: runs are compared.
  WriteFile(folder + "tcp_no_metrics_save", "1").IgnoreError();
  if (settings.congestion.empty()) return absl::OkStatus();
  if (WriteFile(folder + "tcp_congestion_control", settings.congestion).ok()) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("--congestion: this kernel does not offer '", settings.congestion,
                   "'; see /proc/sys/net/ipv4/tcp_available_congestion_control"));
}

absl::Status SetUp(int index, const NodeNetworkSettings& settings) {
  // Nothing speaks IPv6 by itself: packet numbers, and so losses, belong to the programs.
  WriteFile("/proc/sys/net/ipv6/conf/all/router_solicitations", "0").IgnoreError();
  WriteFile("/proc/sys/net/ipv6/conf/default/router_solicitations", "0").IgnoreError();
  WriteFile(absl::StrCat("/proc/sys/net/ipv6/conf/", kDeviceName, "/accept_dad"), "0")
      .IgnoreError();
  PERIGEE_RETURN_IF_ERROR(Interface("lo").Up());
  Interface device(kDeviceName);
  PERIGEE_RETURN_IF_ERROR(device.SetMtu(static_cast<int>(kMtuBytes)));
  PERIGEE_RETURN_IF_ERROR(device.SetQueue(kDeviceQueueFrames));
  PERIGEE_RETURN_IF_ERROR(device.SetIp4(NodeIp4(index)));
  PERIGEE_RETURN_IF_ERROR(device.Up());
  device.SetIp6IfThere(NodeIp6(index));
  return SetTcp(settings);
}

}  // namespace

absl::Status PrepareNamespaces() {
  const bool allowed =
      OnOwnThread([] {
        return unshare(CLONE_NEWNET) == 0 ? absl::OkStatus() : absl::PermissionDeniedError("");
      }).ok();
  if (allowed) return absl::OkStatus();
  const uid_t user = getuid();
  const gid_t group = getgid();
  if (unshare(CLONE_NEWUSER) != 0) {
    return SystemError("cannot create network namespaces",
                       "run as root, or allow user namespaces to ordinary users");
  }
  WriteFile("/proc/self/setgroups", "deny").IgnoreError();
  PERIGEE_RETURN_IF_ERROR(WriteFile("/proc/self/uid_map", absl::StrCat("0 ", user, " 1")));
  return WriteFile("/proc/self/gid_map", absl::StrCat("0 ", group, " 1"));
}

absl::StatusOr<NodeNamespace> CreateNode(int index, const NodeNetworkSettings& settings) {
  NodeNamespace node;
  // A thread has a namespace of its own to make, and takes it away with it; the rest of the process
  // stays where it is, which an ordinary user could not return to.
  const absl::Status status = OnOwnThread([&]() -> absl::Status {
    if (unshare(CLONE_NEWNET) != 0) {
      return SystemError("cannot create a network namespace",
                         "see user.max_net_namespaces and free memory");
    }
    node.ns = FileDescriptor(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    if (!node.ns.valid()) return SystemError("cannot open /proc/thread-self/ns/net");
    PERIGEE_ASSIGN_OR_RETURN(node.tun, OpenTun());
    return SetUp(index, settings);
  });
  if (!status.ok()) return status;
  return node;
}

absl::Status RunIn(const NodeNamespace& node, const std::function<absl::Status()>& action) {
  return OnOwnThread([&]() -> absl::Status {
    if (setns(node.ns.get(), CLONE_NEWNET) != 0) return SystemError("cannot enter a namespace");
    return action();
  });
}

absl::StatusOr<uint64_t> DeviceDrops(const NodeNamespace& node) {
  uint64_t drops = 0;
  PERIGEE_RETURN_IF_ERROR(RunIn(node, [&]() -> absl::Status {
    std::ifstream file("/proc/thread-self/net/dev");
    std::string line;
    while (std::getline(file, line)) {
      // "  link0: " and 8 numbers received, 8 sent; the 4th of each counts drops (proc(5)).
      const std::vector<std::string> words =
          absl::StrSplit(line, absl::ByAnyChar(" :"), absl::SkipEmpty());
      if (words.size() < 13 || words[0] != kDeviceName) continue;
      if (absl::SimpleAtoi(words[12], &drops)) return absl::OkStatus();
    }
    return absl::NotFoundError(absl::StrCat(kDeviceName, " is not in /proc/thread-self/net/dev"));
  }));
  return drops;
}

}  // namespace perigee::linkemu
