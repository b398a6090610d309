"""Sizes that keep a file readable from top to bottom once, and what every header and folder has."""

import ast
import re

import cpp_scopes
from layers import is_core
from source import Finding

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
PARAMETERS_MAX = 5
COLUMNS_MAX = 100


def check(tree):
    for file in tree.files:
        if not file.path.endswith((".h", ".cc", ".py", ".sh")):
            continue
        yield from _text(file)
        if file.is_cpp:
            yield from _cpp(file)
        elif file.path.endswith(".py"):
            yield from _python(file)
        else:
            yield from _shell(file)
    yield from _readmes(tree)


def _text(file):
    if len(file.lines) > FILE_LINES_MAX:
        yield Finding(file.path, FILE_LINES_MAX + 1, "file-lines",
                      f"{len(file.lines)} lines, at most {FILE_LINES_MAX}: split by idea")
    for number, line in enumerate(file.lines, 1):
        if len(line) > COLUMNS_MAX:
            yield Finding(file.path, number, "columns",
                          f"{len(line)} columns, at most {COLUMNS_MAX}: break the line")


def _function(path, line, name, lines, parameters):
    if lines > FUNCTION_LINES_MAX:
        yield Finding(path, line, "function-lines",
                      f"{name} has {lines} lines, at most {FUNCTION_LINES_MAX}: split it")
    if parameters > PARAMETERS_MAX:
        yield Finding(path, line, "parameters",
                      f"{name} has {parameters}, at most {PARAMETERS_MAX}: pass a struct")


def _cpp(file):
    if file.path.endswith(".h"):
        code = re.sub(r"//[^\n]*|/\*.*?\*/", "", file.text, flags=re.DOTALL)
        first = re.search(r"\S[^\n]*", code)
        if not first or first.group(0).strip() != "#pragma once":
            yield Finding(file.path, 1, "header-guard", "begin with `#pragma once` after the prose")
    functions, statements = cpp_scopes.read(file.code)
    for function in functions:
        line = file.line_of(function.begin)
        lines = file.line_of(function.end) - line + 1 if function.has_body else 0
        yield from _function(file.path, line, function.name, lines, function.parameter_count)
    if is_core(file.path):
        for statement in statements:
            if _is_mutable_global(statement):
                yield Finding(file.path, file.line_of(statement.begin), "core-ban",
                              "mutable global: keep state in a member and let `main` wire it")


def _is_mutable_global(statement):
    """Best effort: `type name;` or `type name = value;` in a namespace, without const."""
    text = re.sub(r"\s+", " ", statement.text)
    if statement.scope != "namespace" or not text or "(" in text.split("=")[0]:
        return False
    if re.search(r"\b(?:const|constexpr|using|typedef|friend|operator|namespace|template)\b", text):
        return False
    if re.match(r"(?:class|struct|union|enum|extern)\b", text):
        return False
    return re.match(r"(?:static |inline |thread_local )*[\w:]+(?:<.*>)?[ *&]+"
                    r"\w+(?:\[\w*\])?(?: ?[={].*)?$", text) is not None


def _python(file):
    for node in ast.walk(ast.parse(file.text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            names = [argument.arg for argument in
                     node.args.posonlyargs + node.args.args + node.args.kwonlyargs]
            count = len([name for name in names if name not in ("self", "cls")])
            yield from _function(file.path, node.lineno, node.name,
                                 node.end_lineno - node.lineno + 1, count)


def _shell(file):
    name, begin = None, 0
    for number, line in enumerate(file.lines, 1):
        opened = re.match(r"(?:function\s+)?(\w+)\s*\(\)\s*\{", line)
        if opened:
            name, begin = opened.group(1), number
        elif line.startswith("}") and name:
            yield from _function(file.path, begin, name, number - begin + 1, 0)
            name = None


def _readmes(tree):
    """Code has a README.md beside it; the tests, which mirror the code, have one at their top."""
    folders = {file.folder for file in tree.files
               if file.path.endswith((".h", ".cc", ".py", ".sh", ".proto"))}
    for folder in sorted(folders):
        if folder.startswith("tests/"):
            continue
        if not tree.exists(f"{folder}/README.md"):
            yield Finding(f"{folder}/README.md", 1, "readme",
                          "write it: the idea, the formulas, what was rejected and why")
