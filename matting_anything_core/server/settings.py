"""What a service is started with, and the limits it keeps."""

from __future__ import annotations

from dataclasses import dataclass

GIGABYTE = 1 << 30
MOST_PIXELS = 200_000_000
BYTES_A_PIXEL = 16
"""What a picture takes at most while raw pixels of 16 bits with alpha come in: eight for those, eight for the picture;
or the picture, and five for a matte of it."""
SPARE = 32 << 20
"""Bytes that an embedding takes at most, or nearly."""


@dataclass(frozen=True)
class Settings:
    """model: name or path for `load_model`. device: auto, cpu, cuda … memory: bytes for pictures that come in, for
    pictures, embeddings and mattes that are kept, and for answers that go out. idle_exit: seconds without a request
    after which the service ends, 0 for never.

    waiting: jobs that may wait. prompts: for one picture at once. body: bytes of a request with pixels; json: of one
    without. patience: seconds that a client may be silent in the middle of a request; headers: that its headers may
    take. strangers: connections that have not shown the token. grace: seconds that the running job has when the service
    is told to stop.
    """

    model: str = "lite"
    device: str = "auto"
    memory: int = 2 * GIGABYTE
    idle_exit: float = 0.0
    waiting: int = 16
    prompts: int = 256
    body: int = GIGABYTE
    json: int = 64 << 20
    patience: float = 30.0
    headers: float = 10.0
    strangers: int = 128
    grace: float = 3.0

    @property
    def pixels(self) -> int:
        """Pixels of a picture, so that it, its embedding and a matte of it can be kept."""
        return max(min(MOST_PIXELS, (self.memory - SPARE) // BYTES_A_PIXEL), 1)

    def mattes(self, pixels: int) -> int:
        """How many mattes of a picture of so many pixels can be kept at once, at least one."""
        return max(min(self.prompts, (self.memory - SPARE - 8 * pixels) // (5 * pixels)), 1)
