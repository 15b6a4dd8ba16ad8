"""What clients call their files, and the ids of those files.

Names belong to a project: two projects may each have a `scan`. Ids are one for the whole server. In the project
`default` the name is the id; elsewhere the id is `@<project>/<name>`, and whoever asks there may leave that out.

Any text may be a name in `default`, also one that looks like an id: of a name of another project, or one of ours. It
was taken before there were other projects, or by whoever asked a gateway of an earlier version. So a name of another
project has a second id, for where `default` has the first; and on a closed server new names of `default` that look so
go by their second id alone, whether or not somebody has the first: what they are called tells nobody of that.

No two names of a project have an id in common. No project is called `system`, so that nothing else begins as second
ids do.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from messages.base import DEFAULT_PROJECT
from shared.caller import Caller
from voxloom.ids import is_id

UPLOADS = "uploads/"
"""In `data-store`: what somebody has put through a URL, and nobody has looked at yet."""

_SECOND = "system"
"""Stands where other ids say the project."""

_MARKED = re.compile(r"@([A-Za-z0-9_-]{1,64})/.", re.DOTALL)


def project_in(file_id: str) -> str | None:
    """The project whose name for a file this is, where it looks like one."""
    match = _MARKED.match(file_id)
    return match[1] if match is not None else None


def ids_of(project: str, name: str) -> tuple[str, str]:
    """The id of the file that is called so, and the one that it has where the first is or may be another project's."""
    first, second = _starts(project)
    return (name if project == DEFAULT_PROJECT else f"{first}{name}"), f"{second}{name}"


def _starts(project: str) -> tuple[str, str]:
    """What ids begin with that say the project; what second ids begin with."""
    first = f"@{project}/"
    return first, (first if project == DEFAULT_PROJECT else f"@{_SECOND}/{project}/")


def looks_like_an_id(name: str) -> bool:
    return is_id(name) or project_in(name) is not None


def upload_key(project: str, name: str) -> str:
    """Where in `data-store` the bytes lie that were put through a URL under this name."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{UPLOADS}{digest}" if project == DEFAULT_PROJECT else f"{UPLOADS}{project}/{digest}"


def is_upload_of(project: str, file_id: str, key: str) -> bool:
    """Whether what lies there may become that file of that project."""
    return any(upload_key(project, name) == key for name in _names_of(project, file_id))


def _names_of(project: str, file_id: str) -> Iterable[str]:
    """What the project may call the file."""
    if project == DEFAULT_PROJECT:
        yield file_id
    for start in _starts(project):
        if file_id.startswith(start):
            yield file_id.removeprefix(start)


@dataclass(frozen=True, slots=True)
class Names:
    """Of one project. `alone`: there are no others, for all that anybody knows."""

    project: str
    alone: bool = False

    @classmethod
    def of(cls, caller: Caller) -> Names:
        return cls(caller.project, alone=caller.actor is None)

    @property
    def _are_ids(self) -> bool:
        """On an open server, every text is the id."""
        return self.alone and self.project == DEFAULT_PROJECT

    def plain(self, text: str) -> str:
        """The name, where somebody may have said the whole id."""
        for start in _starts(self.project) if not self._are_ids else ():
            name = text.removeprefix(start)
            if name not in ("", text) and (self.project != DEFAULT_PROJECT or looks_like_an_id(name)):
                return name
        return text

    def possible(self, text: str) -> tuple[str, ...]:
        """The ids of the files that somebody may mean: the first that is there is meant."""
        if self._are_ids:
            return (text,)
        name = self.plain(text)
        whole = (text,) if looks_like_an_id(text) else ()
        return tuple(dict.fromkeys((*whole, *self._ids(name))))

    def new(self, text: str) -> tuple[str, ...]:
        """The ids that a new file of this name may have: it gets the first that no other project has."""
        if self._are_ids:
            return (text,)
        ids = self._ids(self.plain(text))
        return ids if self.project != DEFAULT_PROJECT else ids[-1:]

    def _ids(self, name: str) -> tuple[str, ...]:
        """Those that a file of the name has, or may have had on an open server."""
        first, second = ids_of(self.project, name)
        if self.project != DEFAULT_PROJECT:
            return first, second
        if not looks_like_an_id(name):
            return (first,)
        return (second,) if project_in(name) == DEFAULT_PROJECT else (first, second)

    def upload_key(self, text: str) -> str:
        return upload_key(self.project, self.plain(text))
