"""Every mistake of the list is reported as it should be: where, what, what would be right; and nothing else is reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.mistakes import MISTAKES, Mistake, write
from penstock import config, policy
from penstock.mail.problem import ConfigError, Problem
from penstock.net.tls import check_authorities, check_certificates


def problems_of(root: Path) -> list[Problem]:
    """What a command would report before it listens: of the files, the data directory, certificates, the policy."""
    examined = config.examine(root, hostname=lambda: "host.example")
    outline = examined.outline
    problems = list(examined.problems)
    if outline.data_dir is not None:
        problems += config.check_data_dir(outline.data_dir, root)
    problems += check_certificates(outline.tls_files, str(root))
    if outline.tls_ca_file is not None:
        problems += check_authorities(outline.tls_ca_file, str(root))
    if outline.policy is not None:
        try:
            policy.load(outline.policy, named_by="node.policy")
        except ConfigError as error:
            problems += error.problems
    return problems


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_mistake_is_reported_with_its_place_and_what_would_be_right(
    mistake: Mistake, tmp_path: Path
) -> None:
    """One line for each problem, with every expected text in it, and no line beyond."""
    lines = [str(problem) for problem in problems_of(write(mistake, tmp_path))]
    for fragments in mistake.problems:
        assert [line for line in lines if all(text in line for text in fragments)], (fragments, lines)
    assert len(lines) == len(mistake.problems), lines


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_problem_is_one_printable_line_that_names_a_file_and_says_what_would_be_right(
    mistake: Mistake, tmp_path: Path
) -> None:
    """Nothing of a file's content reaches a terminal as a control character, or fills it."""
    for problem in problems_of(write(mistake, tmp_path)):
        assert problem.file.startswith(str(tmp_path))
        assert str(problem).isprintable()
        assert problem.what
        assert problem.hint
        assert len(problem.key) + len(problem.what) + len(problem.hint) < 600


def test_the_list_is_long_enough_and_its_names_differ() -> None:
    """The acceptance check asks for at least 40."""
    assert len({mistake.name for mistake in MISTAKES}) == len(MISTAKES) >= 45
