"""What a program has set for torch, numpy and OpenCV neither changes this library's numbers nor is changed by it."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from tiny import picture, tiny_model

from matting_anything_core import Prompt, load_model, matte
from matting_anything_core.assets import DEMO_BOX, demo_picture
from matting_anything_core.foreground import estimate_foreground
from matting_anything_core.isolation import isolated

RGB = picture(90, 120)
PROMPTS = [Prompt(box=(20, 10, 100, 80)), Prompt(points=[(60, 40), (5, 5)], labels=[1, 0])]


def mattes():
    """Everything a caller gets, from a fresh embedding on."""
    model = tiny_model()
    found = model.matte(model.embed(RGB), PROMPTS)
    together = model.matte_together(model.embed(RGB), PROMPTS)
    return [(one.alpha, one.mask, one.cutout().rgb, one.composite((9, 99, 199)).rgb) for one in (*found, together)]


@pytest.fixture(scope="module")
def expected():
    return mattes()


@contextlib.contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextlib.contextmanager
def default_device(device):
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextlib.contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextlib.contextmanager
def opencv_plain():
    before = cv2.useOptimized()
    cv2.setUseOptimized(False)
    try:
        yield
    finally:
        cv2.setUseOptimized(before)


SETTINGS = {
    "float64": lambda: default_dtype(torch.float64),
    "float16": lambda: default_dtype(torch.float16),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "device": lambda: default_device("meta"),
    "device context": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "no grad": torch.no_grad,
    "grad": torch.enable_grad,
    "anomaly": torch.autograd.detect_anomaly,
    "deterministic": deterministic,
    "numpy raises": lambda: np.errstate(all="raise"),
    "opencv": opencv_plain,
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.filterwarnings("ignore:Anomaly Detection")
def test_the_programs_settings_do_not_count(expected, name):
    with SETTINGS[name]():
        found = mattes()
    for one, other in zip(found, expected, strict=True):
        for array, same in zip(one, other, strict=True):
            assert array.dtype == same.dtype
            assert np.array_equal(array, same)


@pytest.mark.parametrize("name", ["float64", "device", "autocast", "numpy raises"])
def test_a_model_loads_under_the_programs_settings(name):
    plain = load_model("lite", device="cpu").sam.state_dict()
    with SETTINGS[name]():
        model = load_model("lite", device="cpu")
        types = {value.dtype for value in model.sam.state_dict().values()}
        devices = {value.device.type for value in model.sam.state_dict().values()}
    assert types == {torch.float32, torch.int64}
    assert devices == {"cpu"}
    assert all(torch.equal(value, plain[key]) for key, value in model.sam.state_dict().items())


@pytest.mark.parametrize("name", ["float64", "device", "autocast", "numpy raises"])
def test_the_steps_one_by_one_and_corrections(name):
    """The public steps are not only called by `matte`."""
    def steps():
        model = tiny_model()
        embedding = model.embed(RGB)
        [matte] = model.matte(embedding, PROMPTS[:1])
        better = matte.corrected(points=[(60, 40)], labels=[0])
        return [matte.alpha, better.alpha, estimate_foreground(matte.image.rgb_float(), matte.alpha)]

    plain = steps()
    with SETTINGS[name]():
        found = steps()
    assert all(np.array_equal(one, other) for one, other in zip(found, plain, strict=True))


def test_nothing_of_the_programs_is_changed():
    """Random states, flags, threads, the environment: all as before."""
    torch.manual_seed(5)
    np.random.seed(6)  # noqa: NPY002 - programs do
    random.seed(7)
    cv2.setRNGSeed(8)

    def state():
        return {
            "torch": torch.get_rng_state().tolist(), "random": random.getstate(),
            "numpy": repr(np.random.get_state()),  # noqa: NPY002
            "dtype": torch.get_default_dtype(), "grad": torch.is_grad_enabled(), "threads": torch.get_num_threads(),
            "deterministic": torch.are_deterministic_algorithms_enabled(), "autocast": torch.is_autocast_enabled("cpu"),
            "inference": torch.is_inference_mode_enabled(), "precision": torch.get_float32_matmul_precision(),
            "mkldnn": torch.backends.mkldnn.enabled, "errors": np.geterr(), "cv2": cv2.getNumThreads(),
            "optimized": cv2.useOptimized(), "environment": dict(os.environ), "path": list(sys.path),
        }

    before = state()
    draw = cv2.randu(np.zeros(4, np.float32), 0, 1).copy()
    cv2.setRNGSeed(8)
    result = matte(demo_picture(), DEMO_BOX, model=load_model("lite", device="cpu"))
    result.cutout()
    assert state() == before
    assert np.array_equal(cv2.randu(np.zeros(4, np.float32), 0, 1), draw)


def test_importing_changes_nothing_either():
    code = """
import os, sys
before = dict(os.environ)
import matting_anything_core as m
m.load_model, m.matte, m.read_image
import torch
changed = {name for name in {*os.environ, *before} if os.environ.get(name) != before.get(name)}
# OpenCV and torch set these when they are imported by whomever.
theirs = {"LD_LIBRARY_PATH", "QT_QPA_FONTDIR", "QT_QPA_PLATFORM_PLUGIN_PATH", "TORCHINDUCTOR_CACHE_DIR"}
assert changed <= theirs, changed
print(torch.get_default_dtype(), torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "torch.float32 True False\n", done.stderr


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_calls_inside_behave_as_if_nothing_was_set(dtype):
    def made():
        whole = torch.arange(5)
        return [
            torch.zeros(2), torch.ones(2), torch.empty(2), torch.eye(2), torch.linspace(0, 1, 3), torch.full((2,), 0.1),
            torch.tensor([0.1, 0.2]), torch.tensor([1, 2]), torch.tensor([0.1], dtype=torch.float64),
            torch.as_tensor(np.full(3, 0.1)), torch.from_numpy(np.full(3, 0.1)), torch.arange(0, 1, 0.1), whole * 0.1,
            whole / 3, whole.float() * 2, torch.rand(3).mean(), torch.zeros(3).new_full((2,), 0.3), torch.arange(4),
            torch.full((2,), 7), whole.to(torch.float64) / 3, torch.zeros(2, dtype=torch.float64) + 1, whole.sqrt(),
            torch.zeros_like(whole), torch.stack([whole, whole]) * 0.5, torch.rand(2, dtype=dtype),
        ]

    torch.manual_seed(3)
    plain = made()
    torch.manual_seed(3)
    with default_dtype(dtype), default_device("meta"), isolated():
        inside = made()
    for one, (found, same) in enumerate(zip(inside, plain, strict=True)):
        assert (found.dtype, found.device) == (same.dtype, same.device), one
        assert one == 2 or torch.equal(found, same), one  # 2: not initialised
    with default_dtype(dtype):
        assert torch.zeros(1).dtype == dtype
        with isolated():
            assert torch.get_default_dtype() == dtype  # other threads see the program's


def test_warnings_as_errors_do_not_matter():
    code = """
import sys
from tiny import picture, tiny_model
from matting_anything_core import Prompt
model = tiny_model()
[result] = model.matte(model.embed(picture(90, 120)), [Prompt(box=(20, 10, 100, 80))])
result.cutout()
"""
    tests = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    path = os.pathsep.join([tests, os.path.dirname(tests)])
    for flags in (["-W", "error"], ["-OO"]):
        done = subprocess.run([sys.executable, *flags, "-c", code], env={**os.environ, "PYTHONPATH": path},
                              capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
