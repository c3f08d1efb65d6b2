"""Processes that fork from one that computed, compute: the same bits, or an error that says what to do."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from matting_anything_core import DeviceError
from matting_anything_core.device import forked_cuda, resolve_device

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks with GNU's OpenMP")
TESTS = Path(__file__).parents[1]

USE = """
import hashlib, multiprocessing as mp, os, sys, threading, time
import torch
from tiny import picture, tiny_model
from matting_anything_core import Prompt

def threads():
    return len(os.listdir("/proc/self/task"))

def used():
    "Compute with all threads, in our code and in others'; what came out."
    model = tiny_model()
    [result] = model.matte(model.embed(picture(90, 120)), [Prompt(box=(20, 10, 100, 80))])
    numbers = torch.arange(4_000_000, dtype=torch.float32).sqrt().sum()
    return hashlib.sha256(result.alpha.tobytes()).hexdigest() + f" {numbers.item()}"

def child(queue):
    queue.put(used())

def in_child(context):
    queue = context.SimpleQueue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    process.join(240)
    alive = process.is_alive()
    if alive:
        process.kill()
        return "hangs"
    return queue.get()
"""


def run(code, *, threads=2, limit=500):
    """Run code after USE in a process of its own; what it printed."""
    names = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    environment = {**names, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)]),
                   **({"OMP_NUM_THREADS": str(threads)} if threads else {})}
    done = subprocess.run([sys.executable, "-c", USE + textwrap.dedent(code)], env=environment, timeout=limit,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_forked_worker_computes_the_same_bits():
    said = run("""
        before = used()
        assert threads() > 1
        worker = in_child(mp.get_context("fork"))
        assert worker == before, (worker, before)
        assert used() == before                                   # and the parent goes on
        assert in_child(mp.get_context("fork")) == before         # as often as one likes
        thread = threading.Thread(target=lambda: print(in_child(mp.get_context("fork")) == before))
        thread.start()                                            # forked from a thread that never computed
        thread.join()
        """)
    assert said == "True\n"


def test_a_grandchild_computes_too():
    said = run("""
        before = used()
        child_end, parent_end = os.pipe()
        if os.fork() == 0:
            same = used() == before
            if os.fork() == 0:
                os.write(parent_end, b"%d%d" % (same, used() == before))
                os._exit(0)
            os.wait()
            os._exit(0)
        os.wait()
        print(os.read(child_end, 10).decode())
        """)
    assert said == "11\n"


def test_a_fork_that_python_hears_of_only_afterwards_computes_with_one_thread():
    """As uWSGI's are: forked in C."""
    said = run("""
        import ctypes
        before = used()
        child_end, parent_end = os.pipe()
        if ctypes.PyDLL(None).fork() == 0:
            ctypes.pythonapi.PyOS_AfterFork_Child()
            os.write(parent_end, b"%d" % torch.get_num_threads() + used()[-20:].encode())
            os._exit(0)
        ctypes.pythonapi.PyOS_AfterFork_Parent
        print(os.read(child_end, 100).decode()[:1])
        """)
    assert said == "1\n"


def test_a_fork_while_another_thread_loads_does_not_wait_for_it():
    said = run("""
        from matting_anything_core.kept import Kept
        kept, begun = Kept(), threading.Event()
        def slow():
            begun.set()
            time.sleep(600)
        threading.Thread(target=lambda: kept.get("model", (), slow), daemon=True).start()
        begun.wait()
        pid = os.fork()
        if pid == 0:
            os._exit(kept.get("model", (), lambda: 7))
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
        os._exit(0)
        """)
    assert said == "7\n"


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_other_ways_to_start_processes(tmp_path, method):
    (tmp_path / "work.py").write_text(USE + textwrap.dedent(f"""
        if __name__ == "__main__":
            before = used()
            print(in_child(mp.get_context({method!r})) == before)
        """))
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}
    done = subprocess.run([sys.executable, tmp_path / "work.py"], env=environment, timeout=500, capture_output=True,
                          text=True, check=False)
    assert done.stdout == "True\n", done.stderr


def test_a_process_that_has_no_torch_forks_without_it():
    code = ("import os, sys, matting_anything_core\npid = os.fork()\nif pid == 0: os._exit('torch' in sys.modules)\n"
            "print(os.waitpid(pid, 0)[1], 'torch' in sys.modules, 'ctypes' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0 False False\n"


def test_cuda_in_a_forked_process_says_what_to_do(monkeypatch):
    def fails():
        raise RuntimeError("Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you must "
                           "use the 'spawn' start method")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "current_device", fails)
    for device in ("auto", "cuda"):
        with pytest.raises(DeviceError, match=r"before this process was forked.*'spawn'.*--preload.*device='cpu'"):
            resolve_device(device)
    with pytest.raises(RuntimeError, match="another"), forked_cuda():
        raise RuntimeError("another")
