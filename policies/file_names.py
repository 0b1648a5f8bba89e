"""What the names of files, and what stands in them, say of other files: tests, imports, mentions.

All of it is convention, told from text alone. Whether such a file is there is for others to say.
"""

import re
from collections.abc import Iterable, Iterator
from posixpath import basename, dirname, join, normpath, splitext

_SOURCE = (
    "py|pyi|js|jsx|ts|tsx|mjs|cjs|vue|svelte|go|rs|java|kt|rb|php|cs|c|cc|cpp|h|hpp|swift|scala"
)
_OTHER = "md|rst|txt|toml|yaml|yml|json|ini|cfg|sql|proto|html|css|scss|sh|tf|graphql|lock|xml"
_MENTION = re.compile(
    rf"(?<![\w./@+-])(?:[\w.@+-]+/)*[\w@+-][\w.@+-]*\.(?:{_SOURCE}|{_OTHER})\b(?![\w/])"
)
_MOST_NAMES = 200
_LONGEST = 200_000
"""Characters of a text that are looked at."""

_PYTHON = re.compile(
    r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import[ \t]+([^#\n]*)|import[ \t]+([\w., \t]+))", re.M
)
_QUOTED = re.compile(
    r"(?:\bfrom\s*|\bimport\s*\(?\s*|\brequire\s*\(\s*|@import\s+|^[ \t]*\#[ \t]*include[ \t]*)"
    r"""["'<]([^"'>\n]+)["'>]""",
    re.M,
)
_GO = re.compile(r'^[ \t]*(?:import[ \t]+)?(?:[\w.]+[ \t]+)?"([\w./-]+)"[ \t]*$', re.M)
_RUST = re.compile(r"^[ \t]*(?:pub[ \t]+)?(?:mod[ \t]+(\w+)[ \t]*;|use[ \t]+crate::([\w:]+))", re.M)
_SCRIPTS = (".ts", ".tsx", ".js", ".jsx", ".mjs", ".vue", ".svelte", ".css", ".scss")
_C = (".c", ".cc", ".cpp", ".h", ".hpp")


def mentioned(text: str) -> list[str]:
    """Names of files in a text, in the order of their first mention."""
    found: dict[str, None] = {}
    for match in _MENTION.finditer(text[:_LONGEST]):
        name = normpath(match.group().lstrip("@+-"))
        if not name.startswith(".."):
            found[name] = None
            if len(found) >= _MOST_NAMES:
                break
    return list(found)


# ---- tests -----------------------------------------------------------------------------------


def is_test(path: str) -> bool:
    """Whether a file is one of tests, by its name or its folders."""
    stem = splitext(basename(path))[0]
    return _tested_stem(stem) is not None or any(
        part in ("test", "tests", "__tests__", "spec") for part in dirname(path).split("/")
    )


def _tested_stem(stem: str) -> str | None:
    for prefix in ("test_", "tests_"):
        if stem.startswith(prefix):
            return stem[len(prefix) :]
    for suffix in ("_test", "_tests", ".test", ".spec", "_spec", "Test", "Tests", "Spec"):
        if stem.endswith(suffix) and len(stem) > len(suffix):
            return stem[: -len(suffix)]
    return None


def counterparts(path: str) -> list[str]:
    """Where by convention the tests of a file are, or what a file of tests tests."""
    folder, name = dirname(path), basename(path)
    stem, suffix = splitext(name)
    tested = _tested_stem(stem)
    if tested is not None:
        up = dirname(folder) if basename(folder) in ("tests", "test", "__tests__") else folder
        places = [folder, up, _swapped(folder, ("tests", "test", "spec"), ("src", "lib", "app"))]
        return _unique(join(place, tested + suffix) for place in places)
    match suffix:
        case ".py":
            names = [f"test_{stem}.py", f"{stem}_test.py"]
            places = [join(folder, "tests"), join(dirname(folder), "tests"), "tests", folder]
        case ".go" | ".exs" | ".dart":
            names, places = [f"{stem}_test{suffix}"], [folder]
        case ".ts" | ".tsx" | ".js" | ".jsx" | ".mjs":
            names = [f"{stem}.test{suffix}", f"{stem}.spec{suffix}"]
            places = [folder, join(folder, "__tests__")]
        case ".java" | ".kt" | ".scala" | ".cs" | ".swift" | ".php":
            names = [f"{stem}Test{suffix}", f"{stem}Tests{suffix}"]
            places = [folder.replace("/main/", "/test/"), folder]
        case ".rb":
            names, places = [f"{stem}_spec.rb"], [_swapped(folder, ("lib", "app"), ("spec",))]
        case _:
            return []
    return _unique(join(place, each) for place in places for each in names)


def _swapped(folder: str, olds: Iterable[str], news: Iterable[str]) -> str:
    parts = folder.split("/")
    for old in olds:
        if old in parts:
            parts[parts.index(old)] = next(iter(news))
            break
    return "/".join(parts)


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(normpath(name) for name in names))


# ---- imports ---------------------------------------------------------------------------------


def imported(path: str, text: str) -> list[str]:
    """Files that a source file may import: names relative to the root, or ends of names.

    A name that begins with `*/` stands for every file whose name ends so.
    """
    return list(dict.fromkeys(_imported(path, text[:_LONGEST])))


def _imported(path: str, text: str) -> Iterator[str]:
    suffix = splitext(path)[1]
    if suffix in (".py", ".pyi"):
        yield from _python(path, text)
    elif suffix in _SCRIPTS or suffix in _C:
        for name in _QUOTED.findall(text):
            yield from _quoted(path, name, suffix)
    elif suffix == ".go":
        yield from (
            f"*/{'/'.join(name.split('/')[-2:])}/" for name in _GO.findall(text) if "/" in name
        )
    elif suffix == ".rs":
        for module, used in _RUST.findall(text):
            if module:
                yield join(dirname(path), f"{module}.rs")
            else:
                yield f"*/{used.split('::')[0]}.rs"


def _python(path: str, text: str) -> Iterator[str]:
    for module, names, plain in _PYTHON.findall(text):
        if plain:
            for each in plain.split(","):
                words = each.split()
                if words:
                    yield from _module(words[0].replace(".", "/"))
            continue
        dots = len(module) - len(module.lstrip("."))
        base = module.lstrip(".").replace(".", "/")
        if dots:
            folder = dirname(path)
            for _ in range(dots - 1):
                folder = dirname(folder)
            yield from (normpath(join(folder, each)) for each in _module(base, names) if each)
        else:
            yield from _module(base, names)


def _module(base: str, names: str = "") -> Iterator[str]:
    """The files that a module of Python may be; the names imported may be modules, too."""
    if base:
        yield f"{base}.py"
        yield f"{base}/__init__.py"
    for name in re.findall(r"\b(\w+)\b(?!\s+as\b)", names.replace("(", " "))[:20]:
        yield f"{base}/{name}.py" if base else f"{name}.py"


def _quoted(path: str, name: str, suffix: str) -> Iterator[str]:
    if suffix in _C:
        yield normpath(join(dirname(path), name))
        yield f"*/{name}"
        return
    if not name.startswith("."):
        if name.startswith(("@/", "~/")):
            yield from (f"*/{name[2:]}{end}" for end in (".ts", ".tsx", ".js", "/index.ts"))
        return
    base = normpath(join(dirname(path), name))
    if splitext(base)[1] in _SCRIPTS:
        stem, end = splitext(base)
        yield base
        if end == ".js":  # TypeScript imports by the name of what it compiles to
            yield from (f"{stem}.ts", f"{stem}.tsx")
        return
    yield from (f"{base}{end}" for end in (".ts", ".tsx", ".js", ".jsx", "/index.ts", "/index.js"))
