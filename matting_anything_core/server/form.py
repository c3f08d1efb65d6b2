"""Bodies of multipart/form-data, in memory: no part of a picture is written to a disk."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from .problems import Malformed

PARTS = 32
TEXT = 1 << 20
"""Parts of a form, and bytes of those that are no files: more are refused."""


@dataclass
class _Part:
    name: str = ""
    is_file: bool = False
    content: io.BytesIO = field(default_factory=io.BytesIO)


class Form:
    """A form that is fed with pieces of its body, and then has `texts` and `files` by the names of their fields."""

    def __init__(self, content_type: str) -> None:
        """content_type: the request's. Raises Malformed for another than multipart/form-data with a boundary."""
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not 1 <= len(boundary) <= 256:
            raise Malformed(f"the Content-Type is {content_type[:80]!r}; expected multipart/form-data with a boundary, "
                            "as curl -F and FormData send it")
        self.texts: dict[str, str] = {}
        self.files: dict[str, bytes] = {}
        self._part = _Part()
        self._count = 0
        self._ended = False
        self._header: tuple[bytearray, bytearray] = bytearray(), bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._parser = MultipartParser(boundary, {
            "on_part_begin": self._begin, "on_header_field": self._header_name, "on_header_value": self._header_value,
            "on_header_end": self._header_end, "on_headers_finished": self._headers_end, "on_part_data": self._data,
            "on_part_end": self._end, "on_end": self._all,
        })

    def feed(self, piece: bytes) -> None:
        """Take the next piece of the body. Raises Malformed."""
        try:
            self._parser.write(piece)
        except MultipartParseError as error:
            raise Malformed(f"the body is no form: {error}") from None

    def finish(self) -> None:
        """Check that the form has come to its end. Raises Malformed."""
        if not self._ended:
            raise Malformed("the form ends before its last boundary; send it again")

    def _begin(self) -> None:
        self._part, self._headers = _Part(), {}
        self._count += 1
        if self._count > PARTS:
            raise Malformed(f"the form has more than {PARTS} parts")

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._header[0].extend(data[start:end])

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1].extend(data[start:end])

    def _header_end(self) -> None:
        name, value = self._header
        self._headers[bytes(name).lower()] = bytes(value)
        self._header = bytearray(), bytearray()

    def _headers_end(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        if kind != b"form-data" or b"name" not in options:
            raise Malformed("a part of the form has no name; expected Content-Disposition: form-data; name=\"image\"")
        self._part.name = options[b"name"].decode("utf-8", "replace")
        self._part.is_file = b"filename" in options

    def _data(self, data: bytes, start: int, end: int) -> None:
        content = self._part.content
        if not self._part.is_file and content.tell() + end - start > TEXT:
            raise Malformed(f"the field {self._part.name[:40]!r} has more than {TEXT} bytes; send pictures as files "
                            "(curl: -F image=@photo.jpg)")
        content.write(memoryview(data)[start:end])

    def _end(self) -> None:
        part = self._part
        if part.name in self.texts or part.name in self.files:
            raise Malformed(f"the field {part.name[:40]!r} comes twice; expected it once")
        if part.is_file:
            self.files[part.name] = part.content.getvalue()
            return
        try:
            self.texts[part.name] = part.content.getvalue().decode()
        except UnicodeDecodeError:
            raise Malformed(f"the field {part.name[:40]!r} is no text in UTF-8; send pictures as files") from None

    def _all(self) -> None:
        self._ended = True
