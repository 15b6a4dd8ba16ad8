"""What the client can do about who may do what: tokens, principals, projects and their members."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import httpx

from voxloom.client._async.pages import pages
from voxloom.client._async.transport import AsyncTransport, path_of
from voxloom.client._problems import parse, parse_list
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


class AsyncAccess:
    """The part of the client that is about who may do what. A server that asks nobody who they are answers `whoami`;
    all else raises Conflict (`auth_is_open`) there."""

    _transport: AsyncTransport

    async def whoami(self) -> WhoAmI:
        """Who we are to the server, and what we may do in which project."""
        return parse(WhoAmI, await self._transport.request("GET", "/api/v1/whoami"))

    # --- login --------------------------------------------------------------------------------------------

    async def how_to_log_in(self) -> LoginOffer:
        """Whether the server takes passwords, and which OpenID provider gives out tokens for it."""
        return parse(LoginOffer, await self._transport.request("GET", "/api/v1/login"))

    async def login(self, name: str, password: str, *, new_password: str | None = None) -> TokenMade:
        """Gets a token for a name and a password; from now on this client shows that one.

        `new_password`: in place of the old one from now on; a password that is good for one time wants one. Raises
        Unauthenticated (`login_failed`), NotAllowed (`password_login_off`, `password_must_change`), and TooMany
        (`too_many_logins`): try that again later. After failures the answer takes up to 15 seconds.
        """
        body = {"name": name, "password": password, "new_password": new_password}
        given = {key: value for key, value in body.items() if value is not None}
        made = parse(TokenMade, await self._write("POST", path_of("api", "v1", "login"), given))
        self._transport.show(made.token)
        return made

    async def logout(self) -> None:
        """Revokes the token that we show, and those that were made with it; we show none after that."""
        token_id = (await self.whoami()).token_id
        if token_id is not None:
            await self.revoke_token(token_id)
        self._transport.show(None)

    async def set_password(
        self, principal_id: str, password: str, *, old_password: str | None = None, one_time: bool = False
    ) -> None:
        """Sets ours, with the `old_password` if we have one; an admin sets those of all. Tokens that were got with the
        old one end, maybe also the one that we show. `one_time`: good for a week, and only to be changed."""
        body = {"password": password, "old_password": old_password, "one_time": one_time}
        given = {key: value for key, value in body.items() if value is not None}
        await self._write("PUT", path_of("api", "v1", "principals", principal_id, "password"), given)

    async def link_identity(self, principal_id: str, subject: str) -> None:
        """Who has this subject (`sub`) at the server's OpenID provider is this principal; for admins."""
        path = path_of("api", "v1", "principals", principal_id, "identity")
        await self._write("PUT", path, {"subject": subject})

    async def unlink_identity(self, principal_id: str) -> None:
        """The OpenID provider lets nobody in as this principal any more; for admins."""
        await self._transport.request("DELETE", path_of("api", "v1", "principals", principal_id, "identity"))

    async def end_tokens(self, principal_id: str) -> None:
        """Ends all tokens that were issued for somebody before now, those of the OpenID provider, too: ours, or
        anybody's for admins."""
        await self._transport.request("POST", path_of("api", "v1", "principals", principal_id, "logout"))

    async def remove_password(self, principal_id: str) -> None:
        """They log in by password no more; for admins."""
        await self._transport.request("DELETE", path_of("api", "v1", "principals", principal_id, "password"))

    # --- tokens -------------------------------------------------------------------------------------------

    async def create_token(
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
        return parse(TokenMade, await self._write("POST", path_of("api", "v1", "tokens"), given))

    async def tokens(self, principal_id: str | None = None) -> list[TokenRecord]:
        """Ours, the newest first; an admin sees all, or those of one principal."""
        params = {"principal_id": principal_id}
        return parse_list(TokenRecord, await self._transport.request("GET", "/api/v1/tokens", params=params))

    async def revoke_token(self, token_id: str) -> None:
        """Returns when it lets nobody in any more, nor do those that were made with it."""
        await self._transport.request("DELETE", path_of("api", "v1", "tokens", token_id))

    # --- principals ---------------------------------------------------------------------------------------

    async def principals(self) -> list[PrincipalRecord]:
        """People and programs that may ask; for admins."""
        return parse_list(PrincipalRecord, await self._transport.request("GET", "/api/v1/principals"))

    async def principal(self, principal_id: str) -> PrincipalRecord:
        response = await self._transport.request("GET", path_of("api", "v1", "principals", principal_id))
        return parse(PrincipalRecord, response)

    async def put_principal(
        self, principal_id: str, *, name: str | None = None, admin: bool = False, disabled: bool = False
    ) -> PrincipalRecord:
        """Makes one, or changes one: a name that is not given stays as it is, the rest gets its default. Raises
        Conflict (`last_admin`)."""
        body = {"admin": admin, "disabled": disabled, **({} if name is None else {"name": name})}
        return parse(PrincipalRecord, await self._write("PUT", path_of("api", "v1", "principals", principal_id), body))

    async def remove_principal(self, principal_id: str) -> None:
        """For good: nobody gets that id again. Raises Conflict (`last_admin`)."""
        await self._transport.request("DELETE", path_of("api", "v1", "principals", principal_id))

    # --- projects -----------------------------------------------------------------------------------------

    async def projects(self) -> list[ProjectRecord]:
        """Those that we may look into."""
        return parse_list(ProjectRecord, await self._transport.request("GET", "/api/v1/projects"))

    async def project(self, project_id: str) -> ProjectRecord:
        response = await self._transport.request("GET", path_of("api", "v1", "projects", project_id))
        return parse(ProjectRecord, response)

    async def put_project(
        self, project_id: str, *, name: str | None = None, library: bool | None = None
    ) -> ProjectRecord:
        """Makes one, or changes one; for admins. The algorithms of a library are there for all other projects. None: as
        it was, and at first without a name, and no library."""
        said = {"name": name, "library": library}
        wanted = {one: value for one, value in said.items() if value is not None}
        return parse(ProjectRecord, await self._write("PUT", path_of("api", "v1", "projects", project_id), wanted))

    async def remove_project(self, project_id: str, *, everything: bool = False) -> None:
        """For good: nobody gets that id again. Raises Conflict (`project_not_empty`) where it still owns something,
        unless `everything` is to go with it; and Unavailable (`project_removal_unfinished`): ask again."""
        params = {"all": True} if everything else None
        await self._transport.request("DELETE", path_of("api", "v1", "projects", project_id), params=params)

    async def algorithms_of(self, project_id: str) -> AsyncIterator[AlgorithmRecord]:
        """All that is in a project, yours or a library; also what has a name that means another algorithm for you."""
        async for one in pages(self._transport, "/api/v1/algorithms", AlgorithmRecord, {"project": project_id}, None):
            yield one

    async def members(self, project_id: str) -> list[MemberRecord]:
        response = await self._transport.request("GET", path_of("api", "v1", "projects", project_id, "members"))
        return parse_list(MemberRecord, response)

    async def put_member(self, project_id: str, principal_id: str, role: str) -> MemberRecord:
        """Makes somebody a viewer, member or manager of a project; for its managers, and for admins."""
        path = path_of("api", "v1", "projects", project_id, "members", principal_id)
        return parse(MemberRecord, await self._write("PUT", path, {"role": role}))

    async def remove_member(self, project_id: str, principal_id: str) -> None:
        """What they have made stays the project's."""
        path = path_of("api", "v1", "projects", project_id, "members", principal_id)
        await self._transport.request("DELETE", path)

    async def limits(self, project_id: str) -> LimitsRecord:
        """What a project may take at most, and what it has just now (`used`)."""
        response = await self._transport.request("GET", path_of("api", "v1", "projects", project_id, "limits"))
        return parse(LimitsRecord, response)

    async def put_limits(
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
        return parse(LimitsRecord, await self._write("PUT", path, wanted))

    async def retention(self, project_id: str) -> RetentionRecord:
        """After how many days a project's files and records go."""
        response = await self._transport.request("GET", path_of("api", "v1", "projects", project_id, "retention"))
        return parse(RetentionRecord, response)

    async def put_retention(
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
        return parse(RetentionRecord, await self._write("PUT", path, wanted))

    async def _write(self, method: str, path: str, body: Mapping[str, Any]) -> httpx.Response:
        return await self._transport.request(method, path, json=as_json(body, "The request"))
