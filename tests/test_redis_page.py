"""docs/redis.md says what the code asks for."""

from __future__ import annotations

from pathlib import Path

from fletching.store.trial import acl

from tests.test_redis_tls import SENTINEL_USER

PAGE = (Path(__file__).parent.parent / "docs" / "redis.md").read_text("utf-8")


def test_page_has_the_rights_that_check_asks_for() -> None:
    assert f"\n    ACL SETUSER crm {acl()}\n" in PAGE


def test_page_has_the_rights_at_a_sentinel() -> None:
    rights = SENTINEL_USER.partition("allchannels")[2]
    assert f"\n    on >PASSWORD allchannels{rights}\n" in PAGE
