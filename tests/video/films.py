"""Small films for tests, made and looked into with PyAV."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def make_film(path: Path, frames: list[np.ndarray], *, codec: str = "libx264", layout: str = "yuv444p", rate: int = 24,
              times: list[int] | None = None, sound: bool = False, rotation: int = 0, matrix: int = 1,
              full: bool = False) -> Path:
    """A film of frames H×W×3 uint8; times: of the frames in 1/600 seconds; rotation: degrees counterclockwise."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options={"crf": "4"} if codec == "libx264" else {})
        stream.height, stream.width, stream.pix_fmt = frames[0].shape[0], frames[0].shape[1], layout
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, 2 if full else 1
        base = Fraction(1, 600) if times else Fraction(1, rate)
        stream.codec_context.time_base = stream.time_base = base
        if rotation:
            stream.set_display_rotation(rotation)
        heard = container.add_stream("aac", rate=44100) if sound else None
        for index, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame = frame.reformat(format=layout, dst_colorspace=matrix, src_color_range=2,
                                   dst_color_range=2 if full else 1)
            frame.colorspace, frame.color_range = matrix, 2 if full else 1
            frame.pts, frame.time_base = (times[index] if times else index), base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if heard is not None:
            for start in range(0, 44100, 1024):
                wave = np.sin(np.arange(start, start + 1024) / 20).astype(np.float32)[None] * np.float32(0.3)
                part = av.AudioFrame.from_ndarray(np.repeat(wave, 2, 0), format="fltp", layout="stereo")
                part.sample_rate, part.pts, part.time_base = 44100, start, Fraction(1, 44100)
                container.mux(heard.encode(part))
            container.mux(heard.encode(None))
    return path


def look_into(path: Path) -> dict:
    """What a film holds: codec, pixel layout, size, times in seconds, tags, seconds of sound, and its frames as RGBA of
    floats 0..1 (VP9's alpha through libvpx)."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        name = context.name
        found = {"codec": name, "layout": context.pix_fmt, "size": (context.height, context.width),
                 "matrix": int(context.colorspace), "range": int(context.color_range),
                 "metadata": dict(stream.metadata), "frames": [], "times": []}
        decoder = av.CodecContext.create("libvpx-vp9", "r") if name.startswith("vp9") or "vp9" in name else None
        for packet in container.demux(stream):
            for frame in (decoder.decode(packet) if decoder is not None else packet.decode()):
                found["layout"] = frame.format.name
                found["times"].append(float(frame.pts * stream.time_base))
                deep = frame.reformat(format="rgba64le", src_colorspace=5 if found["matrix"] in (5, 6) else 1,
                                      src_color_range=1, dst_color_range=2).to_ndarray()
                found["frames"].append(deep.astype(np.float32) / 65535)
        found["sound"] = 0.0
    with av.open(str(path)) as container:
        for stream in container.streams.audio:
            samples = sum(frame.samples for frame in container.decode(stream))
            found["sound"], found["sound_codec"] = samples / stream.rate, stream.codec_context.name
            break
    return found
