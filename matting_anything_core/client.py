"""A client of the local service, on Python's standard library alone.

It imports nothing of this package, so that a program with a Python of its own (GIMP, Krita, Blender …) may carry a copy
of this file. docs/service.md describes the protocol.

    service = connect() or start([python, "-m", "matting_anything_core.cli", "serve"])
    image = service.upload_file("photo.jpg")
    matte = service.matte(image, {"box": [120, 40, 560, 700]})
    cutout = service.fetch(matte["matte"], "cutout", "png8")

The service answers on 127.0.0.1 only. Its port and the token that opens it are in `server.json`, readable for this user
alone. Closing a connection cancels what was asked on it: so does the end of this process, and an exception in one of
the callbacks.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import urlencode

PROTOCOL = 1
SERVE, STOP = "matting-anything serve", "matting-anything serve --stop"
ANSWER, SILENCE, LONG = 10.0, 60.0, 1800.0
"""Seconds without a byte until the service counts as hung: for its status; while it mattes, when it says every 2 s that
it is alive; while it makes clean colours, when it says nothing."""
STARTING = 180.0
"""Seconds to wait for a service that starts: the first import of torch from a slow disk takes minutes."""
REPLACING = 3.0
"""Seconds in which a service that has begun leaves its address."""
STRIP = 4 << 20
"""Bytes of pixels that are handled at a time."""

Wait = Callable[[], None]
"""Called again and again while waiting, to move a bar; it may raise to give up."""
T = TypeVar("T")


def _(text: str) -> str:
    """Marks a text that programs with a copy of this file may translate; see ClientError."""
    return text


class ClientError(Exception):
    """What went wrong, and what to do about it.

    Parameters
    ----------
    template : str
        The text in English, with the names of `values` in braces. A program in another language looks this up.
    kind : str
        The service's name for the error (NothingFoundError, QueueFull …), or one of this client's own: Hung, Lost,
        Unauthorized, OtherVersion, TooLarge, NoProgram, NoPackage, EndedEarly, StartsTooLong, NoFolder, DiskFull.
    values
        What is filled into the template.
    """

    def __init__(self, template: str, kind: str = "", **values: object) -> None:
        super().__init__(template.format(**values) if values else template)
        self.template, self.kind, self.values = template, kind, values


def runtime_folder() -> Path:
    """The folder in which the service leaves its address: MATTING_ANYTHING_RUNTIME, else in the user's cache folder.

    Written literally, not through XDG variables: Flatpak redirects those, and its programs must find it too.
    """
    if chosen := os.environ.get("MATTING_ANYTHING_RUNTIME"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "matting_anything"
    return Path.home() / ".cache" / "matting_anything"


def connect(folder: Path | None = None, *, stop: str = STOP, meanwhile: Wait | None = None) -> Service | None:
    """The service that runs.

    Parameters
    ----------
    folder : Path, optional
        Where it leaves its address; `runtime_folder()` unless given.
    stop : str
        The command that ends a service that does not answer, as errors name it.
    meanwhile : callable, optional
        Called while waiting.

    Returns
    -------
    Service or None
        None when there is none: an address that one has left behind which is gone counts for nothing.

    Raises
    ------
    ClientError
        It does not answer (Hung), does not take the token it has left (Unauthorized), or speaks another version of the
        protocol (OtherVersion).
    """
    file = (runtime_folder() if folder is None else folder) / "server.json"
    try:
        endpoint = json.loads(file.read_text(encoding="utf-8"))
        port, token, process = int(endpoint["port"]), str(endpoint["token"]), endpoint.get("pid")
    except (OSError, ValueError, KeyError, TypeError):
        return None
    try:
        status = patiently(lambda: _status(port, token), meanwhile)
    except TimeoutError:
        if not _lives(file.parent):
            return None
        raise ClientError(_("The matting service (process {process}) runs, but it has not answered for {seconds} "
                            "seconds. End it with “{command}” and try again."), "Hung",
                          process=process, seconds=int(ANSWER), command=stop) from None
    except (OSError, ValueError, http.client.HTTPException):
        return None
    if status is None:
        return None
    if (status.get("error") or {}).get("kind") == "Unauthorized":
        if _replaced(file, endpoint, meanwhile):
            return connect(folder, stop=stop, meanwhile=meanwhile)
        raise ClientError(_("The running service does not take the token of {file}. End the process {process}, delete "
                            "that file and try again."), "Unauthorized", file=file, process=process)
    if status.get("protocol") != PROTOCOL:
        raise ClientError(_("The running service speaks version {theirs} of the protocol, this program version {ours}. "
                            "End it with “{command}”, and install both anew from one version."), "OtherVersion",
                          theirs=status.get("protocol"), ours=PROTOCOL, command=stop)
    return Service(port, token, status, file.parent, stop)


def _replaced(file: Path, endpoint: object, meanwhile: Wait | None) -> bool:
    """Whether an address is replaced by another one soon: a service that begins may have got the port of one that was
    killed, before its own address stands in the place of that one's."""
    until = time.monotonic() + REPLACING
    while time.monotonic() < until:
        with contextlib.suppress(ValueError):
            try:
                if json.loads(file.read_text(encoding="utf-8")) != endpoint:
                    return True
            except OSError:
                return True
        time.sleep(0.05)
        if meanwhile is not None:
            meanwhile()
    return False


def _status(port: int, token: str) -> dict[str, Any] | None:
    """What the service says about itself, or the error it answers with; None when that is no service."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER)
    try:
        connection.request("GET", "/v1/status", headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        return _json(answer) or None if answer.status in (200, 401) else None
    finally:
        connection.close()


def _lives(folder: Path) -> bool:
    """Whether a service holds the lock of its folder. Its process cannot be asked for: this program may live in a
    sandbox or container, where processes have other numbers."""
    try:
        with open(folder / "server.lock", "r+b") as file:
            return not _try_lock(file)
    except OSError:
        return False


@dataclass(frozen=True)
class Service:
    """A running service. Any number of threads may use it: each request is a connection of its own.

    status is what it said about itself when it was found: models, device, limits, formats …
    """

    port: int
    token: str = field(repr=False)
    status: dict[str, Any] = field(repr=False)
    folder: Path = field(default_factory=runtime_folder, repr=False)
    stop_command: str = field(default=STOP, repr=False)

    def upload_file(self, path: str | os.PathLike[str], meanwhile: Wait | None = None) -> str:
        """Send a picture file; returns the picture's id at the service, which is the same for the same content."""
        types = {suffix: kind for kind, suffixes in (self.status.get("formats") or {}).items() for suffix in suffixes}
        kind = types.get(os.path.splitext(os.fspath(path))[1].lower(), "image/png")  # its content decides in the end
        with open(path, "rb") as file:
            length = os.fstat(file.fileno()).st_size
            headers = {"Content-Type": kind, "Content-Length": str(length)}
            with self._answer("POST", "/v1/images", iter(lambda: file.read(STRIP), b""), headers, meanwhile) as answer:
                return str(_json(answer)["image"])

    def upload_pixels(self, strips: Iterable[bytes], width: int, height: int, channels: int, dtype: str) -> str:
        """Send a picture as raw pixels, row by row, sRGB, little endian; returns its id at the service.

        channels: 1 (gray), 3 (RGB) or 4 (straight RGBA). dtype: "u8", "u16", "f32". Raises ClientError for a picture
        beyond the service's limits before anything is sent.
        """
        pixel_bytes = channels * int(dtype[1:]) // 8
        self._check_size(width, height, pixel_bytes)
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(width * height * pixel_bytes)}
        query = urlencode({"width": width, "height": height, "channels": channels, "dtype": dtype})
        with self._answer("POST", f"/v1/images?{query}", strips, headers) as answer:
            return str(_json(answer)["image"])

    def _check_size(self, width: int, height: int, pixel_bytes: int) -> None:
        limits = self.status.get("limits") or {}
        pixels, size = width * height, width * height * pixel_bytes
        if pixels > limits.get("pixels", pixels) or size > limits.get("body_bytes", size):
            raise ClientError(_("The picture has {width} × {height} pixels ({size} MB); the service takes up to "
                                "{pixels} megapixels and {limit} MB. Scale it or crop it to what you need."),
                              "TooLarge", width=width, height=height, size=size // 1_000_000,
                              pixels=limits.get("pixels", 0) // 1_000_000,
                              limit=limits.get("body_bytes", 0) // 1_000_000)

    def matte(self, image: str, prompt: Mapping[str, Any], told: Callable[[dict[str, Any]], None] | None = None,
              **options: Any) -> dict[str, Any]:
        """Matte one object of a picture.

        Parameters
        ----------
        image : str
            The picture's id.
        prompt : mapping
            {"box": [x0, y0, x1, y1], "points": [[x, y], …], "labels": [1, 0, …], "text": …, "mask": …}: any mixture.
        told : callable, optional
            Gets every event while it works: {"event": "progress", "stage": …, "share": 0..1} and the like.
        options
            model, and how the matte is made: guidance, sides, postprocess, detail, reference.

        Returns
        -------
        dict
            The matte: its id is under "matte", beside it "score", "box", "width", "height", "empty" …
        """
        return self.mattes(image, [prompt], told, **options)[0]

    def mattes(self, image: str, prompts: Sequence[Mapping[str, Any]],
               told: Callable[[dict[str, Any]], None] | None = None, **options: Any) -> list[dict[str, Any]]:
        """Matte several objects of a picture: as `matte`, one for each prompt, or with all_matches=True as many as the
        words in them fit."""
        body = json.dumps({"prompts": [dict(prompt) for prompt in prompts], **options}).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/x-ndjson"}
        with self._answer("POST", f"/v1/images/{image}/mattes", body, headers) as answer:
            while line := self._read(answer.readline):
                event = json.loads(line)
                if event.get("event") == "error":
                    raise _refused(event)
                if event.get("event") == "done":
                    found: list[dict[str, Any]] = event["mattes"]
                    return found
                if told is not None:
                    told(event)
        raise self._lost(None)

    def combined(self, image: str, mattes: Sequence[str | Mapping[str, Any]]) -> str:
        """Keep one matte of several of a picture; returns its id. mattes: ids, or alphas as masks are given."""
        body = json.dumps({"of": list(mattes)}).encode()
        headers = {"Content-Type": "application/json"}
        with self._answer("POST", f"/v1/images/{image}/combined", body, headers) as answer:
            return str(_json(answer)["matte"])

    def fetch(self, matte: str, output: str = "cutout", form: str = "png8", meanwhile: Wait | None = None,
              **query: object) -> bytes:
        """An output of a matte as a file: alpha, mask, foreground, cutout, or composite (background="#ffffff")."""
        path = f"/v1/mattes/{matte}/{output}?{urlencode({'format': form, **query})}"
        with self._answer("GET", path, None, {}, meanwhile or _nothing) as answer:
            return self._read(answer.read)

    def rows(self, matte: str, output: str, dtype: str, size: tuple[int, int, int],
             meanwhile: Wait | None = None) -> Iterator[bytes]:
        """An output of a matte as raw pixels, in strips of whole rows, top to bottom.

        size: width, height and channels that are expected. `meanwhile` is called until the first row is there.
        """
        width, height, channels = size
        row = width * channels * int(dtype[1:]) // 8
        path = f"/v1/mattes/{matte}/{output}?format={dtype}"
        with self._answer("GET", path, None, {}, meanwhile or _nothing) as answer:
            said = answer.getheader("X-Width"), answer.getheader("X-Height"), answer.getheader("X-Channels")
            if said != (str(width), str(height), str(channels)):
                raise ClientError(_("The service sent a picture of another size ({said}). Install it and this program "
                                    "anew from one version."), "OtherVersion", said=" × ".join(map(str, said)))
            rows = max(1, STRIP // row)
            for top in range(0, height, rows):
                expected = row * min(rows, height - top)
                data = self._read(partial(answer.read, expected))
                if len(data) != expected:
                    raise self._lost(None)
                yield data

    def forget(self, matte: str) -> None:
        """Let the service free a matte's memory, unless it has done so."""
        with contextlib.suppress(ClientError), self._answer("DELETE", f"/v1/mattes/{matte}", None, {}):
            pass

    def shut_down(self) -> None:
        """Ask the service to end; it gives the running job some seconds."""
        with self._answer("POST", "/v1/shutdown", b"", {}):
            pass

    @contextlib.contextmanager
    def _answer(self, method: str, path: str, body: bytes | Iterable[bytes] | None, headers: dict[str, str],
                meanwhile: Wait | None = None) -> Iterator[http.client.HTTPResponse]:
        """The answer to one request on a connection of its own, which closes at the end. Raises ClientError."""
        timeout = SILENCE if meanwhile is None else LONG
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout, blocksize=STRIP)
        headers = {"Authorization": f"Bearer {self.token}", **headers}
        try:
            try:
                # It may refuse before the end of the body; then it has said why.
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    connection.request(method, path, body, headers)
            except (OSError, http.client.HTTPException) as error:
                raise self._lost(error, timeout) from error
            answer = self._read(lambda: patiently(connection.getresponse, meanwhile, lambda: _hang_up(connection)),
                                timeout)
            if answer.status >= 400:
                raise _refused(self._read(partial(_json, answer)).get("error") or {"message": answer.reason},
                               answer.status)
            yield answer
        finally:
            connection.close()

    def _read(self, work: Callable[[], T], timeout: float = SILENCE) -> T:
        """What a read from the connection gives. Raises ClientError when the service is lost in the middle of it."""
        try:
            return work()
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._lost(error, timeout) from error

    def _lost(self, error: Exception | None, timeout: float = SILENCE) -> ClientError:
        process = self.status.get("pid")
        if isinstance(error, TimeoutError):
            return ClientError(_("The matting service (process {process}) runs, but it has not answered for {seconds} "
                                 "seconds. End it with “{command}” and try again."), "Hung",
                               process=process, seconds=int(timeout), command=self.stop_command)
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            return ClientError(_("The disk is full ({error}). Free some space and try again."), "DiskFull", error=error)
        detail = f" ({type(error).__name__}: {error})" if error else ""
        return ClientError(_("The service ended in the middle of its work{detail}. Try again: it is started anew. If "
                             "that repeats, look into {log}."), "Lost", detail=detail, log=self.folder / "server.log")


def _nothing() -> None:
    """What is done while waiting when nobody wants to hear of it."""


def _hang_up(connection: http.client.HTTPConnection) -> None:
    """Wake whoever waits for an answer; the service cancels the job."""
    if connection.sock is not None:
        with contextlib.suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)


def patiently(work: Callable[[], T], meanwhile: Wait | None, give_up: Wait = _nothing) -> T:
    """The result of `work`. With `meanwhile` it is done in a thread, and that is called every 50 ms until it is there.

    give_up: called when `meanwhile` raises, so that `work` ends.
    """
    if meanwhile is None:
        return work()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work)
        try:
            while not wait([future], timeout=0.05).done:
                meanwhile()
        except BaseException:
            give_up()
            raise
        return future.result()


def _json(answer: http.client.HTTPResponse) -> dict[str, Any]:
    try:
        value = json.loads(answer.read(1 << 20))
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {}


def _refused(error: dict[str, Any], status: int = 0) -> ClientError:
    """What the service says about a request it does not take, with the remedy where its text has none."""
    kind, message = str(error.get("kind", "")), str(error.get("message", ""))
    if status == 429:
        return ClientError(_("The service is busy with other pictures. Try again in a moment."), kind)
    if status == 503 and kind == "Stopping":
        return ClientError(_("The service is just ending. Try again: it is started anew."), kind)
    if status == 404:
        return ClientError(_("The service could not keep the picture: others took its memory. Try again."), kind)
    if kind == "NothingFoundError":
        return ClientError(_("Nothing was found: {message}. Use other words, or select a box around the subject."),
                           kind, message=message.rstrip("."))
    if not message:
        return ClientError(_("The service refused (status {status})."), kind, status=status)
    return ClientError("{message}", kind, message=message[:1].upper() + message[1:])


def start(
    command: Sequence[str], *, folder: Path | None = None, environment: Mapping[str, str] | None = None,
    stop: str = STOP, meanwhile: Wait = _nothing,
) -> Service:
    """Start a service and wait until it answers; of several programs that do so at once one does it for all.

    Parameters
    ----------
    command : sequence of str
        What to run, for example [python, "-m", "matting_anything_core.cli", "serve", "--idle-exit", "15"]. It outlives
        this process.
    folder : Path, optional
        Where it will leave its address; `runtime_folder()` unless given.
    environment : mapping, optional
        Its variables; those of this process unless given.
    stop, meanwhile
        As for `connect`.

    Raises
    ------
    ClientError
        It cannot be run (NoProgram), lacks the package (NoPackage), ends at once (EndedEarly, with the last line it
        wrote; DiskFull), or does not answer in time (StartsTooLong; it is ended then).
    """
    folder = runtime_folder() if folder is None else folder
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _lock(folder / "start.lock", meanwhile):
            found = connect(folder, stop=stop, meanwhile=meanwhile)
            return found or _start(command, folder, environment, stop, meanwhile)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _disk_full(folder) from None
        raise ClientError(_("The service's folder {folder} cannot be used: {error}. Make it writable for you."),
                          "NoFolder", folder=folder, error=error) from None


def _start(command: Sequence[str], folder: Path, environment: Mapping[str, str] | None, stop: str,
           meanwhile: Wait) -> Service:
    log = folder / "start.log"
    with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as complaints:
        process = _spawn(command, environment, complaints)
    deadline = time.monotonic() + STARTING
    while time.monotonic() < deadline:
        service = connect(folder, stop=stop, meanwhile=meanwhile)
        if service is None and process.poll() is not None:
            service = connect(folder, stop=stop)  # a launcher ends where the service it has started goes on
            if service is None:
                raise _early_end(process, log)
        if service is not None:
            return service
        meanwhile()
        time.sleep(0.05)
    _end(process)
    raise ClientError(_("The service did not answer within {seconds} seconds. Its last line was: {line} — run "
                        "“{command}” in a terminal to see more."), "StartsTooLong",
                      seconds=int(STARTING), line=last_line(log), command=SERVE)


def _spawn(command: Sequence[str], environment: Mapping[str, str] | None,
           complaints: IO[bytes]) -> subprocess.Popen[bytes]:
    """A process of its own that outlives this one."""
    detached: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        detached = {"creationflags": subprocess.DETACHED_PROCESS | subprocess.CREATE_NO_WINDOW
                    | subprocess.CREATE_NEW_PROCESS_GROUP}
    try:
        # Its standard output holds the token; nobody is to read that from a file.
        return subprocess.Popen(list(command), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=complaints,
                                cwd=os.path.expanduser("~"), env=environment, **detached)
    except OSError as error:
        raise ClientError(_("“{program}” cannot be run: {error}."), "NoProgram", program=command[0],
                          error=error.strerror) from None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process with all that it has started."""
    if sys.platform == "win32":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _early_end(process: subprocess.Popen[bytes], log: Path) -> ClientError:
    line = last_line(log)
    if not line and _is_full(log.parent):
        return _disk_full(log.parent)
    kind = "NoPackage" if "No module named" in line else "EndedEarly"
    return ClientError(_("The service ended at once (exit status {status}): {line} — run “{command}” in a terminal to "
                         "see more."), kind, status=process.returncode, line=line or "–", command=SERVE)


def _disk_full(folder: Path) -> ClientError:
    return ClientError(_("The service cannot start: the disk that holds {folder} is full. Free some space and try "
                         "again."), "DiskFull", folder=folder)


def _is_full(folder: Path) -> bool:
    """Whether nothing can be written into a folder: files can be made on a full disk, but they stay empty."""
    probe = folder / f".space-{os.getpid()}"
    try:
        with open(probe, "wb") as file:
            file.write(bytes(1 << 16))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()
    return False


def last_line(file: Path) -> str:
    """The last line of a log that holds anything, cut to 300 characters; "" when there is none."""
    try:
        with open(file, "rb") as source:
            source.seek(max(0, file.stat().st_size - 4096))
            lines = source.read().decode("utf-8", "replace").split("\n")
    except OSError:
        return ""
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")


@contextlib.contextmanager
def _lock(file: Path, meanwhile: Wait) -> Iterator[None]:
    """Hold a lock that ends with this process, whatever happens to it."""
    with open(file, "a+b") as held:
        deadline = time.monotonic() + STARTING
        while not _try_lock(held):
            if time.monotonic() > deadline:
                raise ClientError(_("Another program has been starting the service for {seconds} seconds. End it, or "
                                    "run “{command}” in a terminal."), "StartsTooLong",
                                  seconds=int(STARTING), command=SERVE)
            meanwhile()
            time.sleep(0.05)
        yield


def _try_lock(file: IO[bytes]) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
