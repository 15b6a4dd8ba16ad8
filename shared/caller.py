"""Who asks. It is found out in one place for each way in, and passed on to all that is done for them.

Whoever looks something up says for whom: what belongs to another project is not found, as if it were not there.
"""

from __future__ import annotations

from dataclasses import dataclass

from messages.base import DEFAULT_PROJECT
from voxloom.models import Right as Right

NOBODY_ASKED = "local"
"""The principal of everybody, where nobody has to say who they are."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A person or a program, and the project that it asks for: what is made belongs to that."""

    principal: str
    project: str
    rights: frozenset[Right]
    everywhere: bool = False
    """Whether what belongs to other projects is theirs to see, too."""
    token: str = ""
    """The id of what has proven it; empty where nobody asked."""
    libraries: frozenset[str] = frozenset()
    """Projects whose algorithms are there for everybody."""

    @property
    def actor(self) -> str | None:
        """As events say it. None: whoever reaches an open server; nobody knows who that is."""
        return self.principal if self.principal != NOBODY_ASKED else None

    def owns(self, project: str) -> bool:
        """Whether what belongs to this project is the caller's to see."""
        return self.everywhere or project == self.project

    def may_use(self, project: str) -> bool:
        """Whether the algorithms of this project are the caller's to see, and to run in their own."""
        return self.owns(project) or project in self.libraries

    @property
    def within(self) -> str | None:
        """The project whose things they may list; None: of any."""
        return None if self.everywhere else self.project


LOCAL = Caller(NOBODY_ASKED, DEFAULT_PROJECT, frozenset(("read", "run", "deploy", "admin")), everywhere=True)
"""Everybody, where nobody has to say who they are; and the server itself, in what it does unasked."""
