#include "runtime/control/tls.h"

#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_certificate_verifier.h>
#include <grpcpp/security/tls_credentials_options.h>

#include <functional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "runtime/control/certificate.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

using grpc::experimental::ExternalCertificateVerifier;
using grpc::experimental::TlsCustomVerificationCheckRequest;

absl::string_view View(const grpc::string_ref& text) { return {text.data(), text.size()}; }

class PeerVerifier final : public ExternalCertificateVerifier {
 public:
  PeerVerifier(CertificateCheck check, std::shared_ptr<Refusals> refusals)
      : check_(std::move(check)), refusals_(std::move(refusals)) {}

  // True: the answer is in `status` already.
  bool Verify(TlsCustomVerificationCheckRequest* request, std::function<void(grpc::Status)>,
              grpc::Status* status) override {
    const absl::Time now = absl::Now();
    const auto fault = check_.Find(now, View(request->peer_cert()));
    if (fault) {
      refusals_->Add(now, fault->refusal, fault->reason);
      *status = grpc::Status(grpc::StatusCode::UNAUTHENTICATED, fault->reason);
    }
    return true;
  }
  void Cancel(TlsCustomVerificationCheckRequest*) override {}

 private:
  const CertificateCheck check_;
  const std::shared_ptr<Refusals> refusals_;
};

// "ipv4:10.0.0.5:41000", "ipv6:%5B::1%5D:41000"
std::string HostOf(absl::string_view peer) {
  const size_t scheme = peer.find(':');
  const size_t port = peer.rfind(':');
  if (scheme == absl::string_view::npos || port <= scheme) return std::string(peer);
  return absl::StrReplaceAll(peer.substr(scheme + 1, port - scheme - 1),
                             {{"%5B", "["}, {"%5D", "]"}});
}

}  // namespace

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address,
                                           const std::optional<Credentials>& mine,
                                           grpc::ChannelArguments arguments) {
  if (!mine) {
    return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  }
  arguments.SetSslTargetNameOverride(RoleName(Role::kCoordinator));
  return grpc::CreateCustomChannel(address,
                                   grpc::SslCredentials({.pem_root_certs = mine->ca_pem,
                                                         .pem_private_key = mine->key_pem,
                                                         .pem_cert_chain = mine->certificate_pem}),
                                   arguments);
}

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(
    const std::optional<Credentials>& mine, std::shared_ptr<Refusals> refusals) {
  if (!mine) return grpc::InsecureServerCredentials();
  PERIGEE_ASSIGN_OR_RETURN(CertificateCheck check, CertificateCheck::Create(mine->ca_pem));
  const std::vector<grpc::experimental::IdentityKeyCertPair> own = {
      {.private_key = mine->key_pem, .certificate_chain = mine->certificate_pem}};
  grpc::experimental::TlsServerCredentialsOptions options(
      std::make_shared<grpc::experimental::StaticDataCertificateProvider>(mine->ca_pem, own));
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  // TLS itself only makes sure that the peer has the key of the certificate that it shows.
  options.set_cert_request_type(GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_BUT_DONT_VERIFY);
  options.set_certificate_verifier(
      ExternalCertificateVerifier::Create<PeerVerifier>(std::move(check), std::move(refusals)));
  options.set_check_call_host(false);
  return grpc::experimental::TlsServerCredentials(options);
}

Peer PeerOf(const grpc::ServerContextBase& context) {
  Peer peer{.host = HostOf(context.peer())};
  const std::vector<grpc::string_ref> shown =
      context.auth_context()->FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
  if (shown.empty()) return peer;
  if (const auto text = ReadCertificate(View(shown.front())); text.ok()) {
    peer.name = text->name;
    peer.role = text->role;
  }
  return peer;
}

std::string ToString(const Peer& peer) {
  if (peer.name.empty() && !peer.role) return absl::StrCat("somebody at ", peer.host);
  return absl::StrCat(peer.role ? Name(*peer.role) : "peer without a role", " '", peer.name,
                      "' at ", peer.host);
}

grpc::Status ToGrpc(const absl::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

}  // namespace perigee
