"""What clients call their files, and the ids of those files.

Names belong to a project: two projects may each have a `scan`. Ids are one for the whole server. In the project
`default` the name is the id; elsewhere the id is `@<project>/<name>`, and whoever asks there may leave that out.

Any text may be a name in `default`, also one that looks like an id of another project. It was taken before there were
other projects, or by whoever asked a gateway of an earlier version. So each name has a second id, for where another
project has the first; and on a closed server new names of `default` that look so go by their second id alone.
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

_MARKED = re.compile(r"@([A-Za-z0-9_-]{1,64})/.", re.DOTALL)


def project_in(file_id: str) -> str | None:
    """The project whose name for a file this is, where it looks like one."""
    match = _MARKED.match(file_id)
    return match[1] if match is not None else None


def ids_of(project: str, name: str) -> tuple[str, str]:
    """The id of the file that is called so, and the one that it has where another project has that."""
    if project == DEFAULT_PROJECT:
        return name, f"@{project}/{name}"
    return f"@{project}/{name}", f"@{project}//{name}"


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
    for start in (f"@{project}/", f"@{project}//"):
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

    def plain(self, text: str) -> str:
        """The name, where somebody may have said the whole id."""
        if self.project == DEFAULT_PROJECT or project_in(text) != self.project:
            return text
        return text.partition("/")[2]

    def possible(self, text: str) -> tuple[str, ...]:
        """The ids of the files that somebody may mean: the first that is there is meant."""
        if self.alone and self.project == DEFAULT_PROJECT:
            return (text,)
        whole = (text,) if is_id(text) or project_in(text) is not None else ()
        return tuple(dict.fromkeys((*whole, *ids_of(self.project, self.plain(text)))))

    def new(self, text: str) -> tuple[str, ...]:
        """The ids that a new file of this name may have: it gets the first that no other project has."""
        first, second = ids_of(self.project, self.plain(text))
        if self.project != DEFAULT_PROJECT or self.alone:
            return first, second
        return (second,) if project_in(first) is not None else (first, second)

    def upload_key(self, text: str) -> str:
        return upload_key(self.project, self.plain(text))
