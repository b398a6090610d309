// Certificates as files and as what they say: making, reading, and checking them.
#include "runtime/control/credentials.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "runtime/control/certificate.h"
#include "runtime/control/certificate_authority.h"

namespace perigee {
namespace {

namespace fs = std::filesystem;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);
constexpr absl::Duration kDay = absl::Hours(24);
const Lifetime kLifetime = {kNow - absl::Hours(1), kNow + 10 * kDay};

std::string NewFolder() {
  std::string folder = absl::StrCat(testing::TempDir(), "/perigee-credentials-XXXXXX");
  EXPECT_NE(mkdtemp(folder.data()), nullptr);
  return folder + "/certs";
}

std::string Slurp(const std::string& path) {
  std::ifstream file(path);
  return (std::stringstream() << file.rdbuf()).str();
}

std::string MakeFolder() {
  const std::string folder = NewFolder();
  EXPECT_TRUE(MakeCertificates(folder, kNow, 10 * kDay).ok());
  return folder;
}

void ExpectRefused(const std::string& folder, Role role, absl::Time now, const std::string& text) {
  const auto loaded = LoadCredentials(folder, role, now);
  ASSERT_FALSE(loaded.ok()) << text;
  EXPECT_EQ(loaded.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(loaded.status().message().find(text), std::string::npos) << loaded.status();
}

TEST(Credentials, AFolderHoldsWhatEveryRoleNeeds) {
  const std::string folder = MakeFolder();
  for (Role role : kRoles) {
    SCOPED_TRACE(Name(role));
    const auto mine = LoadCredentials(folder, role, kNow);
    ASSERT_TRUE(mine.ok()) << mine.status();
    const auto text = ReadCertificate(mine->certificate_pem);
    ASSERT_TRUE(text.ok()) << text.status();
    EXPECT_EQ(text->role, role);
    EXPECT_EQ(text->name, Name(role));
    EXPECT_EQ(text->ends, kNow + 10 * kDay);
    const bool joins = role == Role::kCoordinator || role == Role::kMember;
    EXPECT_EQ(mine->join_key.size(), joins ? 32u : 0u);
  }
}

TEST(Credentials, KeysAreForTheirOwnerOnly) {
  const std::string folder = MakeFolder();
  int keys = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    struct stat file {};
    ASSERT_EQ(stat(entry.path().c_str(), &file), 0);
    const bool secret = entry.path().extension() == ".key";
    EXPECT_EQ(file.st_mode & 0777, secret ? 0600u : 0644u) << entry.path();
    keys += secret;
  }
  EXPECT_EQ(keys, 6);
  const std::string key = folder + "/member.key";
  ASSERT_EQ(chmod(key.c_str(), 0640), 0);
  ExpectRefused(folder, Role::kMember, kNow, absl::StrCat("chmod 600 ", key));
  ASSERT_EQ(chmod(key.c_str(), 0600), 0);
  ASSERT_EQ(chmod((folder + "/join.key").c_str(), 0604), 0);
  ExpectRefused(folder, Role::kMember, kNow, "join.key is open to others");
  EXPECT_TRUE(LoadCredentials(folder, Role::kOperator, kNow).ok());  // does not need it
}

TEST(Credentials, NothingIsOverwritten) {
  const std::string folder = MakeFolder();
  const std::string before = Slurp(folder + "/ca.key");
  EXPECT_EQ(MakeCertificates(folder, kNow, kDay).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(Slurp(folder + "/ca.key"), before);
  // One file is enough, and then no other is made.
  const std::string other = NewFolder();
  fs::create_directory(other);
  std::ofstream(other + "/observer.pem") << "mine";
  EXPECT_EQ(MakeCertificates(other, kNow, kDay).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_FALSE(fs::exists(other + "/ca.pem"));
  EXPECT_EQ(Slurp(other + "/observer.pem"), "mine");
}

TEST(Credentials, AFolderThatCannotServeIsRefusedInOneLine) {
  const std::string folder = MakeFolder();
  ExpectRefused("/no/such/folder", Role::kMember, kNow, "/no/such/folder/ca.pem");
  ExpectRefused(folder, Role::kMember, kNow + 11 * kDay, "expired at 2027-01-25T");
  ExpectRefused(folder, Role::kMember, kNow - kDay, "is not valid before");
  const std::string other = MakeFolder();
  fs::copy_file(other + "/member.key", folder + "/member.key",
                fs::copy_options::overwrite_existing);
  ExpectRefused(folder, Role::kMember, kNow, "do not belong together");
  fs::copy_file(folder + "/operator.pem", folder + "/observer.pem",
                fs::copy_options::overwrite_existing);
  ExpectRefused(folder, Role::kObserver, kNow, "has the role operator, not observer");
  std::ofstream(folder + "/join.key") << "short";
  ExpectRefused(folder, Role::kCoordinator, kNow, "64 hexadecimal digits");
  std::ofstream(folder + "/operator.pem") << "nonsense";
  ExpectRefused(folder, Role::kOperator, kNow, "there is no certificate in it");
  std::ofstream(folder + "/ca.pem") << "nonsense";
  ExpectRefused(folder, Role::kCoordinator, kNow, "ca.pem: there is no certificate of a CA in it");
}

TEST(Credentials, OperatorsAreObserversWithoutTheirKey) {
  const std::string folder = MakeFolder();
  EXPECT_EQ(LoadOperatorCredentials(folder, kNow)->role, Role::kOperator);
  fs::remove(folder + "/operator.key");
  EXPECT_EQ(LoadOperatorCredentials(folder, kNow)->role, Role::kObserver);
}

TEST(Credentials, AProgramIsToldHowToConnectExactlyOnce) {
  const std::string folder = MakeFolder();
  const auto neither = ChooseCredentials("", false, Role::kMember, kNow);
  EXPECT_EQ(neither.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(neither.status().message().find("perigeectl cert init"), std::string::npos);
  EXPECT_EQ(ChooseCredentials(folder, true, Role::kMember, kNow).status().code(),
            absl::StatusCode::kInvalidArgument);
  const auto open = ChooseCredentials("", true, Role::kMember, kNow);
  ASSERT_TRUE(open.ok());
  EXPECT_FALSE(open->has_value());
  const auto member = ChooseCredentials(folder, false, Role::kMember, kNow);
  ASSERT_TRUE(member.ok()) << member.status();
  EXPECT_EQ((*member)->role, Role::kMember);
}

class CertificateCheckTest : public testing::Test {
 protected:
  // What is wrong with a certificate that `authority` made, as seen by a peer that trusts
  // `trusted`.
  std::optional<CertificateFault> Find(const CertificateAuthority& authority, Role role,
                                       const Lifetime& lifetime, const std::string& name = "x") {
    const auto made = authority.Issue(role, name, lifetime);
    EXPECT_TRUE(made.ok()) << made.status();
    const auto check = CertificateCheck::Create(mine_.own().certificate_pem);
    EXPECT_TRUE(check.ok()) << check.status();
    return check->Find(kNow, made->certificate_pem);
  }
  const CertificateAuthority mine_ = *CertificateAuthority::Create(kLifetime);
  const CertificateAuthority other_ = *CertificateAuthority::Create(kLifetime);
};

TEST_F(CertificateCheckTest, OnlyWhatTheOwnCaVouchesForIsLetIn) {
  for (Role role : {Role::kMember, Role::kOperator, Role::kObserver}) {
    EXPECT_FALSE(Find(mine_, role, kLifetime)) << Name(role);
    EXPECT_EQ(Find(other_, role, kLifetime)->refusal, Refusal::kForeignCertificate);
  }
  // A coordinator's is no client's.
  EXPECT_EQ(Find(mine_, Role::kCoordinator, kLifetime)->refusal, Refusal::kForeignCertificate);
  const auto check = CertificateCheck::Create(mine_.own().certificate_pem);
  EXPECT_EQ(check->Find(kNow, "")->refusal, Refusal::kNoCertificate);
  EXPECT_EQ(check->Find(kNow, "nonsense")->refusal, Refusal::kNoCertificate);
}

TEST_F(CertificateCheckTest, TimesCount) {
  const auto expired = Find(mine_, Role::kMember, {kNow - kDay, kNow - absl::Seconds(1)});
  ASSERT_TRUE(expired);
  EXPECT_EQ(expired->refusal, Refusal::kExpiredCertificate);
  EXPECT_EQ(expired->reason, "the certificate of 'x' expired at 2027-01-15T07:59:59Z");
  const auto early = Find(mine_, Role::kMember, {kNow + kDay, kNow + 2 * kDay});
  ASSERT_TRUE(early);
  EXPECT_EQ(early->refusal, Refusal::kExpiredCertificate);
  // Of another CA and expired: it is a stranger's in the first place, or at least not let in.
  EXPECT_TRUE(Find(other_, Role::kMember, {kNow - kDay, kNow - absl::Seconds(1)}));
}

TEST_F(CertificateCheckTest, AStrangersNameCannotWriteOnATerminal) {
  const auto fault = Find(other_, Role::kMember, kLifetime, "\u00e4\033[2Jb");
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->reason.find('\033'), std::string::npos);
  EXPECT_NE(fault->reason.find("'\\xc3\\xa4\\x1b[2Jb'"), std::string::npos) << fault->reason;
}

}  // namespace
}  // namespace perigee
