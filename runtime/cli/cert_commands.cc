#include "runtime/cli/cert_commands.h"

#include <cstdio>
#include <fstream>
#include <optional>
#include <sstream>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "runtime/cli/table.h"
#include "runtime/cli/when.h"
#include "runtime/control/certificate.h"
#include "runtime/control/certificate_authority.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

constexpr uint32_t kDaysMax = 36500;

Cell TimeCell(absl::Time time, absl::Time now) {
  return Cell(FormatWhen(time, now), FormatUtcMillis(time));
}

// Nothing when there is no such file: a folder need not hold every role.
absl::StatusOr<std::optional<CertificateText>> ReadFile(const std::string& path) {
  std::ifstream file(path);
  if (!file) return std::nullopt;
  std::stringstream text;
  text << file.rdbuf();
  absl::StatusOr<CertificateText> read = ReadCertificate(text.str());
  if (read.ok()) return *std::move(read);
  return absl::InvalidArgumentError(absl::StrCat(path, ": ", read.status().message()));
}

}  // namespace

CertCommands::CertCommands(Program& program, const std::string& output) : output_(output) {
  CLI::App& cert =
      program.AddCommand("cert", "A job's certificates.",
                         "perigeectl cert init --out certs\nperigeectl cert show --in certs",
                         [this] { return init_->parsed() ? Init() : Show(); });
  cert.require_subcommand(1);
  init_ = cert.add_subcommand("init", "Makes a new CA, and a certificate and key for every role.");
  init_->add_option("--out", folder_, "the folder to fill")->required()->type_name("DIR");
  init_->add_option("--days", days_, "how long the certificates are valid")
      ->check(CLI::Range(uint32_t{1}, kDaysMax).description(""))
      ->capture_default_str();
  CLI::App* show = cert.add_subcommand("show", "Who the certificates are for, and until when.");
  show->add_option("--in", folder_, "the folder to look into")->required()->type_name("DIR");
}

absl::Status CertCommands::Init() const {
  PERIGEE_RETURN_IF_ERROR(
      MakeCertificates(folder_, absl::Now(), absl::Hours(24) * static_cast<int64_t>(days_)));
  std::printf(
      "%s holds a new CA and the certificates of all roles for %u days.\n"
      "Give each machine ca.pem and the files of its role, coordinator and members also "
      "join.key; keep ca.key offline.\n",
      folder_.c_str(), days_);
  return absl::OkStatus();
}

absl::Status CertCommands::Show() const {
  Table table({{"file"}, {"name"}, {"role"}, {"begins"}, {"ends"}});
  const absl::Time now = absl::Now();
  std::vector<std::string> stems = {"ca"};
  for (Role role : kRoles) stems.push_back(Name(role));
  for (const std::string& stem : stems) {
    const std::string file = absl::StrCat(stem, ".pem");
    PERIGEE_ASSIGN_OR_RETURN(const std::optional<CertificateText> text,
                             ReadFile(absl::StrCat(folder_, "/", file)));
    if (!text) continue;
    table.Add({Cell(file), Cell(text->name),
               text->role ? Cell(std::string(Name(*text->role))) : Cell(),
               TimeCell(text->begins, now), TimeCell(text->ends, now)});
  }
  if (table.empty()) {
    return absl::NotFoundError(absl::StrCat("there are no certificates in ", folder_,
                                            ": `perigeectl cert init --out DIR` makes some"));
  }
  std::fputs(output_ == "json" ? absl::StrCat(table.ToJson().dump(2), "\n").c_str()
                               : table.ToText(/*wide=*/false).c_str(),
             stdout);
  return absl::OkStatus();
}

}  // namespace perigee
