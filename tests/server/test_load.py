"""Load, in small: benchmarks/service_load.py with the tiny network. The benchmark itself also looks at memory."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from tiny import tiny_model

from matting_anything_core.server.settings import SPARE, Settings

from .service import in_a_thread


def benchmark() -> Any:
    path = Path(__file__).parents[2] / "benchmarks" / "service_load.py"
    spec = importlib.util.spec_from_file_location("service_load", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["service_load"] = module
    spec.loader.exec_module(module)
    return module


def test_many_clients_get_their_own_right_answers(runtime: Path) -> None:
    load = benchmark()
    cases = load.make_cases(12, tiny_model())
    memory = SPARE + 320 * 320 * 16  # so little that things are pushed out all the time
    with in_a_thread(runtime, Settings(memory=memory, waiting=4), tiny_model()) as client:
        tally = load.load(client.endpoint, cases, 100, 8, seed=3)
        status = load.settled(client.endpoint)
    assert tally.wrong == []
    assert (tally.counts["right"], tally.counts["cancelled"], tally.counts["malformed"]) == (80, 10, 10)
    assert len(tally.seconds) == tally.exact == 80
    assert status["cache"]["bytes"] <= memory
    assert [line["event"] for line in client.log() if line["event"] == "failed"] == []
