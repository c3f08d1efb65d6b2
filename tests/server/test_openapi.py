"""The OpenAPI document is true: schemathesis makes requests of it and compares the answers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tiny import picture

from .service import BOX, Client

CONFIG = """\
[parameters]
"path.image" = "{image}"
"path.matte" = "{matte}"
[checks]
# A body that the document calls a picture is one of many bytes; what makes them a picture no schema says.
positive_data_acceptance.enabled = false
"""


@pytest.mark.parametrize("selection", [("--exclude-method", "DELETE"), ("--include-method", "DELETE")])
def test_the_document_is_true(client: Client, tmp_path: Path, selection: tuple[str, str]) -> None:
    pytest.importorskip("schemathesis")
    image = client.upload(picture(40, 50))
    matte = client.mattes(image, BOX).json()["mattes"][0]["matte"]
    (tmp_path / "config.toml").write_text(CONFIG.format(image=image, matte=matte))
    command = [Path(sys.executable).with_name("schemathesis"), "--config-file", "config.toml", "run",
               "--exclude-path", "/v1/shutdown", *selection, "--max-examples", "20", "--generation-deterministic",
               "-H", f"Authorization: Bearer {client.endpoint.token}", client.endpoint.url + "/openapi.json"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "passed" in run.stdout


def test_every_path_is_described_and_no_other(client: Client) -> None:
    paths = client("GET", "/openapi.json").json()["paths"]
    for path, operations in paths.items():
        for method in ("get", "post", "put", "delete", "patch"):
            if (path, method) == ("/v1/shutdown", "post"):
                continue
            status = client(method.upper(), path.replace("{image}", "x").replace("{matte}", "x")).status_code
            assert (status == 405) == (method not in operations), (method, path)
