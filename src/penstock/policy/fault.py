"""What is written down of a hook that failed, was late or returned nonsense: one text for people, bounded, without credentials."""

from __future__ import annotations

import traceback
from collections.abc import Coroutine
from types import FrameType, TracebackType
from typing import Final

from penstock.mail.duration import Seconds
from penstock.mail.records import POLICY_ERROR_LIMIT

#: Frames of a traceback, and of the place where a late hook is.
FRAMES_LIMIT: Final = 20
#: Credentials pass through this hook, and exceptions repeat what they fail on: ``KeyError('secret')``.
_CONFIDENTIAL: Final = "on_auth"


def of_exception(hook: str, error: BaseException) -> str:
    """A hook raised. The exceptions' own words are left out for ``on_auth``."""
    begin = _without_ours(error.__traceback__)
    if hook == _CONFIDENTIAL:
        frames = "".join(traceback.format_tb(begin, -FRAMES_LIMIT))
        return _cut(
            f"{hook} raised {type(error).__name__}\n{frames}(what it says is left out: it may be secret)"
        )
    try:
        lines = traceback.format_exception(type(error), error, begin, limit=-FRAMES_LIMIT)
    except Exception:  # noqa: BLE001 - a text that cannot be made, by the operator's own __str__ or too deep a chain
        lines = traceback.format_tb(begin, -FRAMES_LIMIT)
    return _cut(f"{hook} raised {type(error).__name__}\n{''.join(lines)}")


def of_nonsense(hook: str, what: str) -> str:
    """A hook returned what it cannot return."""
    return _cut(f"{hook}: {what}")


def of_lateness(hook: str, deadline: Seconds, frames: list[FrameType]) -> str:
    """A hook took longer than its ``deadline``; ``frames`` are where it was, the outermost first, none if it had not begun."""
    where = "".join(
        traceback.format_list(
            [
                traceback.FrameSummary(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
                for frame in frames[-FRAMES_LIMIT:]
            ]
        )
    )
    place = f"it was here:\n{where}" if where else "it was waiting for a thread"
    return _cut(f"{hook} took longer than {deadline:g} s; {place}")


def frames_of_coroutine(coroutine: Coroutine[object, object, object] | None) -> list[FrameType]:
    """Where a waiting coroutine is, through what it awaits."""
    frames: list[FrameType] = []
    awaited: object = coroutine
    while awaited is not None and len(frames) < 10 * FRAMES_LIMIT:
        frame = getattr(awaited, "cr_frame", None)
        if frame is None:
            break
        frames.append(frame)
        awaited = getattr(awaited, "cr_await", None)
    return frames


def frames_of_stack(frame: FrameType | None, outermost: str) -> list[FrameType]:
    """Where a thread is, inside of the function called ``outermost``."""
    frames: list[FrameType] = []
    while frame is not None and frame.f_code.co_name != outermost and len(frames) < 10 * FRAMES_LIMIT:
        frames.append(frame)
        frame = frame.f_back
    return frames[::-1]


def _without_ours(begin: TracebackType | None) -> TracebackType | None:
    """The part of a traceback that begins with the hook: what called it is not the operator's."""
    ours = __name__.rpartition(".")[0] + "."
    while (
        begin is not None
        and begin.tb_next is not None
        and str(begin.tb_frame.f_globals.get("__name__")).startswith(ours)
    ):
        begin = begin.tb_next
    return begin


def _cut(text: str) -> str:
    """Within POLICY_ERROR_LIMIT. What is cut is cut from the middle: the beginning says which hook, the end what happened."""
    text = text.rstrip("\n")
    if len(text) <= POLICY_ERROR_LIMIT:
        return text
    half = (POLICY_ERROR_LIMIT - 7) // 2
    return f"{text[:half]}\n[...]\n{text[-half:]}"
