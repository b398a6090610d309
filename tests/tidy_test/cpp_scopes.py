"""A C++ reader just clever enough to find functions, their parameters, and global variables.

It walks the blanked code and keeps a stack of scopes. A `{` opens a namespace, a class, a function,
or something else (an initialiser); inside a function nothing is looked at, so calls are never taken
for declarations.
"""

import dataclasses
import re

_TYPE_SCOPE = re.compile(r"\b(?:class|struct|union)\b(?!.*\))")
_NOT_A_FUNCTION = {"static_assert", "decltype", "alignas", "noexcept", "requires", "__attribute__"}
_ACCESS = re.compile(r"\s*(?:public|protected|private)\s*")
_OPERATOR = re.compile(r"\boperator\s*(?:\(\s*\)|\[\s*\]|[-+*/%^&|~!=<>,]+)")


@dataclasses.dataclass(frozen=True)
class Function:
    name: str
    begin: int  # offset of its declaration
    end: int  # offset of the closing brace, or of the semicolon
    parameter_count: int
    has_body: bool


@dataclasses.dataclass(frozen=True)
class Statement:
    text: str
    begin: int
    scope: str  # "namespace" or "class"


def read(code):
    """(functions, statements outside functions) of one file."""
    functions, statements = [], []
    scopes, begin, position = ["namespace"], 0, 0
    while position < len(code):
        char = code[position]
        if char == "{":
            header = code[begin:position]
            kind = scope_kind(header)
            if kind in ("namespace", "class"):
                scopes.append(kind)
                begin = position + 1
            else:
                close = matching(code, position)
                rest = code[close + 1:].lstrip()[:1]
                if kind == "function" and rest not in (",", "{"):
                    functions.append(function_of(header, begin, close, True))
                    begin = close + 1
                position = close  # a member's initialiser keeps its header: the body comes later
        elif char == "}":
            scopes = scopes[:-1] or ["namespace"]
            begin = position + 1
        elif char == ";":
            header = code[begin:position]
            statements.append(Statement(header.strip(), skip_blank(code, begin), scopes[-1]))
            if scope_kind(header) == "function":
                functions.append(function_of(header, begin, position, False))
            begin = position + 1
        elif char == ":" and _ACCESS.fullmatch(code[begin:position]):
            begin = position + 1
        position += 1
    return functions, statements


def scope_kind(header):
    header = re.sub(r"\[\[.*?\]\]", "", header).strip()
    header = re.sub(r"\balignas\s*\([^)]*\)", "", header)
    if re.search(r"\bnamespace\b", header) or re.match(r'extern\s*""?$|extern\s*"\s*"$', header):
        return "namespace"
    without_template = strip_template(header)
    if re.match(r"(?:typedef\b|using\b|friend\s+(?:class|struct)\b|enum\b)", without_template):
        return "other"
    if _TYPE_SCOPE.match(without_template):
        return "class"
    return "function" if parameter_list(header) is not None else "other"


def strip_template(header):
    while header.startswith("template"):
        close = closing_angle(header, header.find("<"))
        header = header[close + 1:].lstrip()
    return header


def closing_angle(text, start):
    depth = 0
    for index in range(max(start, 0), len(text)):
        depth += {"<": 1, ">": -1}.get(text[index], 0)
        if depth == 0:
            return index
    return len(text)


def parameter_list(header):
    """(name, offset of `(`, offset of `)`) of the function that `header` declares, or None."""
    plain = _OPERATOR.sub(lambda match: "operator" + "_" * (len(match.group(0)) - 8), header)
    plain = plain.replace("->", "  ")
    depth = 0
    for index, char in enumerate(plain):
        if char == "<":
            depth += 1
        elif char == ">":
            depth = max(0, depth - 1)
        elif char == "=" and depth == 0:
            return None
        elif char == "(" and depth == 0:
            name = re.search(r"([\w:~]+)\s*$", plain[:index])
            if name and name.group(1) not in _NOT_A_FUNCTION:
                return name.group(1), index, matching(plain, index)
    return None


def function_of(header, begin, end, has_body):
    name, opens, closes = parameter_list(header)
    is_macro = re.fullmatch(r"[A-Z][A-Z0-9_]{2,}", name)
    count = 0 if is_macro else argument_count(header[opens + 1:closes])
    return Function(name, begin + len(header) - len(header.lstrip()), end, count, has_body)


def argument_count(text):
    if not text.strip():
        return 0
    depth, count = 0, 1
    for char in text.replace("->", "  "):
        depth += {"(": 1, "[": 1, "{": 1, "<": 1, ")": -1, "]": -1, "}": -1, ">": -1}.get(char, 0)
        count += char == "," and depth == 0
    return count


def matching(code, opening):
    """The offset of the bracket that closes the one at `opening`, or the end."""
    pair = {"{": "}", "(": ")"}[code[opening]]
    depth = 0
    for match in re.compile(r"[{}]" if pair == "}" else r"[()]").finditer(code, opening):
        depth += 1 if match.group(0) == code[opening] else -1
        if depth == 0:
            return match.start()
    return len(code) - 1


def skip_blank(code, offset):
    return offset + len(code[offset:]) - len(code[offset:].lstrip())
