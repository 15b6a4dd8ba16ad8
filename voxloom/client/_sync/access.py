# Generated from voxloom/client/_async/access.py by `python -m voxloom.client._generate`; edit that file.

"""What the client can do about who may do what: tokens, principals, projects and their members."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpx

from voxloom.client._problems import parse, parse_list
from voxloom.client._sync.pages import pages
from voxloom.client._sync.transport import Transport, path_of
from voxloom.client._values import as_json
from voxloom.models import (
    AlgorithmRecord,
    LimitsRecord,
    LoginOffer,
    MemberRecord,
    PrincipalRecord,
    ProjectRecord,
    RetentionRecord,
    TokenMade,
    TokenRecord,
    WhoAmI,
)


class Access:
    """The part of the client that is about who may do what. A server that asks nobody who they are answers `whoami`;
    all else raises Conflict (`auth_is_open`) there."""

    _transport: Transport

    def whoami(self) -> WhoAmI:
        """Who we are to the server, and what we may do in which project."""
        return parse(WhoAmI, self._transport.request("GET", "/api/v1/whoami"))

    # --- login --------------------------------------------------------------------------------------------

    def how_to_log_in(self) -> LoginOffer:
        """Whether the server takes passwords, and which OpenID provider gives out tokens for it."""
        return parse(LoginOffer, self._transport.request("GET", "/api/v1/login"))

    def login(self, name: str, password: str, *, new_password: str | None = None) -> TokenMade:
        """Gets a token for a name and a password; from now on this client shows that one.

        `new_password`: in place of the old one from now on; a password that is good for one time wants one. Raises
        Unauthenticated (`login_failed`), NotAllowed (`password_login_off`, `password_must_change`), and TooMany
        (`too_many_logins`): try that again later. After failures the answer takes up to 15 seconds.
        """
        body = {"name": name, "password": password, "new_password": new_password}
        given = {key: value for key, value in body.items() if value is not None}
        made = parse(TokenMade, self._write("POST", path_of("api", "v1", "login"), given))
        self._transport.show(made.token)
        return made

    def logout(self) -> None:
        """Revokes the token that we show, and those that were made with it; we show none after that."""
        token_id = (self.whoami()).token_id
        if token_id is not None:
            self.revoke_token(token_id)
        self._transport.show(None)

    def set_password(
        self, principal_id: str, password: str, *, old_password: str | None = None, one_time: bool = False
    ) -> None:
        """Sets ours, with the `old_password` if we have one; an admin sets those of all. Tokens that were got with the
        old one end, maybe also the one that we show. `one_time`: good for a week, and only to be changed."""
        body = {"password": password, "old_password": old_password, "one_time": one_time}
        given = {key: value for key, value in body.items() if value is not None}
        self._write("PUT", path_of("api", "v1", "principals", principal_id, "password"), given)

    def link_identity(self, principal_id: str, subject: str) -> None:
        """Who has this subject (`sub`) at the server's OpenID provider is this principal; for admins."""
        path = path_of("api", "v1", "principals", principal_id, "identity")
        self._write("PUT", path, {"subject": subject})

    def unlink_identity(self, principal_id: str) -> None:
        """The OpenID provider lets nobody in as this principal any more; for admins."""
        self._transport.request("DELETE", path_of("api", "v1", "principals", principal_id, "identity"))

    def end_tokens(self, principal_id: str) -> None:
        """Ends all tokens that were issued for somebody before now, those of the OpenID provider, too: ours, or
        anybody's for admins."""
        self._transport.request("POST", path_of("api", "v1", "principals", principal_id, "logout"))

    def remove_password(self, principal_id: str) -> None:
        """They log in by password no more; for admins."""
        self._transport.request("DELETE", path_of("api", "v1", "principals", principal_id, "password"))

    # --- tokens -------------------------------------------------------------------------------------------

    def create_token(
        self,
        name: str = "",
        *,
        days: float | None = None,
        projects: Sequence[str] | None = None,
        rights: Sequence[str] | None = None,
        principal_id: str | None = None,
    ) -> TokenMade:
        """A new token: `token` of the answer, which nobody can read again later.

        It is good for the `projects` and the `rights` (read, run, deploy, admin) that are named, else for all of
        ours, and is revoked along with the token that we ask with. `principal_id`: whose it is; admins may name others.
        """
        wanted = {
            "name": name,
            "days": days,
            "projects": None if projects is None else list(projects),
            "rights": None if rights is None else list(rights),
            "principal_id": principal_id,
        }
        given = {key: value for key, value in wanted.items() if value is not None}
        return parse(TokenMade, self._write("POST", path_of("api", "v1", "tokens"), given))

    def tokens(self, principal_id: str | None = None) -> list[TokenRecord]:
        """Ours, the newest first; an admin sees all, or those of one principal."""
        params = {"principal_id": principal_id}
        return parse_list(TokenRecord, self._transport.request("GET", "/api/v1/tokens", params=params))

    def revoke_token(self, token_id: str) -> None:
        """Returns when it lets nobody in any more, nor do those that were made with it."""
        self._transport.request("DELETE", path_of("api", "v1", "tokens", token_id))

    # --- principals ---------------------------------------------------------------------------------------

    def principals(self) -> list[PrincipalRecord]:
        """People and programs that may ask; for admins."""
        return parse_list(PrincipalRecord, self._transport.request("GET", "/api/v1/principals"))

    def principal(self, principal_id: str) -> PrincipalRecord:
        response = self._transport.request("GET", path_of("api", "v1", "principals", principal_id))
        return parse(PrincipalRecord, response)

    def put_principal(
        self, principal_id: str, *, name: str | None = None, admin: bool = False, disabled: bool = False
    ) -> PrincipalRecord:
        """Makes one, or changes one: a name that is not given stays as it is, the rest gets its default. Raises
        Conflict (`last_admin`)."""
        body = {"admin": admin, "disabled": disabled, **({} if name is None else {"name": name})}
        return parse(PrincipalRecord, self._write("PUT", path_of("api", "v1", "principals", principal_id), body))

    def remove_principal(self, principal_id: str) -> None:
        """For good: nobody gets that id again. Raises Conflict (`last_admin`)."""
        self._transport.request("DELETE", path_of("api", "v1", "principals", principal_id))

    # --- projects -----------------------------------------------------------------------------------------

    def projects(self) -> list[ProjectRecord]:
        """Those that we may look into."""
        return parse_list(ProjectRecord, self._transport.request("GET", "/api/v1/projects"))

    def project(self, project_id: str) -> ProjectRecord:
        response = self._transport.request("GET", path_of("api", "v1", "projects", project_id))
        return parse(ProjectRecord, response)

    def put_project(self, project_id: str, *, name: str | None = None, library: bool | None = None) -> ProjectRecord:
        """Makes one, or changes one; for admins. The algorithms of a library are there for all other projects. None: as
        it was, and at first without a name, and no library."""
        said = {"name": name, "library": library}
        wanted = {one: value for one, value in said.items() if value is not None}
        return parse(ProjectRecord, self._write("PUT", path_of("api", "v1", "projects", project_id), wanted))

    def remove_project(self, project_id: str, *, everything: bool = False) -> None:
        """For good: nobody gets that id again. Raises Conflict (`project_not_empty`) where it still owns something,
        unless `everything` is to go with it; and Unavailable (`project_removal_unfinished`): ask again."""
        params = {"all": True} if everything else None
        self._transport.request("DELETE", path_of("api", "v1", "projects", project_id), params=params)

    def algorithms_of(self, project_id: str) -> Iterator[AlgorithmRecord]:
        """All that is in a project, yours or a library; also what has a name that means another algorithm for you."""
        yield from pages(self._transport, "/api/v1/algorithms", AlgorithmRecord, {"project": project_id}, None)

    def members(self, project_id: str) -> list[MemberRecord]:
        response = self._transport.request("GET", path_of("api", "v1", "projects", project_id, "members"))
        return parse_list(MemberRecord, response)

    def put_member(self, project_id: str, principal_id: str, role: str) -> MemberRecord:
        """Makes somebody a viewer, member or manager of a project; for its managers, and for admins."""
        path = path_of("api", "v1", "projects", project_id, "members", principal_id)
        return parse(MemberRecord, self._write("PUT", path, {"role": role}))

    def remove_member(self, project_id: str, principal_id: str) -> None:
        """What they have made stays the project's."""
        path = path_of("api", "v1", "projects", project_id, "members", principal_id)
        self._transport.request("DELETE", path)

    def limits(self, project_id: str) -> LimitsRecord:
        """What a project may take at most, and what it has just now (`used`)."""
        response = self._transport.request("GET", path_of("api", "v1", "projects", project_id, "limits"))
        return parse(LimitsRecord, response)

    def put_limits(
        self,
        project_id: str,
        *,
        runs_at_once: int | None = None,
        runs_waiting: int | None = None,
        stored_bytes: int | None = None,
        max_wall_time: float | None = None,
        devices: Sequence[str] | None = None,
        weight: float = 1.0,
    ) -> LimitsRecord:
        """Sets all limits of a project anew, for admins: what is not given, or is None, is not limited.

        `max_wall_time`: seconds that one attempt of a run may take; `devices`: of `cpu`, `gpu`, `mps`; `weight`: its
        part of the workers' time beside other projects that have runs.
        """
        wanted = {
            "runs_at_once": runs_at_once,
            "runs_waiting": runs_waiting,
            "stored_bytes": stored_bytes,
            "max_wall_time": max_wall_time,
            "devices": None if devices is None else list(devices),
            "weight": weight,
        }
        path = path_of("api", "v1", "projects", project_id, "limits")
        return parse(LimitsRecord, self._write("PUT", path, wanted))

    def retention(self, project_id: str) -> RetentionRecord:
        """After how many days a project's files and records go."""
        response = self._transport.request("GET", path_of("api", "v1", "projects", project_id, "retention"))
        return parse(RetentionRecord, response)

    def put_retention(
        self,
        project_id: str,
        *,
        file_days: float | None = None,
        execution_days: float | None = None,
        training_days: float | None = None,
    ) -> RetentionRecord:
        """Sets all of it anew, for managers of the project and for admins. None: as long as the server keeps things."""
        wanted = {"file_days": file_days, "execution_days": execution_days, "training_days": training_days}
        path = path_of("api", "v1", "projects", project_id, "retention")
        return parse(RetentionRecord, self._write("PUT", path, wanted))

    def _write(self, method: str, path: str, body: Mapping[str, Any]) -> httpx.Response:
        return self._transport.request(method, path, json=as_json(body, "The request"))
