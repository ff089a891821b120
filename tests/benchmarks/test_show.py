"""The acceptance checks can be listed and called, and their verdicts become exit codes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from benchmarks.processes import MissingProgramError, ProgramFaultError
from benchmarks.report import Report
from benchmarks.show import CHECKS, Check, main, run, summary


def holds(report: Report, arguments: Sequence[str]) -> None:
    """Holds."""
    report.claim("it holds", holds=True)


def fails(report: Report, arguments: Sequence[str]) -> None:
    """Fails."""
    report.claim("it holds", holds=True)
    report.claim("this does not", holds=False, detail="3 of 4")


def says_nothing(report: Report, arguments: Sequence[str]) -> None:
    """Claims nothing."""


def lacks_a_program(report: Report, arguments: Sequence[str]) -> None:
    """Needs what is not here."""
    raise MissingProgramError("smtp-sink is not installed")


def meets_a_fault(report: Report, arguments: Sequence[str]) -> None:
    """Its server does not start."""
    report.claim("it holds", holds=True)
    raise ProgramFaultError("Penstock to greet: not within 20 s")


def test_list_names_every_check_with_a_line_about_it(capsys: pytest.CaptureFixture[str]) -> None:
    """``make show K=list`` is how a newcomer finds them."""
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(CHECKS)
    assert all(len(line.split()) > 5 for line in lines)


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_has_a_sentence_of_its_own(name: str) -> None:
    """The first line of its docstring says what holds, and is whole."""
    assert summary(CHECKS[name]).endswith(".")


def test_every_line_of_the_relay_acceptance_has_its_check() -> None:
    """relay-1 to relay-5, and the profile that relay-2 refers to."""
    assert {"relay-1", "relay-2", "relay-2-profile", "relay-3", "relay-4", "relay-5"} <= CHECKS.keys()


@pytest.mark.parametrize("arguments", [[], ["relay-0"], ["--help"]])
def test_anything_else_is_answered_with_the_names(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong name ends with 2, and with what would be right."""
    assert main(arguments) == 2
    assert "relay-1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("check", "status", "verdict"),
    [
        (holds, 0, "some-check: PASS (1 of 1 claims hold)"),
        (fails, 1, "some-check: FAIL (1 of 2 claims hold)"),
        (says_nothing, 1, "some-check: FAIL (0 of 0 claims hold)"),
        (meets_a_fault, 1, "some-check: FAIL (1 of 2 claims hold)"),
    ],
)
def test_the_verdict_is_the_exit_code(
    check: Check, status: int, verdict: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A claim that does not hold fails the check, and so does a program that does not do its part, or a check that claims nothing."""
    assert run("some-check", check, []) == status
    assert verdict in capsys.readouterr().out


def test_a_missing_program_is_no_failure_of_penstock(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 3, and what is missing, on stderr."""
    assert run("some-check", lacks_a_program, []) == 3
    assert "smtp-sink is not installed" in capsys.readouterr().err
