"""The rules must be able to fail: each planted violation is found, and the clean tree has none."""

import os
import tempfile

CLEAN = {
    "transport/base/ids.h": "#pragma once\nstruct NodeId { int value = 0; };\n",
    "transport/session.h": '''// "getenv(" and throw in a comment or a string are fine.
#pragma once
#include <map>
#include "absl/container/flat_hash_map.h"
#include "transport/base/ids.h"
namespace perigee {
constexpr int kLimit = 5;
class Session {
 public:
  Session(int a, std::map<int, int> b) : a_(a), b_{std::move(b)}, c_(a) { a_ = a; }
  static int Of(int a);
  std::function<int(int, int, int, int, int, int)> call;
  friend bool operator<(const Session& a, const Session& b) { return a.a_ < b.a_; }
 private:
  int a_ = 0;
  absl::flat_hash_map<int, std::pair<int, int>> by_id_;
  std::map<int, int> b_;
  int c_;
};
}  // namespace perigee
''',
    "transport/session.cc": '''#include "transport/session.h"
namespace perigee {
int Session::Of(int a) {
  static constexpr int kTwice = 2;
  for (const auto& [key, value] : b_) a += key;
  auto found = by_id_.find(a);
  return found == by_id_.end() ? kTwice * 1'000'000 : Call(1, 2, 3, 4, 5, 6);
}
}  // namespace perigee
''',
    "transport/CMakeLists.txt": "perigee_library(perigee_transport SOURCES s.cc LINK absl::time)\n",
    "transport/udp/CMakeLists.txt": "perigee_library(perigee_udp SOURCES a.cc)\n",
    "transport/udp/socket.h": '#pragma once\n#include <thread>\n#include "transport/session.h"\n',
    "transport/README.md": "", "transport/base/README.md": "", "transport/udp/README.md": "",
    "runtime/host/loop.cc": '#include "transport/udp/socket.h"\n', "runtime/host/README.md": "",
}

LONG_FUNCTION = "int F(int a) {\n" + "  ++a;\n" * 60 + "}\n"
# path, what is written there, the line and the rule of the one finding that must come of it
PLANTED = (
    ("transport/a.cc", '#include "runtime/node.h"\n', 1, "layering"),
    ("transport/base/a.cc", '\n#include "transport/session.h"\n', 2, "layering"),
    ("collectives/a.cc", '#include "transport/udp/socket.h"\n', 1, "layering"),
    ("collectives/device/b.cc", '#include "runtime/view.h"\n', 1, "layering"),
    ("runtime/a.cc", '#include "collectives/device/reducer.h"\n', 1, "layering"),
    ("bench/a.cc", '#include "examples/model.h"\n', 1, "layering"),
    ("transport/session.cc", '#include "session.h"\n', 1, "layering"),
    ("transport/a.cc", "#include <transport/session.h>\n", 1, "layering"),
    ("runtime/host/a.cc", '#include "proto/control.pb.h"\n', 1, "layering"),
    ("runtime/a.cc", '#include "proto/control.grpc.pb.h"\n', 1, "layering"),
    ("transport/a.cc", "void F() { absl::Now(); }\n", 1, "core-ban"),
    ("transport/a.cc", "void F() { std::chrono::steady_clock::now(); }\n", 1, "core-ban"),
    ("transport/a.cc", "#include <thread>\n", 1, "core-ban"),
    ("transport/a.cc", "#include <mutex>\n", 1, "core-ban"),
    ("transport/a.cc", '#include "absl/synchronization/mutex.h"\n', 1, "core-ban"),
    ("transport/a.cc", "#include <sys/socket.h>\n", 1, "core-ban"),
    ("transport/a.cc", "int F() { return ::sendmsg(1, 0, 0); }\n", 1, "core-ban"),
    ("transport/a.cc", 'void F() { std::getenv("X"); }\n', 1, "core-ban"),
    ("transport/a.cc", "#include <random>\n", 1, "core-ban"),
    ("transport/a.cc", "int F() { return rand(); }\n", 1, "core-ban"),
    ("transport/a.cc", "void F() { std::cout << 1; }\n", 1, "core-ban"),
    ("transport/a.cc", "void F() {\n  throw 1;\n}\n", 2, "core-ban"),
    ("transport/a.cc", "std::shared_ptr<int> F();\n", 1, "core-ban"),
    ("transport/a.cc", "namespace perigee {\nint counter = 0;\n}\n", 2, "core-ban"),
    ("transport/a.cc", "namespace {\nstd::vector<int> all;\n}\n", 2, "core-ban"),
    ("transport/a.cc", "void F() {\n  static int calls = 0;\n}\n", 2, "core-ban"),
    ("transport/sim/a.cc", "void F() { absl::Now(); }\n", 1, "core-ban"),
    ("transport/session.cc", "void F() {\n  for (auto& [k, v] : a->by_id_) {}\n}\n",
     2, "hash-iteration"),
    ("transport/a.cc", "std::unordered_map<int, int> F() {\n  std::unordered_set<int> s;\n"
                       "  auto i = s.begin();\n}\n", 3, "hash-iteration"),
    ("bench/a.cc", "\n" * 401, 401, "file-lines"),
    ("bench/a.py", "\n" * 401, 401, "file-lines"),
    ("bench/a.cc", "namespace perigee {\n" + LONG_FUNCTION + "}\n", 2, "function-lines"),
    ("bench/a.cc", "class A {\n public:\n  A() : b_{1} {\n" + "  ++a;\n" * 60 + "  }\n};\n",
     3, "function-lines"),
    ("bench/a.py", "def f():\n" + "    a = 1\n" * 60, 1, "function-lines"),
    ("bench/a.sh", "f() {\n" + "  a\n" * 60 + "}\n", 1, "function-lines"),
    ("bench/a.cc", "void F(int a, std::map<int, int> b, int c, int d, int e, int f);\n",
     1, "parameters"),
    ("bench/a.h", "#pragma once\nstruct S {\n  S(int, int, int, int, int, int);\n};\n",
     3, "parameters"),
    ("bench/a.py", "def f(a, b, c, d, e, *, f):\n    pass\n", 1, "parameters"),
    ("bench/a.cc", "// " + "x" * 98 + "\n", 1, "columns"),
    ("bench/a.h", "// Prose.\n#include <map>\n#pragma once\n", 1, "header-guard"),
    ("proto/a.proto", "", 1, "readme"),
    ("transport/CMakeLists.txt", "perigee_library(t SOURCES a.cc\n  LINK gRPC::grpc++)\n",
     2, "core-links"),
    ("collectives/CMakeLists.txt", "perigee_library(c SOURCES a.cc LINK perigee_udp)\n",
     1, "core-links"),
    ("runtime/CMakeLists.txt", "target_link_libraries(r PRIVATE Threads::Threads)\n",
     1, "core-links"),
)


def write(root, path, text):
    where = os.path.join(root, path)
    os.makedirs(os.path.dirname(where), exist_ok=True)
    with open(where, "w", encoding="utf-8") as stream:
        stream.write(text)


def found_with(findings_of, planted, exceptions):
    """What is found in the clean tree with one more file."""
    with tempfile.TemporaryDirectory() as root:
        for path, text in {**CLEAN, **planted}.items():
            write(root, path, text)
            if path in planted and not path.endswith(".proto"):
                write(root, os.path.join(os.path.dirname(path), "README.md"), "")
        return [(f.path, f.line, f.rule) for f in findings_of(root, exceptions)]


def run(findings_of):
    failures = []
    clean = found_with(findings_of, {}, {})
    if clean:
        failures.append(f"the clean tree is not clean: {clean}")
    for path, text, line, rule in PLANTED:
        wanted = [("proto/README.md" if rule == "readme" else path, line, rule)]
        found = found_with(findings_of, {path: text}, {})
        if found != wanted:
            failures.append(f"planted {text[:60]!r}: wanted {wanted}, found {found}")
    planted = {"bench/a.cc": "// " + "x" * 98 + "\n"}
    if found_with(findings_of, planted, {("bench/a.cc", "columns"): "why"}):
        failures.append("an exception does not excuse its finding")
    unused = found_with(findings_of, {}, {("bench/a.cc", "columns"): "why"})
    if [rule for _, _, rule in unused] != ["exception"]:
        failures.append(f"an unused exception is not reported: {unused}")
    for failure in failures:
        print(failure)
    print(f"self-test: {len(PLANTED) + 3} cases, {len(failures)} failed")
    return 1 if failures else 0
