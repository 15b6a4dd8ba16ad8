"""The gateway over TLS with a real certificate, and what other pages may do as the settings have it."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.settings import load_settings
from tests.certificates import Certified, self_signed
from tests.contract.gateway_world import HDF5, client_of, world_at
from voxloom.client import AsyncClient
from voxloom.errors import Misconfigured, Unavailable

ORIGIN = {"Origin": "https://viewer.example"}
ASKING = {**ORIGIN, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "x-mine"}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    return self_signed(tmp_path_factory.mktemp("tls"), "one")


async def refusal(folder: Path, **settings: Any) -> str:
    with pytest.raises(Misconfigured) as caught:
        async with world_at(folder, **settings):
            pass
    return caught.value.message


class TestTls:
    async def test_everything_goes_over_tls_and_urls_say_so(self, tmp_path: Path, pair: Certified) -> None:
        trusting = ssl.create_default_context(cafile=str(pair[0]))
        async with world_at(tmp_path, tls_certificate=pair[0], tls_key=pair[1]) as world:
            assert world.gateway.url.startswith("https://127.0.0.1:")
            async with httpx.AsyncClient(base_url=world.gateway.url, verify=trusting) as client:
                file_id = (await client.post("/api/v0/files", content=HDF5)).json()["file_id"]
                url = (await client.get(f"/api/v1/files/{file_id}/download-url")).json()["url"]
                assert (url.startswith("https://"), (await client.get(url)).content) == (True, HDF5)

    async def test_the_client_trusts_the_certificate_that_the_environment_names(
        self, tmp_path: Path, pair: Certified, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with world_at(tmp_path, tls_certificate=pair[0], tls_key=pair[1]) as world:
            monkeypatch.setenv("SSL_CERT_FILE", str(pair[0]))
            async with AsyncClient(world.gateway.url) as client:
                assert (await client.server()).version
            monkeypatch.delenv("SSL_CERT_FILE")
            with pytest.raises(Unavailable):
                async with AsyncClient(world.gateway.url) as client:
                    await client.server()

    async def test_who_speaks_plain_http_gets_nothing(self, tmp_path: Path, pair: Certified) -> None:
        secure = world_at(tmp_path, tls_certificate=pair[0], tls_key=pair[1])
        async with secure as world, httpx.AsyncClient() as client:
            with pytest.raises(httpx.HTTPError):
                await client.get(world.gateway.url.replace("https", "http"))

    async def test_both_may_be_in_one_file(self, tmp_path: Path, pair: Certified) -> None:
        both = tmp_path / "both.pem"
        both.write_bytes(pair[1].read_bytes() + pair[0].read_bytes())
        async with world_at(tmp_path, tls_certificate=both) as world, httpx.AsyncClient(verify=False) as client:
            assert (await client.get(f"{world.gateway.url}/livez")).status_code == 200

    async def test_a_missing_file_is_named(self, tmp_path: Path, pair: Certified) -> None:
        said = await refusal(tmp_path, tls_certificate=pair[0], tls_key=tmp_path / "none.pem")
        assert ("none.pem" in said, "tls_key" in said) == (True, True)

    async def test_what_is_no_certificate_is_named(self, tmp_path: Path, pair: Certified) -> None:
        (tmp_path / "text.pem").write_text("hello")
        assert "text.pem" in await refusal(tmp_path, tls_certificate=tmp_path / "text.pem", tls_key=pair[1])

    async def test_the_key_of_another_certificate_is_told(self, tmp_path: Path, pair: Certified) -> None:
        other = self_signed(tmp_path, "other")
        said = await refusal(tmp_path, tls_certificate=pair[0], tls_key=other[1])
        assert "is not that of the certificate" in said

    async def test_a_key_with_a_password_is_told_and_nobody_is_asked(self, tmp_path: Path, pair: Certified) -> None:
        locked = tmp_path / "locked.pem"
        command = ["openssl", "ec", "-in", str(pair[1]), "-aes256", "-passout", "pass:secret", "-out", str(locked)]
        subprocess.run(command, check=True, capture_output=True)
        assert "has a password" in await refusal(tmp_path, tls_certificate=pair[0], tls_key=locked)

    def test_a_key_alone_is_refused(self) -> None:
        with pytest.raises(Misconfigured, match="tls_certificate"):
            load_settings(tls_key=Path("key.pem"))


class TestOtherPages:
    async def test_without_settings_no_page_may_anything(self, tmp_path: Path) -> None:
        async with world_at(tmp_path) as world, client_of(world) as client:
            answer = await client.options("/api/v0/files", headers=ASKING)
            plain = await client.get("/", headers=ORIGIN)
        assert [name for one in (answer, plain) for name in one.headers if name.startswith("access-control")] == []

    async def test_methods_headers_age_and_what_they_may_read_are_settings(self, tmp_path: Path) -> None:
        settings = {
            "cors_origins": ["https://viewer.example"],
            "cors_methods": ["get", "PUT"],
            "cors_headers": ["Range", "X-Mine"],
            "cors_expose": ["ETag"],
            "cors_max_age": 7,
        }
        async with world_at(tmp_path, **settings) as world, client_of(world) as client:
            asked = (await client.options("/api/v0/files", headers=ASKING)).headers
            plain = (await client.get("/", headers=ORIGIN)).headers
            refused = await client.post("/api/v0/execute-algorithm", content=b"{}", headers=ORIGIN)
        assert (asked["Access-Control-Allow-Methods"], asked["Access-Control-Max-Age"]) == ("GET, PUT", "7")
        assert asked["Access-Control-Allow-Headers"] == "Range, X-Mine"
        assert plain["Access-Control-Expose-Headers"] == "ETag"
        assert (refused.status_code, "cors_methods" in refused.json()["detail"]) == (403, True)
