"""The layering rule: who may include whom, and what a core's CMake target may link."""

import re

from source import Finding

LAYERS = ("transport/base", "transport", "collectives", "runtime")
TOP = ("examples", "bench", "tests")
# Driver leaves own sockets, threads, clocks, gRPC, devices, or virtual time.
LEAVES = ("transport/udp", "transport/sim", "transport/nccl_net", "collectives/device",
          "runtime/host", "runtime/control", "runtime/orbit", "runtime/sim", "runtime/cli",
          "runtime/capi", "runtime/torch")
PROTO_FOLDERS = ("runtime/control", "runtime/cli", "runtime/orbit",
                 "tests/runtime/control", "tests/runtime/cli", "tests/runtime/orbit")
# What no core may link: gRPC::grpc++, protobuf::libprotobuf, CUDA::cudart, Threads::Threads, ...
DRIVER_LIBRARY = re.compile(r"grpc|proto|cuda|nccl|threads|pthread|OpenSSL::SSL", re.IGNORECASE)


def is_under(path, folder):
    return path == folder or path.startswith(folder + "/")


def layer_of(path):
    """Index into LAYERS, len(LAYERS) for examples, bench and tests, None for what is not ours."""
    for index, layer in enumerate(LAYERS):
        if is_under(path, layer):
            return index
    return len(LAYERS) if any(is_under(path, top) for top in TOP) else None


def leaf_of(path):
    return next((leaf for leaf in LEAVES if is_under(path, leaf)), None)


def is_core(path):
    layer = layer_of(path)
    return layer is not None and layer < len(LAYERS) and leaf_of(path) is None


def check_includes(tree):
    for file in tree.files:
        if not file.is_cpp:
            continue
        for line, target, quoted in file.includes():
            advice = include_advice(tree, file.path, target, quoted)
            if advice:
                yield Finding(file.path, line, "layering", advice)


def include_advice(tree, path, target, quoted):
    """What is wrong with `path` including `target`; None where it may."""
    if target.endswith(".pb.h"):
        if any(is_under(path, folder) for folder in PROTO_FOLDERS):
            return None
        return f"{target} is generated: runtime/control, cli and orbit only; else plain structs"
    to = layer_of(target)
    if to is None:
        near = f"{path.rsplit('/', 1)[0]}/{target}"
        if quoted and tree.exists(near):
            return f'write the path from the root: "{near}"'
        return None
    if not quoted:
        return f'our own headers are quoted: "{target}"'
    return direction_advice(path, target, to)


def direction_advice(path, target, to):
    own = layer_of(path)
    if own is None:
        return None
    if to > own:
        return f"{target} is above {LAYERS[own]}: move the code up or hand the value down"
    if own == len(LAYERS) and to == len(LAYERS):
        folder, other = path.split("/")[0], target.split("/")[0]
        if folder not in ("tests", other):
            return f"{folder} does not include {other}: move what both need to runtime or below"
    if is_core(path) and leaf_of(target):
        return f"a core never includes the leaf {leaf_of(target)}: take a value or event"
    return None


_CALL = re.compile(r"\b(perigee_library|target_link_libraries)\s*\(\s*(\S+)([^)]*)\)")


def check_cmake(tree):
    """Cores' targets link cores and deterministic libraries only: the linker repeats the rule."""
    cmake = [file for file in tree.files if file.path.endswith("CMakeLists.txt")]
    leaf_targets = {match.group(2)
                    for file in cmake if leaf_of(file.path)
                    for match in _CALL.finditer(file.text) if match.group(1) == "perigee_library"}
    for file in cmake:
        if not is_core(file.path):
            continue
        text = re.sub(r"#[^\n]*", lambda match: " " * len(match.group(0)), file.text)
        for match in _CALL.finditer(text):
            for word in re.finditer(r"\S+", match.group(3)):
                library = word.group(0)
                if library in leaf_targets or DRIVER_LIBRARY.search(library):
                    line = file.line_of(match.start(3) + word.start())
                    yield Finding(file.path, line, "core-links",
                                  f"the core target {match.group(2)} links {library}: "
                                  "move what needs it into a driver leaf")
