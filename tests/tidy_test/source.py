"""The source tree as the rules see it: its files, and C++ without comments and strings."""

import dataclasses
import functools
import os
import re

FOLDERS = ("transport", "collectives", "runtime", "proto", "examples", "bench", "tests", "cmake")
_GENERATED = (".", "build", "CMakeFiles", "__pycache__")
SUFFIXES = (".h", ".cc", ".py", ".sh", ".proto")


@dataclasses.dataclass(frozen=True)
class Finding:
    """One broken rule: where, which, and what to do about it."""

    path: str
    line: int
    rule: str
    advice: str

    def __str__(self):
        return f"{self.path}:{self.line}: {self.rule}: {self.advice}"


@dataclasses.dataclass(frozen=True)
class SourceFile:
    path: str  # from the root, with slashes
    text: str

    @property
    def folder(self):
        return os.path.dirname(self.path)

    @property
    def is_cpp(self):
        return self.path.endswith((".h", ".cc"))

    @functools.cached_property
    def lines(self):
        return self.text.splitlines()

    @functools.cached_property
    def code(self):
        """The text without comments, strings and preprocessor lines; lines keep their numbers."""
        return blank_preprocessor(blank_comments_and_strings(self.text))

    def line_of(self, offset):
        return self.text.count("\n", 0, offset) + 1

    def includes(self):
        """(line, path, quoted) of every #include."""
        for number, line in enumerate(self.lines, 1):
            match = re.match(r'\s*#\s*include\s*(["<])([^">]+)[">]', line)
            if match:
                yield number, match.group(2), match.group(1) == '"'


class Tree:
    def __init__(self, root):
        self.root = root
        self.files = list(self._read())
        self.by_path = {file.path: file for file in self.files}

    def _read(self):
        for folder in FOLDERS:
            for where, folders, names in os.walk(os.path.join(self.root, folder)):
                folders[:] = sorted(f for f in folders if not f.startswith(_GENERATED))
                for name in sorted(names):
                    if name.endswith(SUFFIXES) or name == "CMakeLists.txt":
                        path = os.path.join(where, name)
                        with open(path, encoding="utf-8", errors="replace") as stream:
                            relative = os.path.relpath(path, self.root).replace(os.sep, "/")
                            yield SourceFile(relative, stream.read())

    def exists(self, path):
        return os.path.exists(os.path.join(self.root, path))


_COMMENT_OR_STRING = re.compile(
    r'//(?:\\\n|[^\n])*'
    r'|/\*.*?\*/'
    r'|R"(?P<tag>[^(\s]*)\(.*?\)(?P=tag)"'
    r'|"(?:\\.|[^"\\\n])*"'
    r"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'",
    re.DOTALL)


def blank_comments_and_strings(text):
    def blank(match):
        found = match.group(0)
        kept = re.sub(r"[^\n]", " ", found)
        if found[0] in "\"'R":
            kept = '"' + kept[1:-1] + '"'
        return kept

    return _COMMENT_OR_STRING.sub(blank, text)


def blank_preprocessor(text):
    return re.sub(r"^[ \t]*#(?:\\\n|[^\n])*",
                  lambda match: re.sub(r"[^\n]", " ", match.group(0)), text, flags=re.MULTILINE)
