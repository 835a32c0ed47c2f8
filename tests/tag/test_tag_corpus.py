"""Every broken TAG of the corpus gives exactly the findings that are expected of it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from corpus import corpus
from mutation import Broken

from flame.errors import TagError
from flame.tag import Finding, check, read
from flame.tag.check import INVARIANTS
from flame.tag.door import parse

CORPUS = corpus()


def findings(broken: Broken) -> list[Finding]:
    content = broken.content()
    if not isinstance(content, Mapping):
        return parse(content)[1]
    with pytest.raises(TagError) as caught:
        read(content, **broken.options)
    return list(caught.value.findings)


@pytest.mark.parametrize("broken", CORPUS, ids=lambda broken: broken.name[:80])
def test_a_broken_tag_gives_its_findings(broken: Broken) -> None:
    found = findings(broken)
    assert {(one.invariant, one.path) for one in found} == broken.expected
    assert len(found) == len(broken.expected)
    for one in found:
        assert one.reason and str(one).startswith(one.path or "(top)")


def test_the_corpus_is_large_and_breaks_every_invariant() -> None:
    assert len({broken.name for broken in CORPUS}) == len(CORPUS) >= 150
    reached = {rule for broken in CORPUS for rule, _ in broken.expected}
    assert reached >= {rule.__name__.replace("_", "-") for rule in INVARIANTS}


def test_check_finds_the_same_in_the_records_as_read_in_the_file() -> None:
    for broken in CORPUS:
        content = broken.content()
        if isinstance(content, Mapping) and not any(
            rule in ("shape", "missing-key", "unknown-key") for rule, _ in broken.expected
        ):
            tag, wrong = parse(content)
            assert not wrong
            assert {(one.invariant, one.path) for one in check(tag, **broken.options)} == broken.expected


def test_all_findings_come_at_once_with_a_hint() -> None:
    with pytest.raises(TagError) as caught:
        read({"name": "x", "rolse": [], "roles": [{"name": "trainer", "replica": "2"}], "channels": [{"name": "c"}]})
    told = str(caught.value)
    assert "did you mean 'roles'?" in told
    for path in ("rolse", "roles[0].replica", "channels[0].pair"):
        assert f"  {path}: " in told
