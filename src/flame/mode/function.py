"""Functions of the user's own, bound to channels by tags.

```python
class Hospital(Role):
    @sends("shareCounts", to="collectCounts")
    def share_counts(self, channel):
        channel.broadcast(self.counts)
```

The TAG binds the tag to a channel in `funcTags`; the method gets that channel. Saying which tag answers at the other
side lets `flame tag check` prove that nobody waits for a message that nobody sends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

Method = TypeVar("Method", bound=Callable[..., Any])

_MARK = "__flame_function__"


@dataclass(frozen=True, slots=True)
class Function:
    """A method that is bound to a tag.

    Attributes:
        tag: the function tag, as the TAG's `funcTags` has it.
        sends: whether it sends; otherwise it receives.
        partners: the tags at the other side that it may meet.
        method: the method's name.
    """

    tag: str
    sends: bool
    partners: frozenset[str]
    method: str = ""


def sends(tag: str, *, to: str) -> Callable[[Method], Method]:
    """Mark a method as the one that sends for `tag`; `to` is the tag that receives at the other side."""
    return _marked(Function(tag, True, frozenset([to])))


def receives(tag: str, *, frm: str) -> Callable[[Method], Method]:
    """Mark a method as the one that receives for `tag`; `frm` is the tag that sends at the other side."""
    return _marked(Function(tag, False, frozenset([frm])))


def declared(cls: type) -> dict[str, Function]:
    """Every function that a class and its bases declare, by tag, bases first."""
    found: dict[str, Function] = {}
    for base in reversed(cls.__mro__):
        for name, member in vars(base).items():
            mark = getattr(member, _MARK, None)
            if isinstance(mark, Function):
                found[mark.tag] = Function(mark.tag, mark.sends, mark.partners, name)
    return found


def _marked(function: Function) -> Callable[[Method], Method]:
    def mark(method: Method) -> Method:
        setattr(method, _MARK, function)
        return method

    return mark
