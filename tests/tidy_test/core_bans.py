"""What a core may not contain, so that the same seed gives the same bytes on every machine."""

import re

from layers import is_core, is_under
from source import Finding

# Virtual time is deterministic too, though its folders are leaves.
SIMULATED = ("transport/sim", "runtime/sim")

_TIME = "take `absl::Time now` as an argument"
_THREADS = "a core has one thread: threads and locks live in driver leaves"
_SOCKETS = "a core is handed bytes: sockets and files live in driver leaves"
_RANDOM = "take `Rng&` (transport/base/rng.h): <random> differs between standard libraries"
_PRINT = "return a value or an event: the driver prints and logs"
_ERRORS = "return absl::Status; PERIGEE_CHECK for our own bugs"

INCLUDES = {
    "chrono": _TIME, "ctime": _TIME, "sys/time.h": _TIME, "absl/time/clock.h": _TIME,
    "thread": _THREADS, "mutex": _THREADS, "shared_mutex": _THREADS, "future": _THREADS,
    "condition_variable": _THREADS, "absl/synchronization/": _THREADS,
    "sys/socket.h": _SOCKETS, "netinet/": _SOCKETS, "arpa/inet.h": _SOCKETS, "netdb.h": _SOCKETS,
    "sys/epoll.h": _SOCKETS, "poll.h": _SOCKETS, "unistd.h": _SOCKETS, "fstream": _SOCKETS,
    "random": _RANDOM, "iostream": _PRINT,
}
PATTERNS = (
    (r"\babsl::Now\s*\(", _TIME),
    (r"\bstd::chrono::(?:system|steady|high_resolution)_clock\b", _TIME),
    (r"\b(?:clock_gettime|gettimeofday)\s*\(|\bstd::time\s*\(", _TIME),
    (r"\bstd::(?:jthread|thread|mutex|async)\b|\babsl::Mutex\b|\bthread_local\b", _THREADS),
    (r"(?<![\w.>])::?(?:socket|sendto|recvfrom|sendmsg|recvmsg)\s*\(", _SOCKETS),
    (r"\bgetenv\s*\(", "settings come in as Options: `main` reads the environment"),
    (r"(?<![\w.])s?rand\s*\(|\bstd::(?:mt19937|random_device|shuffle)\b", _RANDOM),
    (r"\bstd::c(?:out|err|log)\b|(?<!\w)printf\s*\(", _PRINT),
    (r"\bthrow\b|\btry\s*\{", _ERRORS),
    (r"\b(?:shared_ptr|make_shared)\b", "own by value or unique_ptr and lend references"),
)
_HASH_TYPE = re.compile(r"\b(?:flat_hash_|node_hash_|unordered_)(?:multi)?(?:map|set)\s*<")
_HASH_ADVICE = "the order of `{}` differs between runs: use std::map, or keep an ordered index"


def check(tree):
    for file in tree.files:
        if not file.is_cpp:
            continue
        if is_core(file.path) or any(is_under(file.path, folder) for folder in SIMULATED):
            yield from _banned_includes(file)
            yield from _banned_words(file)
            yield from _hash_iteration(tree, file)
            yield from _static_locals(file)


def _banned_includes(file):
    for line, target, _ in file.includes():
        for banned, advice in INCLUDES.items():
            if target == banned or (banned.endswith("/") and target.startswith(banned)):
                yield Finding(file.path, line, "core-ban", f"<{target}>: {advice}")


def _banned_words(file):
    for pattern, advice in PATTERNS:
        for match in re.finditer(pattern, file.code):
            word = match.group(0).strip(" ({:")
            yield Finding(file.path, file.line_of(match.start()), "core-ban", f"{word}: {advice}")


def _static_locals(file):
    """Best effort: a function's or class's `static` variable that is not const."""
    pattern = (r"^[ \t]+(?:inline\s+)?static\s+(?!const|inline\s+const|assert)"
               r"[^;(){}=]*\s\w+\s*(?:=[^;]*|\{[^;]*)?;")
    for match in re.finditer(pattern, file.code, flags=re.MULTILINE):
        yield Finding(file.path, file.line_of(match.start()), "core-ban",
                      "mutable static: keep state in a member, so that two nodes fit one process")


def _hash_iteration(tree, file):
    """Range-for (or begin()) over a hash map declared here or in the same module's header."""
    header = tree.by_path.get(re.sub(r"\.cc$", ".h", file.path))
    names = hash_names(file.code) | (hash_names(header.code) if header else set())
    for name in sorted(names):
        loop = (rf"\bfor\s*\([^;{{}}]*[^:]:[^:;{{}}]*\b{name}\s*\)"
                rf"|\b{name}\s*\.\s*c?begin\s*\(")
        for match in re.finditer(loop, file.code):
            yield Finding(file.path, file.line_of(match.start()), "hash-iteration",
                          _HASH_ADVICE.format(name))


def hash_names(code):
    names = set()
    for match in _HASH_TYPE.finditer(code):
        end, depth = match.end(), 1
        while end < len(code) and depth:
            depth += {"<": 1, ">": -1}.get(code[end], 0)
            end += 1
        declared = re.match(r"\s*&?\s*(\w+)\s*(?:;|=|\{|\)|,|ABSL_)", code[end:])
        if declared:
            names.add(declared.group(1))
    return names
