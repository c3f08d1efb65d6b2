"""The client on the standard library: what a program with a copy of it can do, and what it is told."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tiny import picture, tiny_model

from matting_anything_core import client, matte, read_image
from matting_anything_core import client as module
from matting_anything_core.client import ClientError, connect, patiently, start
from matting_anything_core.image import encode_image
from matting_anything_core.server.endpoint import write_endpoint

from .service import BOX, Client, in_a_process, until

COMMAND = [sys.executable, "-m", "matting_anything_core.cli", "serve"]


@pytest.fixture
def service(client: Client) -> client.Service:
    found = connect(client.runtime)
    assert found is not None
    return found


def test_it_needs_nothing_but_the_standard_library() -> None:
    tree = ast.parse(Path(client.__file__).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {alias.name.partition(".")[0] for node in imports if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module).partition(".")[0] for node in imports if isinstance(node, ast.ImportFrom)}
    assert all(not node.level for node in imports if isinstance(node, ast.ImportFrom))
    assert names <= {*sys.stdlib_module_names, "__future__"}


def test_a_copy_of_it_works_alone(client: Client, tmp_path: Path) -> None:
    shutil.copy(module.__file__, tmp_path / "client.py")
    (tmp_path / "photo.png").write_bytes(encode_image(picture(40, 50)))
    code = ("import sys; from pathlib import Path; import client; s = client.connect(Path(sys.argv[1])); "
            "m = s.matte(s.upload_file('photo.png'), {'box': [5, 5, 40, 30]}); "
            "Path('out.png').write_bytes(s.fetch(m['matte'])); "
            "assert not [n for n in sys.modules if n.startswith(('numpy', 'matting'))]")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([sys.executable, "-S", "-c", code, str(client.runtime)], cwd=tmp_path, check=True, env=environment)
    truth = matte(picture(40, 50), [5, 5, 40, 30], model=tiny_model())
    np.testing.assert_allclose(read_image(tmp_path / "out.png").alpha / 255, truth.alpha, atol=0.002)


def test_rows_and_files_and_events(service: client.Service) -> None:
    pixels = picture(64, 80)
    strips = [part.tobytes() for part in np.array_split(pixels, 5)]
    image = service.upload_pixels(strips, 80, 64, 3, "u8")
    events: list[dict] = []
    found = service.matte(image, BOX, events.append, guidance="alpha")
    truth = matte(pixels, BOX, guidance="alpha", model=tiny_model())
    assert found["score"] == truth.score
    assert {"encode", "matte"} & {event.get("stage") for event in events}
    rows = b"".join(service.rows(found["matte"], "alpha", "u16", (80, 64, 1)))
    np.testing.assert_allclose(np.frombuffer(rows, "<u2").reshape(64, 80) / 65535, truth.alpha, atol=1 / 65535)
    composite = read_image(service.fetch(found["matte"], "composite", "png8", background="#102030"))
    np.testing.assert_allclose(composite.rgb, truth.composite((16, 32, 48)).rgb, atol=1)
    service.forget(found["matte"])
    service.forget(found["matte"])
    with pytest.raises(ClientError, match="could not keep the picture") as caught:
        service.fetch(found["matte"])
    assert caught.value.kind == "NotFound"


def test_what_the_service_refuses_is_told_in_its_words(service: client.Service) -> None:
    image = service.upload_pixels([picture(20, 30).tobytes()], 30, 20, 3, "u8")
    with pytest.raises(ClientError, match="outside") as caught:
        service.matte(image, {"box": [100, 100, 200, 200]})
    assert caught.value.kind == "PromptError"
    with pytest.raises(ClientError, match=r"5000 × 5000.*Scale") as caught:
        client.Service(1, "t", {"limits": {"pixels": 10**6}}).upload_pixels([], 5000, 5000, 3, "u8")
    assert caught.value.kind == "TooLarge"
    assert caught.value.template.format(**caught.value.values) == str(caught.value)


def test_what_a_callback_raises_is_passed_on(service: client.Service) -> None:
    image = service.upload_pixels([picture(20, 31).tobytes()], 31, 20, 3, "u8")

    def leave(_event: dict) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        service.matte(image, {"box": [2, 2, 20, 18]}, leave)


def test_giving_up_ends_the_wait() -> None:
    end = threading.Event()

    def give_up() -> None:
        raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        patiently(lambda: end.wait(60), give_up, end.set)
    assert time.monotonic() - began < 30


def test_no_service_is_none(runtime: Path) -> None:
    assert connect() is None
    runtime.mkdir()
    (runtime / "server.json").write_text('{"port": 1, "token": "x", "pid": 1}')
    assert connect() is None


@pytest.fixture
def stopped(runtime: Path) -> Iterator[subprocess.Popen[str]]:
    """A service that hangs: its process is stopped."""
    with in_a_process(runtime) as (process, _client):
        process.send_signal(signal.SIGSTOP)
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot stop a process for a while")
def test_a_hung_service_is_named_with_a_command_that_works(
    stopped: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "ANSWER", 1.0)
    stop = f"{sys.executable} -m matting_anything_core.cli serve --stop"
    with pytest.raises(ClientError, match=f"process {stopped.pid}.*serve --stop") as caught:
        connect(stop=stop)
    assert caught.value.kind == "Hung"
    done = subprocess.run(str(caught.value.values["command"]), shell=True, capture_output=True, text=True, check=True)
    assert f"process {stopped.pid} was ended" in done.stdout
    stopped.wait(30)
    assert connect() is None


def test_a_port_that_another_program_has_taken_is_no_hung_service(
    client: Client, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes the connection and says nothing; but no service holds the lock."""
    monkeypatch.setattr(module, "ANSWER", 0.5)
    runtime.mkdir()
    (runtime / "server.lock").touch()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        write_endpoint(type(client.endpoint)(**{**client.endpoint.__dict__, "port": other.getsockname()[1]}))
        assert connect() is None


def test_a_command_that_cannot_be_run_and_one_that_ends(runtime: Path, tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="/no/such/python") as caught:
        start(["/no/such/python"])
    assert caught.value.kind == "NoProgram"
    with pytest.raises(ClientError, match=r"exit status 3.*out of ink") as caught:
        start([sys.executable, "-c", "import sys; print('out of ink', file=sys.stderr); sys.exit(3)"])
    assert caught.value.kind == "EndedEarly"
    with pytest.raises(ClientError) as caught:
        start([sys.executable, "-S", "-m", "no_such_package"])
    assert caught.value.kind == "NoPackage"


@pytest.mark.skipif(not sys.platform.startswith("linux") or os.geteuid() != 0, reason="needs to mount a small disk")
def test_a_full_disk_is_named(tmp_path: Path) -> None:
    """Files can be made there, but they stay empty, and so does the log of the service that ends at once."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        with contextlib.suppress(OSError), open(disk / "filling", "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        command = [sys.executable, "-c", "import sys; print('it ends', file=sys.stderr); sys.exit(2)"]
        with pytest.raises(ClientError, match=f"{disk}.* is full") as caught:
            start(command, folder=disk)
        assert caught.value.kind == "DiskFull"
        (disk / "filling").unlink()
        with pytest.raises(ClientError, match="it ends"):
            start(command, folder=disk)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_start_and_shut_down(runtime: Path) -> None:
    seen: list[int] = []
    service = start([*COMMAND, "--idle-exit", "1"], meanwhile=lambda: seen.append(1))
    try:
        assert seen
        assert service.token not in (runtime / "start.log").read_text() + repr(service)
        again = connect()
        assert again is not None
        assert again.status["pid"] == service.status["pid"]
    finally:
        service.shut_down()
    until(lambda: connect() is None)
    with pytest.raises(ClientError, match="Try again"):
        service.matte("x", BOX)


DOCS = Path(__file__).parents[2] / "docs" / "service.md"


def examples(language: str) -> list[str]:
    """The code blocks of a language in docs/service.md."""
    return re.findall(rf"^```{language}\n(.*?)^```", DOCS.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def test_the_documents_examples_work(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photo.jpg").write_bytes(encode_image(picture(720, 600), "jpeg"))
    monkeypatch.setenv("MATTING_ANYTHING_RUNTIME", str(client.runtime))
    form, whole = examples("python")
    assert 15 <= len(whole.splitlines()) <= 30
    done = subprocess.run([sys.executable, "-c", whole], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert read_image(tmp_path / "cutout.png").alpha is not None
    (tmp_path / "cutout.png").unlink()
    token = f"import requests; url, token = {client.endpoint.url!r}, {client.endpoint.token!r}\n"
    subprocess.run([sys.executable, "-c", token + form], cwd=tmp_path, check=True)
    assert read_image(tmp_path / "cutout.png").alpha is not None
    if shutil.which("curl"):
        [shell] = [block for block in examples("sh") if "curl" in block]
        commands = shell.partition("\n\n")[0].split("TOKEN=$(jq -r .token $S)\n")[1]
        run = f"set -e; URL={client.endpoint.url}; TOKEN={client.endpoint.token}\n{commands}"
        subprocess.run(["sh", "-c", run], cwd=tmp_path, check=True)
        assert (tmp_path / "white.jpg").read_bytes()[:2] == b"\xff\xd8"
    if shutil.which("node"):
        [script] = examples("js")
        begin = f"const url = {client.endpoint.url!r}, token = {client.endpoint.token!r};\n"
        (tmp_path / "cutout.png").unlink()
        (tmp_path / "example.mjs").write_text(re.sub(r"(import .*?\n)\n", rf"\1\n{begin}", script, count=1, flags=re.S))
        version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
        if int(version[1:].partition(".")[0]) >= 20:
            subprocess.run(["node", "example.mjs"], cwd=tmp_path, check=True)
            assert read_image(tmp_path / "cutout.png").alpha is not None


def test_a_service_on_the_port_of_one_that_was_killed_is_found(client: Client, runtime: Path) -> None:
    """Until it has left its own address, that of the other one stands there."""
    runtime.mkdir()
    mine = client.endpoint
    write_endpoint(type(mine)(**{**mine.__dict__, "token": "of the other one"}))
    leaving = threading.Timer(0.4, write_endpoint, [mine])
    leaving.start()
    found = connect()
    leaving.join()
    assert found is not None
    assert found.status["protocol"] == 1
    threading.Timer(0.4, (runtime / "server.json").unlink).start()
    write_endpoint(type(mine)(**{**mine.__dict__, "token": "of one that has ended"}))
    assert connect() is None


def test_a_wrong_token_and_another_protocol(client: Client, runtime: Path) -> None:
    runtime.mkdir()
    mine = client.endpoint
    write_endpoint(type(mine)(**{**mine.__dict__, "token": "wrong"}))
    with pytest.raises(ClientError, match=f"process {mine.pid}.*delete") as caught:
        connect()
    assert caught.value.kind == "Unauthorized"
    assert json.loads((runtime / "server.json").read_text())["token"] == "wrong"
