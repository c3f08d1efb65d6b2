"""The errors a caller may want to tell apart. Every one says what was given, what is expected and what to do."""

from __future__ import annotations


class MattingError(Exception):
    """Base of every error this library raises on purpose."""


class PromptError(MattingError):
    """A prompt that cannot mean anything on this picture."""


class ImageError(MattingError):
    """A picture that cannot be read, or a file that cannot be written as one."""


class TooManyPixelsError(ImageError):
    """A picture with more pixels than the caller allows."""


class WeightsError(MattingError):
    """Weights that are missing, damaged, untrusted or made for another network."""


class DeviceError(MattingError):
    """A device that is not there, or whose memory does not suffice."""


class PictureMemoryError(ImageError, DeviceError):
    """A picture for which memory does not suffice; the message says how much is needed and how much there is."""


class MissingExtraError(MattingError):
    """A feature whose optional packages are not installed; the message holds the command that installs them."""


class NothingFoundError(MattingError):
    """Words that match nothing in the picture."""


class CancelledError(MattingError):
    """The caller's progress callback asked to stop."""


class ServiceError(MattingError):
    """The local service cannot start, runs already, or cannot be reached."""
