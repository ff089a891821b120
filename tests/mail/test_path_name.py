"""Names of paths, as people write them."""

from __future__ import annotations

import pytest

from penstock.mail.path_name import parse_path_name, path_name, site_of_path


def test_a_name_is_read_as_it_is_written() -> None:
    """With its protocol or without; and its site is found in it."""
    name = path_name("unspecified", "mx.example")
    assert name == "unspecified->mx.example@smtp_client"
    assert parse_path_name(name) == name
    assert parse_path_name("unspecified->mx.example") == name
    assert site_of_path(name) == "mx.example"


@pytest.mark.parametrize("text", ["", "mx.example", "->mx.example", "unspecified->", "unspecified"])
def test_what_names_no_source_and_site_is_no_path(text: str) -> None:
    """It is told how a path is written."""
    with pytest.raises(ValueError, match="source->site@smtp_client"):
        parse_path_name(text)
    assert not site_of_path(text)
