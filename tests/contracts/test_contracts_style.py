"""The rules for names and prose that a machine can check."""

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
THIS_FILE = Path(__file__).relative_to(ROOT).as_posix()
GENERATED = ("schemas/", "deploy/grafana/dashboards/")
"""Generated from sources that are checked; published history must not change."""
MAX_SUPPRESSIONS = 15

PLAIN_WORDS = {
    r"anew": "again",
    r"(?:is|are|was|were|be|been) away": "is unavailable",
    r"(?:some|no|any)body": "name who it is, or use the passive",
    r"mend(?:s|ed|ing)?": "fix",
    r"(?:lie|lies|lay) (?:in|on|at|there|here|beside|under|below)": "is stored in, is in",
    r"stand(?:s|ing)? still": "is stalled",
    r"in vain": "without effect",
    r"(?:give|gives|given|gave|giving) back": "return, release",
    r"work(?:s|ed|ing)? off": "execute, process",
    r"as (?:it|they) came": "unchanged",
    r"meagre": "too short, too few",
    r"telltale|tell-tale": "characteristic",
    r"for ever": "forever, for good",
}
"""Words and phrases that readers stumble over, with what to write instead."""

OLD_NAMES = {
    "ServiceShell": "ServiceApp",
    "GivenBackError": "BatchInterruptedError",
    "FusedError": "CircuitOpenError",
    "caused_by": "with_cause",
    "about_jobs": "job_sql",
    "took_effect": "count_applied",
    "why_not_live": "liveness_failure",
    "why_not_ready": "readiness_failure",
    "Halves": "MergeInputs",
    "Warned": "TranscriptWarning",
    "Recognised": "LatestTranscript",
    "HighlightsMaker": "HighlightsEngine",
    "Photographer": "ThumbnailWriter",
    "Catalogued": "CatalogResult",
    "KafkaLog": "KafkaReplay",
    "clear_errors": "report_errors",
    "RUBBISH": "UNKNOWN_RECORD",
}
"""Names that were replaced by the ones that follow the rules."""

BRITISH = re.compile(
    r"analys(?:e(?!s\b)|er|ing)|(?:normal|recogn|organ|initial|serial|summar)is[ei]|catalogue|behaviour|colour"
)
"""Stems of British spelling in identifiers."""

RIDDLES = ("What", "Why", "Where", "Whether", "How", "Who", "Whose")
"""First words of a docstring that asks instead of stating."""

SUPPRESSION = re.compile(r"# (?:noqa|type: ignore|pragma)")
EXPLAINED_SUPPRESSION = re.compile(r"# (?:noqa: [A-Z]+\d+(?:, [A-Z]+\d+)*|type: ignore\[[a-z-]+\])  # \S")


@dataclass(frozen=True)
class Finding:
    """A place that breaks a rule."""

    line: int
    text: str


def plain_word_findings(text: str) -> Iterator[Finding]:
    """Yield the phrases of a text that have a plainer word; words in backticks are names."""
    for pattern, plain in PLAIN_WORDS.items():
        for match in re.finditer(rf"(?<!`)\b{pattern}\b", text, re.IGNORECASE):
            line = text.count("\n", 0, match.start()) + 1
            yield Finding(line, f"{match[0]!r}: write {plain}")


def old_name_findings(text: str) -> Iterator[Finding]:
    """Yield names that have been replaced."""
    for old, new in OLD_NAMES.items():
        for match in re.finditer(rf"\b{old}\b", text):
            yield Finding(text.count("\n", 0, match.start()) + 1, f"{old} is called {new}")


def docstring_findings(source: str) -> Iterator[Finding]:
    """Yield docstrings that ask a question, or speak of null where Python has None.

    "Whether …" describes a property, which is a value; a function returns whether.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node) or ""
            line = getattr(node, "lineno", 1)
            decorators = [ast.unparse(each) for each in getattr(node, "decorator_list", [])]
            if docstring.startswith("Whether ") and any("property" in each for each in decorators):
                continue
            if docstring.split(" ", 1)[0] in RIDDLES:
                yield Finding(line, f"the docstring begins with {docstring.split(' ', 1)[0]!r}")
            if re.search(r"(?<![`\w])[Nn]ull(?![`\w])", docstring):
                yield Finding(line, "the docstring says null; Python's word is None")


def undocumented_parameters(source: str) -> Iterator[Finding]:
    """Yield public functions of three parameters or more without an `Args:` section.

    A method that implements a port refers to it with "See `Port.method`." instead.
    """
    for node in ast.parse(source).body:
        members = node.body if isinstance(node, ast.ClassDef) else [node]
        is_public_scope = not (isinstance(node, ast.ClassDef) and node.name.startswith("_"))
        for function in members:
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) or not is_public_scope:
                continue
            arguments = function.args
            names = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
            names = [name for name in names if name not in {"self", "cls"}]
            docstring = ast.get_docstring(function) or ""
            documented = "Args:" in docstring or docstring.startswith("See `")
            overrides = any("override" in ast.unparse(decorator) for decorator in function.decorator_list)
            if len(names) >= 3 and not (function.name.startswith("_") or documented or overrides):
                yield Finding(
                    function.lineno, f"{function.name} documents none of its {len(names)} parameters"
                )


def british_identifiers(source: str) -> Iterator[Finding]:
    """Yield identifiers in British spelling."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME and BRITISH.search(token.string.lower()):
            yield Finding(token.start[0], f"{token.string}: identifiers have American spelling")


def suppressions(source: str) -> Iterator[Finding]:
    """Yield comments that silence a checker."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and SUPPRESSION.match(token.string):
            yield Finding(token.start[0], token.string)


@cache
def tracked(*suffixes: str) -> tuple[Path, ...]:
    """Return the files of the repository with one of the suffixes, generated ones and this one left out."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    paths = (Path(line) for line in listing.stdout.splitlines())
    return tuple(
        path
        for path in paths
        if path.suffix in suffixes
        and (ROOT / path).is_file()
        and not path.as_posix().startswith(GENERATED)
        and path.as_posix() != THIS_FILE
    )


def report(findings: Iterator[tuple[Path, Finding]]) -> list[str]:
    """Return findings as lines that an editor can jump to."""
    return [f"{path}:{finding.line}: {finding.text}" for path, finding in findings]


def sources(*folders: str) -> Iterator[tuple[Path, str]]:
    """Yield the Python files, below folders if any are named, with their content."""
    for path in tracked(".py"):
        if not folders or (path.parts[0] in folders and "src" in path.parts):
            yield path, (ROOT / path).read_text()


def test_prose_uses_plain_words() -> None:
    texts = ((path, (ROOT / path).read_text()) for path in tracked(".py", ".md", ".yml"))
    assert report((path, each) for path, text in texts for each in plain_word_findings(text)) == []


def test_replaced_names_do_not_come_back() -> None:
    texts = ((path, (ROOT / path).read_text()) for path in tracked(".py", ".md", ".toml", ".yml"))
    assert report((path, each) for path, text in texts for each in old_name_findings(text)) == []


def test_docstrings_state_and_do_not_ask() -> None:
    assert report((path, each) for path, text in sources() for each in docstring_findings(text)) == []


def test_public_functions_of_three_parameters_document_them() -> None:
    found = (
        (path, each)
        for path, text in sources("libs", "services")
        if not {"handlers", "commands"}
        & set(path.parts)  # documented by `JobKind`, and by the help of options
        for each in undocumented_parameters(text)
    )
    assert report(found) == []


def test_identifiers_have_american_spelling() -> None:
    assert report((path, each) for path, text in sources() for each in british_identifiers(text)) == []


def test_suppressions_are_few_and_each_has_a_reason() -> None:
    found = [(path, each) for path, text in sources() for each in suppressions(text)]
    assert report((path, each) for path, each in found if not EXPLAINED_SUPPRESSION.match(each.text)) == []
    assert len(found) <= MAX_SUPPRESSIONS, report(iter(found))


@pytest.mark.parametrize(
    ("check", "bad", "good"),
    [
        (plain_word_findings, "It is begun anew.", "It is restarted."),
        (plain_word_findings, "While Kafka is away,", "While Kafka is unavailable,"),
        (plain_word_findings, "The file lies in the cache.", "The file is in the cache."),
        (old_name_findings, "app: ServiceShell", "app: ServiceApp"),
        (docstring_findings, 'def f():\n    """What it does."""', 'def f():\n    """Return it."""'),
        (docstring_findings, 'def f():\n    """Return null."""', 'def f():\n    """Return `null`."""'),
        (undocumented_parameters, "def f(a, b, c): ...", "def f(a, b): ..."),
        (
            undocumented_parameters,
            "class C:\n    def f(self, a, b, *, c): ...",
            'class C:\n    def f(self, a, b, *, c):\n        """See `P.f`."""',
        ),
        (british_identifiers, "analyser = 1", "analyzer = 'analyse'"),
        (suppressions, "x = 1  # noqa: S311  # why", "x = 1  # a comment"),
    ],
)
def test_each_check_can_fail(check, bad, good) -> None:
    assert list(check(bad))
    assert not list(check(good))
