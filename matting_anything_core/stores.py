"""Folders that may be anywhere: on this machine, or in an object store (s3://, gs://, whatever pyarrow or fsspec open).

pyarrow opens s3:// and gs:// itself, with credentials from the environment; an S3 of one's own is named in the address
(s3://bucket/photos?endpoint_override=127.0.0.1:9000&scheme=http) or in AWS_ENDPOINT_URL. Everything else goes through
fsspec and the package that it names.

What is put somewhere is there whole or not at all: object stores show an object when it is complete, and elsewhere a
temporary name is renamed.
"""

from __future__ import annotations

import functools
import posixpath
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .errors import ImageError, MattingError, MissingExtraError

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_SECRET = re.compile(r"[^/]+://[^/@]*:[^/@]*@")
_WHOLE_AT_ONCE = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl")
"""Object stores, which show nothing that is half written."""


def is_address(text: object) -> bool:
    """Whether a text is an address (scheme://…) and not a path."""
    return isinstance(text, str) and _ADDRESS.match(text) is not None


@dataclass(frozen=True)
class Store:
    """A folder somewhere. It may be sent to other processes and machines.

    Parameters
    ----------
    files
        The pyarrow file system.
    base
        The folder's path in it.
    token
        What the names of temporary files have in them, so that whoever gave it can remove those that nobody renamed.
    """

    files: Any
    base: str
    token: str = ""

    def path(self, name: str) -> str:
        """The path of what is called `name` below this folder. Raises MattingError for a name that leads out of it."""
        parts = name.replace("\\", "/").split("/")
        if not name or name.startswith("/") or ".." in parts or "\0" in name:
            raise MattingError(f"{name[:80]!r} is no name inside of {self.base!r}")
        return posixpath.join(self.base, name)

    def put(self, name: str, data: bytes) -> None:
        """Write a file whole or not at all. Raises ImageError when it cannot be written."""
        path = self.path(name)
        try:
            if self._whole_at_once:
                with self.files.open_output_stream(path) as stream:
                    stream.write(data)
                return
            folder = posixpath.dirname(path)
            self.files.create_dir(folder, recursive=True)
            temporary = posixpath.join(folder, f".matting-{self.token}-{secrets.token_hex(6)}.tmp")
            try:
                with self.files.open_output_stream(temporary) as stream:
                    stream.write(data)
                self.files.move(temporary, path)
            except BaseException:
                self._remove(temporary)
                raise
        except OSError as error:
            raise ImageError(f"{path!r} cannot be written: {error.strerror or error}") from error

    def get(self, name: str) -> bytes | None:
        """The content of a file of this folder; None when it is not there."""
        try:
            return read_bytes(self.files, self.path(name))
        except FileNotFoundError:
            return None

    def names(self, suffixes: tuple[str, ...] = ()) -> Iterator[str]:
        """The names of all files below this folder, by name, but for hidden ones and other suffixes (small letters)."""
        from pyarrow.fs import FileSelector, FileType

        found = self.files.get_file_info(FileSelector(self.base, recursive=True, allow_not_found=True))
        for info in sorted(found, key=lambda one: str(one.path)):
            name = posixpath.relpath(info.path, self.base)
            hidden = any(part.startswith(".") for part in name.split("/"))
            if info.type == FileType.File and not hidden and name.lower().endswith(suffixes or ("",)):
                yield name

    def sweep(self, older_than: float | None = None) -> None:
        """Remove the temporary files that nobody will rename: those with this store's token, or any that have not
        changed for so many seconds."""
        from pyarrow.fs import FileSelector

        if self._whole_at_once:
            return
        for info in self.files.get_file_info(FileSelector(self.base, recursive=True, allow_not_found=True)):
            name = posixpath.basename(info.path)
            if not (name.startswith(".matting-") and name.endswith(".tmp")):
                continue
            old = older_than is not None and info.mtime is not None and time.time() - info.mtime_ns / 1e9 > older_than
            if old or (older_than is None and name.startswith(f".matting-{self.token}-")):
                self._remove(info.path)

    @property
    def _whole_at_once(self) -> bool:
        kind = str(self.files.type_name)
        inner = getattr(getattr(self.files, "handler", None), "fs", None)
        protocols = getattr(inner, "protocol", ())
        names = (kind, *((protocols,) if isinstance(protocols, str) else protocols))
        return any(name in _WHOLE_AT_ONCE for name in names)

    def _remove(self, path: str) -> None:
        try:
            self.files.delete_file(path)
        except OSError:
            return


def open_store(place: str, filesystem: Any = None) -> Store:
    """A folder by its path or address.

    Parameters
    ----------
    place
        A path, or an address such as s3://bucket/folder.
    filesystem
        A file system of pyarrow or fsspec that `place` is a path of; left out, the address says which.

    Raises
    ------
    MattingError
        For an address that no package here opens.
    """
    files = arrow_files(filesystem)
    if files is not None:
        return Store(files, place.rstrip("/") or "/")
    files, base = resolved(place)
    return Store(files, base.rstrip("/"))


def arrow_files(filesystem: Any) -> Any:
    """A file system of pyarrow from one of pyarrow or fsspec; None from None."""
    fs = _pyarrow_fs()
    if filesystem is None or isinstance(filesystem, fs.FileSystem):
        return filesystem
    return fs.PyFileSystem(fs.FSSpecHandler(filesystem))


def resolved(place: str) -> tuple[Any, str]:
    """The file system of a path or address, and the path in it. Raises MattingError."""
    fs = _pyarrow_fs()
    if not is_address(place):
        import os

        return fs.LocalFileSystem(), os.path.abspath(place).replace(os.sep, "/")
    if _SECRET.match(place):
        raise MattingError("the address holds a password or secret, which would be written into summaries and logs; "
                           "give credentials in the environment (AWS_ACCESS_KEY_ID and the like) instead")
    try:
        return _opened(place)
    except (ValueError, NotImplementedError, OSError, TypeError) as error:
        problem: Exception = error
    try:
        import fsspec

        inner, path = fsspec.core.url_to_fs(place)
        return fs.PyFileSystem(fs.FSSpecHandler(inner)), str(path)
    except (ImportError, ValueError, OSError, TypeError) as error:
        raise MattingError(f"{place[:200]!r} cannot be opened: {problem}; {error}. Expected an address that pyarrow "
                           "(s3://, gs://) or an installed package of fsspec knows") from None


def _opened(address: str) -> tuple[Any, str]:
    """pyarrow's own file systems. Those of object stores are kept; names in buckets are taken as they are, with blanks,
    % and # in them."""
    scheme, _, rest = address.partition("://")
    if scheme not in ("s3", "gs", "gcs"):
        return _pyarrow_fs().FileSystem.from_uri(address)  # type: ignore[no-any-return]
    path, mark, question = rest.partition("?")
    bucket, _, key = path.partition("/")
    files, base = _kept_files(f"{scheme}://{bucket}{mark}{question}")
    return files, posixpath.join(base, key) if key else base


@functools.lru_cache(maxsize=32)
def _kept_files(address: str) -> tuple[Any, str]:
    return _pyarrow_fs().FileSystem.from_uri(address)  # type: ignore[no-any-return]


def read_bytes(files: Any, path: str, most: int | None = None) -> bytes:
    """The content of a file. Raises FileNotFoundError and OSError; ImageError when it has more bytes than `most`."""
    with files.open_input_stream(path) as stream:
        data: bytes = stream.read() if most is None else stream.read(most + 1)
    if most is not None and len(data) > most:
        raise ImageError(f"{path!r} has more than {most:,} bytes, more than a picture can have")
    return data


def _pyarrow_fs() -> Any:
    try:
        import pyarrow.fs
    except ImportError as error:
        raise MissingExtraError("object stores and Parquet need pyarrow; install it with "
                                "pip install 'matting-anything-core[ray]'") from error
    return pyarrow.fs
