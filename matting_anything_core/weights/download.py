"""Getting one large file over HTTP, so that it is whole and the right one, or not there at all.

The file grows as `NAME.part` beside its place and gets its name only when its size and sha256 are right. An interrupted
download (also by Ctrl-C) goes on where it stopped: `NAME.part.json` keeps the server's validator (ETag or date), and
the server is asked for the rest only if the file is still the same (If-Range, RFC 9110 section 13.1.5).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import filelock
import requests
import urllib3.exceptions

from ..errors import WeightsError

DownloadProgress = Callable[[int, "int | None"], None]
"""Called with the bytes there and the bytes in all (None while unknown). May raise to cancel; what came is kept."""

_CHUNK = 1 << 18
_MARGIN = 64 << 20
_REDIRECTS = 10
_RETRIED = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Patience:
    """How long to wait for whom, in seconds, and how often to try."""

    connect: float = 15.0
    stall: float = 30.0
    """Without a byte for so long, the connection is given up and taken up again."""
    attempts: int = 5
    """Tries in a row without getting a step further."""
    backoff: float = 1.0
    """Wait before the second try; doubled each time, at most a minute."""
    lock: float = 3600.0
    """How long to wait for another process that downloads the same file."""


class _Again(Exception):
    """The attempt failed in a way that a further one may mend."""


@dataclass(frozen=True)
class _Job:
    url: str
    target: Path
    sha256: str | None
    size: int | None
    progress: DownloadProgress | None
    patience: Patience

    @property
    def part(self) -> Path:
        return self.target.with_name(self.target.name + ".part")

    @property
    def note(self) -> Path:
        return self.target.with_name(self.target.name + ".part.json")

    def forget(self) -> None:
        """Drop what came so far: it is of no use for going on."""
        self.part.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def download(
    url: str,
    target: str | os.PathLike[str],
    *,
    sha256: str | None = None,
    size: int | None = None,
    progress: DownloadProgress | None = None,
    patience: Patience | None = None,
) -> Path:
    """Download `url` to `target`, or go on with it; return when the whole, checked file stands there.

    sha256: hex digest the file must have; size: its bytes; None = not known, then what the server says is taken.
    A file that is there already is kept when it has that size and digest (without either, whenever it is there).
    Only https is used, or http on this machine itself; a redirect never leaves https.
    Raises WeightsError: not reachable, refused by the server, another file than expected, no room on the disk.
    """
    target = Path(target)
    job = _Job(url, target, sha256.lower() if sha256 else None, size, progress, patience or Patience())
    _check_address(url)
    if sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise WeightsError(f"{sha256[:80]!r} is no sha256; expected 64 hexadecimal digits")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _only_one(job):
            if not _present(job):
                _fetch(job)
    except OSError as error:
        raise WeightsError(f"{target} cannot be written: {error.strerror or error}") from error
    return target


@contextlib.contextmanager
def _only_one(job: _Job) -> Iterator[None]:
    """Hold the file's lock: a second process waits, and then finds the file there."""
    lock = filelock.FileLock(job.target.with_name(job.target.name + ".lock"), timeout=job.patience.lock)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise WeightsError(f"{job.target.name} is being downloaded by another process; wait for it to end, then try "
                           f"again (if there is none, delete {lock.lock_file})") from None
    try:
        yield
    finally:
        lock.release()


def _present(job: _Job) -> bool:
    if not job.target.exists():
        return False
    if not job.target.is_file():
        raise WeightsError(f"{job.target} is in the way: it is no regular file")
    if job.size is not None and job.target.stat().st_size != job.size:
        return False
    return job.sha256 is None or _digest_of(job.target).hexdigest() == job.sha256


def _fetch(job: _Job) -> None:
    """Attempts until the file is whole; those that get further do not count."""
    failures = 0
    wrong_after_resume = False
    while True:
        before = _length(job.part)
        try:
            with requests.Session() as session:
                session.trust_env = not _loopback(job.url)  # no proxy on the way to this machine itself
                digest, resumed = _attempt(job, session)
        except (_Again, requests.RequestException, urllib3.exceptions.HTTPError) as error:
            failures = 1 if _length(job.part) > before else failures + 1
            if failures >= job.patience.attempts:
                raise WeightsError(f"{job.url} could not be downloaded ({_reason(error)}); what came is kept, the same "
                                   "command goes on from there") from error
            time.sleep(min(60.0, job.patience.backoff * 2 ** (failures - 1)))
            continue
        if job.sha256 is None or digest == job.sha256:
            break
        job.forget()
        if resumed and not wrong_after_resume:  # the old part may have been of an older file: once more, from the start
            wrong_after_resume = True
            continue
        raise WeightsError(f"{job.url} delivered another file than expected: its sha256 is {digest}, expected "
                           f"{job.sha256}. It was deleted; the file was replaced at its source, or something between "
                           "there and here changed it")
    job.part.replace(job.target)
    job.note.unlink(missing_ok=True)


def _attempt(job: _Job, session: requests.Session) -> tuple[str, bool]:
    """One request; appends what comes to the part. Returns the sha256 of the whole, and whether it was resumed."""
    have, validator = _resumable(job)
    if job.size is not None and have == job.size:
        return _digest_of(job.part).hexdigest(), True
    headers = {"Accept-Encoding": "identity", "User-Agent": "matting-anything"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if validator:
            headers["If-Range"] = validator
    with _get(job, session, headers) as response:
        start, total = _answer(job, response, have, validator)
        _check_size(job, response, total)
        _check_room(job, (total or 0) - start)
        job.note.write_text(json.dumps({"url": job.url, "validator": _validator(response), "total": total}))
        digest = _digest_of(job.part) if start else hashlib.sha256()
        length = _receive(job, response, start, total, digest)
    if total is not None and length < total:
        raise _Again(f"the connection ended after {length} of {total} bytes")
    return digest.hexdigest(), start > 0


def _resumable(job: _Job) -> tuple[int, str | None]:
    """How many bytes are there to go on from, and the validator under which they came."""
    if job.part.is_symlink() or job.note.is_symlink():
        raise WeightsError(f"{job.part} is a link; remove it, downloads never write through links")
    have = _length(job.part)
    validator = None
    try:
        note = json.loads(job.note.read_text())
        if isinstance(note, dict) and note.get("url") == job.url and isinstance(note.get("validator"), str):
            validator = note["validator"]
    except (OSError, ValueError):
        validator = None
    # Without a validator only a checksum can tell afterwards that two halves belong together.
    if have and ((validator is None and job.sha256 is None) or (job.size is not None and have > job.size)):
        job.forget()
        return 0, None
    return have, validator


def _get(job: _Job, session: requests.Session, headers: dict[str, str]) -> requests.Response:
    """GET along redirects, each checked before it is followed."""
    url = job.url
    for _ in range(_REDIRECTS):
        response = session.get(url, headers=headers, stream=True, allow_redirects=False,
                               timeout=(job.patience.connect, job.patience.stall))
        if response.status_code not in (301, 302, 303, 307, 308):
            return response
        location = response.headers.get("Location", "")
        response.close()
        following = urljoin(url, location)
        _check_address(following, origin=url)
        url = following
    raise WeightsError(f"{job.url} redirects in circles")


def _answer(job: _Job, response: requests.Response, have: int, validator: str | None) -> tuple[int, int | None]:
    """Where the body starts in the file and how long the whole is, from the status and headers."""
    status = response.status_code
    if status in _RETRIED:
        raise _Again(f"the server answers {status} {response.reason}")
    if status == 416 and have:
        job.forget()
        raise _Again("the server has no rest to what came before; starting anew")
    if status not in (200, 206):
        hint = {401: "it asks for a login", 403: "it refuses", 404: "it is not there (any more)"}.get(status, "")
        raise WeightsError(f"{job.url}: the server answers {status} {response.reason}" + (f": {hint}" if hint else ""))
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise WeightsError(f"{job.url} is sent compressed ({response.headers['Content-Encoding']}), though the bare "
                           "file was asked for")
    if status == 200:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if length.isdigit() else None
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", ""))
    changed = validator is not None and _validator(response) not in (None, validator)
    if match is None or int(match[1]) != have or changed:
        job.forget()
        raise _Again("the file changed at its source" if changed else "the server sent another part than asked")
    return have, None if match[3] == "*" else int(match[3])


def _check_size(job: _Job, response: requests.Response, total: int | None) -> None:
    if job.size is not None and total is not None and total != job.size:
        page = " (a web page)" if "text/html" in response.headers.get("Content-Type", "") else ""
        raise WeightsError(f"{job.url} is another file than expected{page}: the server offers {total} bytes, "
                           f"expected {job.size}")


def _check_room(job: _Job, missing: int) -> None:
    free = shutil.disk_usage(job.target.parent).free
    if missing + _MARGIN > free:
        raise WeightsError(f"{job.target.parent} has {free >> 20} MB left, {(missing + _MARGIN) >> 20} MB are needed "
                           f"for {job.target.name}; make room, or set MATTING_ANYTHING_HOME to another disk")


def _receive(job: _Job, response: requests.Response, start: int, total: int | None, digest: hashlib._Hash) -> int:
    """Append the body to the part; everything that arrived is on the disk when this raises."""
    limit = total if total is not None else job.size
    length = start
    too_long = False
    slow_since, slow_from = time.monotonic(), start
    with job.part.open("r+b" if start else "wb") as file:
        file.seek(start)
        file.truncate()
        # read1 hands over what has come, so that neither an interruption nor a trickle loses or hides bytes.
        while chunk := response.raw.read1(_CHUNK, decode_content=False):
            if limit is not None and length + len(chunk) > limit:
                too_long = True
                break
            file.write(chunk)
            digest.update(chunk)
            length += len(chunk)
            if job.progress is not None:
                job.progress(length, limit)
            if time.monotonic() - slow_since > 2 * job.patience.stall:
                if length - slow_from < 1024:
                    raise _Again("the server sends next to nothing")
                slow_since, slow_from = time.monotonic(), length
    if too_long:
        job.forget()
        raise WeightsError(f"{job.url} sends more than the {limit} bytes it should have: another file than expected")
    if total is None and job.size is not None and length < job.size:
        raise _Again(f"the connection ended after {length} of {job.size} bytes")
    return length


def _check_address(url: str, origin: str | None = None) -> None:
    """https anywhere; plain http only on this machine, and never as a redirect from https or from elsewhere."""
    parts = urlsplit(url)
    local = _loopback(url) and (origin is None or (_loopback(origin) and urlsplit(origin).scheme == "http"))
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and local)):
        where = f"{origin} redirects to {url}, which" if origin else f"{url}"
        raise WeightsError(f"{where} is no https address; weights are only fetched over https")


def _loopback(url: str) -> bool:
    return urlsplit(url).hostname in ("127.0.0.1", "::1", "localhost")


def _validator(response: requests.Response) -> str | None:
    """A strong ETag, else the date of the last change; weak ETags cannot vouch for bytes."""
    tag = response.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _digest_of(path: Path) -> hashlib._Hash:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest


def _reason(error: Exception) -> str:
    if isinstance(error, (requests.Timeout, urllib3.exceptions.TimeoutError)):
        return "the server does not answer, or stopped sending"
    if isinstance(error, requests.ConnectionError):
        return "no connection; check the network and the proxy settings"
    return str(error)[:160] or type(error).__name__
