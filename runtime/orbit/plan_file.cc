#include "runtime/orbit/plan_file.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/constellation.pb.h"
#include "runtime/orbit/plan_reader.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

using ::google::protobuf::TextFormat;

// Keeps the first error of the parser; the later ones mostly follow from it.
class FirstError : public google::protobuf::io::ErrorCollector {
 public:
#if GOOGLE_PROTOBUF_VERSION >= 4022000
  void RecordError(int line, int, absl::string_view message) override { Keep(line, message); }
#else
  void AddError(int line, int, const std::string& message) override { Keep(line, message); }
#endif
  int line() const { return line_; }  // from 0
  const std::string& message() const { return message_; }

 private:
  void Keep(int line, absl::string_view message) {
    if (!message_.empty()) return;
    line_ = line;
    message_ = std::string(message);
  }

  int line_ = 0;
  std::string message_;
};

void AppendPair(const std::vector<Contact>& all, size_t begin, size_t end, absl::Time epoch,
                proto::Constellation& out) {
  const Contact& first = all[begin];
  proto::PlanLink& link = *out.add_links();
  link.set_from(first.from.value());
  link.set_to(first.to.value());
  link.set_bits_per_second(first.link.bytes_per_second * 8);
  link.set_delay_ms(absl::ToDoubleMilliseconds(first.link.delay));
  const bool always = end - begin == 1 && first.opens == absl::InfinitePast() &&
                      first.closes == absl::InfiniteFuture();
  if (always) return;
  for (size_t i = begin; i < end; ++i) {
    const Contact& contact = all[i];
    proto::PlanContact& to = *out.add_contacts();
    to.set_from(contact.from.value());
    to.set_to(contact.to.value());
    if (contact.opens != absl::InfinitePast()) {
      to.set_opens_ms(absl::ToDoubleMilliseconds(contact.opens - epoch));
    }
    if (contact.closes != absl::InfiniteFuture()) {
      to.set_closes_ms(absl::ToDoubleMilliseconds(contact.closes - epoch));
    }
    if (contact.link.bytes_per_second != first.link.bytes_per_second) {
      to.set_bits_per_second(contact.link.bytes_per_second * 8);
    }
    if (contact.link.delay != first.link.delay) {
      to.set_delay_ms(absl::ToDoubleMilliseconds(contact.link.delay));
    }
  }
}

}  // namespace

absl::StatusOr<PlanFile> ParsePlanFile(absl::string_view text, absl::string_view name,
                                       absl::Time relative_to) {
  if (text.size() > kPlanFileBytesMax) {
    return absl::ResourceExhaustedError(absl::StrCat(name, ": ", text.size(), " bytes, at most ",
                                                     kPlanFileBytesMax, ": plan fewer hours"));
  }
  proto::Constellation parsed;
  FirstError error;
  TextFormat::ParseInfoTree lines;
  TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  parser.WriteLocationsTo(&lines);
  if (!parser.ParseFromString(std::string(text), &parsed)) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ":", error.line() + 1, ": ", error.message(),
                     " The fields are those of proto/constellation.proto."));
  }
  return ReadPlan(parsed, lines, name, relative_to);
}

absl::StatusOr<PlanFile> LoadPlanFile(const std::string& path, absl::Time relative_to) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return absl::NotFoundError(
        absl::StrCat(path, ": ", std::strerror(errno), ": give the path of a plan in text form"));
  }
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (file.bad()) return absl::DataLossError(absl::StrCat(path, ": reading failed: try again"));
  return ParsePlanFile(text, path, relative_to);
}

std::string FormatPlanFile(const PlanFile& file, absl::Time epoch) {
  const absl::Time whole = absl::FromUnixMillis(absl::ToUnixMillis(epoch));
  proto::Constellation out;
  out.set_epoch_unix_ms(absl::ToUnixMillis(whole));
  for (const PlanNode& node : file.nodes) {
    proto::PlanNode& to = *out.add_nodes();
    to.set_id(node.id.value());
    to.set_name(node.name);
    to.set_address(node.address);
  }
  const std::vector<Contact>& contacts = file.plan.contacts();
  for (size_t begin = 0; begin < contacts.size();) {
    size_t end = begin + 1;
    while (end < contacts.size() && contacts[end].from == contacts[begin].from &&
           contacts[end].to == contacts[begin].to) {
      ++end;
    }
    AppendPair(contacts, begin, end, whole, out);
    begin = end;
  }
  for (const DarkInterval& dark : file.plan.dark_intervals()) {
    proto::PlanDarkInterval& to = *out.add_dark();
    to.set_node(dark.node.value());
    to.set_begins_ms(absl::ToDoubleMilliseconds(dark.begins - whole));
    to.set_ends_ms(absl::ToDoubleMilliseconds(dark.ends - whole));
  }
  std::string text;
  TextFormat::PrintToString(out, &text);
  return absl::StrCat("# A contact plan (proto/constellation.proto).\n", text);
}

absl::StatusOr<ContactPlan> LoadContactPlan(const std::string& path, absl::Time relative_to) {
  PERIGEE_ASSIGN_OR_RETURN(PlanFile file, LoadPlanFile(path, relative_to));
  return std::move(file.plan);
}

absl::StatusOr<ContactPlan> ParseContactPlan(absl::string_view text, absl::string_view name,
                                             absl::Time relative_to) {
  PERIGEE_ASSIGN_OR_RETURN(PlanFile file, ParsePlanFile(text, name, relative_to));
  return std::move(file.plan);
}

std::string FormatContactPlan(const ContactPlan& plan, absl::Time epoch) {
  return FormatPlanFile({.nodes = {}, .plan = plan}, epoch);
}

}  // namespace perigee
