"""What the policy's queue_config may answer."""

from __future__ import annotations

import pytest

from penstock.config.queue_answer import REFRESH_INTERVAL, queue_answer
from penstock.mail.problem import ConfigError
from penstock.mail.rate import parse_rate


def test_an_option_that_is_none_is_not_said() -> None:
    """As a database has it that knows nothing of it: the files' word counts, and the rest of the answer too."""
    answer = queue_answer({"max_message_rate": None, "max_age": "2h", "refresh_interval": None})
    assert answer.layer.options == {"max_age": 7200.0}
    assert answer.refresh_interval == REFRESH_INTERVAL


def test_what_is_said_is_read_as_in_the_files() -> None:
    """And what is wrong is refused by its name."""
    answer = queue_answer({"max_message_rate": "5/minute"})
    assert answer.layer.options == {"max_message_rate": parse_rate("5/minute")}
    with pytest.raises(ConfigError, match="max_mesage_rate"):
        queue_answer({"max_mesage_rate": "5/minute"})
