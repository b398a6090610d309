#include "transport/udp/udp_socket.h"

#include <poll.h>

#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace perigee {
namespace {

using ::testing::HasSubstr;

// Far above what loopback needs; only a broken socket waits this long.
constexpr int kPollMilliseconds = 10'000;

std::unique_ptr<UdpSocket> MustCreate(absl::string_view address) {
  auto socket = UdpSocket::Create(address);
  EXPECT_TRUE(socket.ok()) << socket.status();
  return *std::move(socket);
}

absl::Span<const uint8_t> Bytes(absl::string_view text) {
  return absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

// Waits for data, then takes one batch.
std::vector<std::string> ReceiveBatch(UdpSocket& socket, SocketAddress* last_from = nullptr) {
  pollfd waiting = {.fd = socket.fd(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(poll(&waiting, 1, kPollMilliseconds), 1) << "nothing arrived";
  std::vector<std::string> received;
  const auto count =
      socket.Receive([&](const SocketAddress& from, absl::Span<const uint8_t> bytes) {
        received.emplace_back(bytes.begin(), bytes.end());
        if (last_from != nullptr) *last_from = from;
      });
  EXPECT_TRUE(count.ok()) << count.status();
  return received;
}

TEST(UdpSocketTest, ExampleOfTwoSockets) {
  const auto ground = MustCreate("127.0.0.1:0");
  const auto satellite = MustCreate("127.0.0.1:0");
  const auto peer = ground->Resolve(satellite->local_address().ToString());
  ASSERT_TRUE(peer.ok()) << peer.status();

  const OutgoingDatagram out[] = {{*peer, Bytes("hello")}, {*peer, Bytes("")}};
  const auto sent = ground->Send(out);
  ASSERT_TRUE(sent.ok()) << sent.status();
  EXPECT_EQ(*sent, 2);

  SocketAddress from;
  std::vector<std::string> received;
  while (received.size() < 2) {
    for (std::string& text : ReceiveBatch(*satellite, &from)) received.push_back(std::move(text));
  }
  EXPECT_THAT(received, ::testing::ElementsAre("hello", ""));
  EXPECT_EQ(from, ground->local_address());
  EXPECT_EQ(*satellite->Receive([](const SocketAddress&, absl::Span<const uint8_t>) {}), 0);
}

TEST(UdpSocketTest, TenThousandDatagramsInBatches) {
  constexpr int kCount = 10'000;
  const auto sender = MustCreate("127.0.0.1:0");
  const auto receiver = MustCreate("127.0.0.1:0");
  std::vector<std::string> payloads;
  for (int i = 0; i < kCount; ++i) payloads.push_back(absl::StrCat(i, std::string(i % 1400, 'x')));

  int received = 0;
  for (int begin = 0; begin < kCount;) {
    std::vector<OutgoingDatagram> batch;
    // More than kBatchMax on purpose: Send splits.
    for (int i = begin; i < std::min(begin + 100, kCount); ++i) {
      batch.push_back({receiver->local_address(), Bytes(payloads[i])});
    }
    const auto sent = sender->Send(batch);
    ASSERT_TRUE(sent.ok()) << sent.status();
    begin += static_cast<int>(*sent);
    while (received < begin) {
      const auto texts = ReceiveBatch(*receiver);
      ASSERT_FALSE(texts.empty());
      ASSERT_LE(texts.size(), UdpSocket::kBatchMax);
      for (const std::string& text : texts) ASSERT_EQ(text, payloads[received++]);
    }
  }
  EXPECT_EQ(sender->counters().datagrams_sent, kCount);
  EXPECT_EQ(receiver->counters().datagrams_received, kCount);
}

TEST(UdpSocketTest, IPv6AlsoReachesIPv4) {
  auto six = UdpSocket::Create("[::]:0");
  if (!six.ok()) GTEST_SKIP() << "no IPv6 here: " << six.status();
  const auto four = MustCreate("127.0.0.1:0");
  const auto peer = (*six)->Resolve(four->local_address().ToString());
  ASSERT_TRUE(peer.ok()) << peer.status();
  EXPECT_EQ(peer->family(), AF_INET6);
  const OutgoingDatagram out[] = {{*peer, Bytes("mapped")}};
  ASSERT_EQ(*(*six)->Send(out), 1);
  EXPECT_THAT(ReceiveBatch(*four), ::testing::ElementsAre("mapped"));

  // An IPv4 socket cannot send to an IPv6 address, and says so.
  const auto foreign = SocketAddress::Resolve("[::1]:7000");
  const OutgoingDatagram wrong[] = {{*foreign, Bytes("x")}};
  const auto status = four->Send(wrong).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("[::1]:7000"));
}

TEST(UdpSocketTest, PortInUseSaysWhatToDo) {
  const auto first = MustCreate("127.0.0.1:0");
  const std::string address = first->local_address().ToString();
  const auto second = UdpSocket::Create(address);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(second.status().message(),
            absl::StrCat("address ", address, " is in use: choose another port with --listen"));
}

TEST(UdpSocketTest, ForeignAndMalformedAddressesAreRefused) {
  const auto foreign = UdpSocket::Create("192.0.2.1:0");  // TEST-NET-1, RFC 5737
  EXPECT_EQ(foreign.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(foreign.status().message()), HasSubstr("192.0.2.1:0"));
  for (const char* text : {"", ":7000", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000",
                           "127.0.0.1:-1", "::1:7000", "[]:7000"}) {
    const auto refused = UdpSocket::Create(text);
    EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(refused.status().message()), HasSubstr("HOST:PORT")) << text;
  }
}

TEST(UdpSocketTest, OversizedDatagramsAreCountedNotCut) {
  const auto sender = MustCreate("127.0.0.1:0");
  const auto receiver = MustCreate("127.0.0.1:0");
  const std::string largest(UdpSocket::kDatagramBytesMax, 'a');
  const std::string oversized(UdpSocket::kDatagramBytesMax + 1, 'b');
  const SocketAddress& to = receiver->local_address();
  const OutgoingDatagram out[] = {{to, Bytes(oversized)}, {to, Bytes(largest)}};
  ASSERT_EQ(*sender->Send(out), 2);
  std::vector<std::string> received;
  while (received.empty()) received = ReceiveBatch(*receiver);
  EXPECT_THAT(received, ::testing::ElementsAre(largest));
  EXPECT_EQ(receiver->counters().oversized_received, 1);
  EXPECT_EQ(receiver->counters().datagrams_received, 1);
}

TEST(UdpSocketTest, WhatUdpCannotCarryIsAnError) {
  const auto sender = MustCreate("127.0.0.1:0");
  const std::string huge(70'000, 'x');
  const OutgoingDatagram out[] = {{sender->local_address(), Bytes(huge)}};
  const auto status = sender->Send(out).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("70000"));
}

TEST(UdpSocketTest, ADeadPeerIsNoError) {
  const auto sender = MustCreate("127.0.0.1:0");
  SocketAddress dead;
  {
    const auto gone = MustCreate("127.0.0.1:0");
    dead = gone->local_address();
  }
  const auto alive = MustCreate("127.0.0.1:0");
  for (int i = 0; i < 100; ++i) {
    const OutgoingDatagram out[] = {{dead, Bytes("x")}, {alive->local_address(), Bytes("y")}};
    const auto sent = sender->Send(out);
    ASSERT_TRUE(sent.ok()) << sent.status();
    ASSERT_EQ(*sent, 2);
    const auto back = sender->Receive([](const SocketAddress&, absl::Span<const uint8_t>) {});
    ASSERT_TRUE(back.ok()) << back.status();
  }
  EXPECT_FALSE(ReceiveBatch(*alive).empty());
}

TEST(UdpSocketTest, AFullBufferOrNoRouteNeverBlocksNorFails) {
  const auto sender = MustCreate("127.0.0.1:0");
  const auto receiver = MustCreate("127.0.0.1:0");
  const std::string payload(9000, 'x');
  // Ten times the buffer, nobody reads: the kernel drops at the receiver or says "full" to the
  // sender.
  const std::vector<OutgoingDatagram> batch(5000, {receiver->local_address(), Bytes(payload)});
  const auto sent = sender->Send(batch);
  ASSERT_TRUE(sent.ok()) << sent.status();
  EXPECT_GT(*sent, 0);
  EXPECT_GT(receiver->receive_buffer_bytes(), 0);
}

}  // namespace
}  // namespace perigee
