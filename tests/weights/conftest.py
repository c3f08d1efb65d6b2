"""Small files of weights of every published layout, made on the fly, and a weights folder of the test's own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch

from matting_anything_core.networks.sam import build_sam

from .serving import serve

GOLDEN = Path(__file__).parent.parent / "golden"


def published_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a published checkpoint."""
    lines = [line.split("\t") for line in (GOLDEN / name).read_text().splitlines() if not line.startswith("#")]
    return {line[0]: ast.literal_eval(line[1]) for line in lines}


@pytest.fixture(autouse=True)
def _one_thread():
    """These tensors are small: threads would only wait for each other, long on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def server():
    """A running server; say what it answers with `server.will(...)`."""
    with serve() as running:
        yield running


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty weights folder that this test has to itself."""
    folder = tmp_path / "home"
    monkeypatch.setenv("MATTING_ANYTHING_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def m2m() -> dict[str, torch.Tensor]:
    """Mask-to-Matte under the published names and shapes."""
    generator = torch.Generator().manual_seed(1)
    return {
        name: torch.tensor(20000) if name.endswith("num_batches_tracked")
        else torch.rand(shape, generator=generator) * 0.1 + 0.1
        for name, shape in published_shapes("m2m_keys.txt").items()
    }


@pytest.fixture(scope="session")
def sam() -> dict[str, torch.Tensor]:
    """SAM with the published names around a ViT of three small blocks."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return build_sam("vit_tiny_test").state_dict()


@pytest.fixture(scope="session")
def files(tmp_path_factory, sam, m2m) -> dict[str, Path]:
    """Sound files to copy and to damage: `sam`, `m2m` (.pth) and `model`, both in one safetensors file."""
    from matting_anything_core.weights.convert import write_model

    folder = tmp_path_factory.mktemp("files")
    torch.save(sam, folder / "sam.pth")
    torch.save(m2m, folder / "m2m.pth")
    write_model(folder / "model.safetensors", sam=sam, m2m=m2m,
                metadata={"architecture": "vit_tiny_test", "square": "128", "licence": "MIT"}, dtype=torch.float16)
    return {"sam": folder / "sam.pth", "m2m": folder / "m2m.pth", "model": folder / "model.safetensors"}
