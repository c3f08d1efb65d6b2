"""The cache: bounded by bytes, the longest unused goes first, and nothing outlives what it belongs to."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import picture, tiny_model

from matting_anything_core.server.cache import Cache
from matting_anything_core.server.settings import SPARE, Settings

from .service import in_a_thread


def test_the_longest_unused_goes_first() -> None:
    cache = Cache(100)
    for name in "abc":
        cache.put(name, name.upper(), 30)
    assert cache.get("a") == "A"
    cache.put("d", "D", 30)
    assert [cache.get(name) for name in "abcd"] == ["A", None, "C", "D"]
    assert cache.nbytes == 90


def test_what_belongs_to_a_value_goes_before_it_and_with_it() -> None:
    cache = Cache(100)
    cache.put("picture", 1, 40)
    cache.put("matte 1", 2, 20, parent="picture")
    cache.put("other", 3, 20)
    cache.put("matte 2", 4, 20, parent="picture")
    cache.get("other")
    cache.put("more", 5, 20)  # the first matte is the longest unused; the picture was used by the second
    assert [cache.get(name) for name in ("matte 1", "picture", "matte 2")] == [None, 1, 4]
    cache.drop("picture")
    assert [cache.get(name) for name in ("picture", "matte 2", "other")] == [None, None, 3]
    cache.put("late", 6, 1, parent="picture")
    assert cache.get("late") is None
    assert cache.nbytes == 40


def test_replacing_and_too_large() -> None:
    cache = Cache(100)
    cache.put("a", 1, 60)
    cache.put("a", 2, 80)
    assert (cache.get("a"), cache.nbytes) == (2, 80)
    cache.put("b", 3, 101)
    assert (cache.get("b"), cache.get("a")) == (None, 2)
    assert not cache.drop("b")


@given(st.lists(st.tuples(st.sampled_from("pgd"), st.integers(0, 9), st.integers(0, 60), st.integers(0, 9) | st.none()),
                max_size=60))
def test_it_never_holds_more_than_it_may(steps: list[tuple[str, int, int, int | None]]) -> None:
    cache = Cache(100)
    for what, name, size, parent in steps:
        if what == "p":
            # As in the service: pictures have no parent, everything else has a picture for one.
            cache.put(name, size, size, parent if parent is not None and parent < 5 <= name else None)
        elif what == "g":
            cache.get(name)
        else:
            cache.drop(name)
        held = cache._entries
        assert cache.nbytes == sum(entry.nbytes for entry in held.values()) <= 100
        assert all(entry.parent is None or entry.parent in held for entry in held.values())


def test_a_service_keeps_within_its_memory_and_the_newest_answer(runtime: Path) -> None:
    memory = SPARE + 400 * 400 * 16
    with in_a_thread(runtime, Settings(memory=memory), tiny_model()) as client:
        assert client.status()["limits"]["pixels"] == 400 * 400
        first = client.upload(picture(400, 400))
        mattes = []
        for index in range(60):
            image = client.upload(picture(400, 400, seed=index))
            [answer] = client.mattes(image, {"box": [10, 10, 300, 300]}).json()["mattes"]
            client.alpha(answer["matte"])
            client.alpha(answer["matte"], output="cutout")
            assert client.status()["cache"]["bytes"] <= memory
            mattes.append(answer["matte"])
        assert client("GET", f"/v1/images/{first}").status_code == 404
        assert client("GET", f"/v1/mattes/{mattes[0]}/alpha").status_code == 404
        assert client("GET", f"/v1/mattes/{mattes[-1]}/alpha").status_code == 200


@pytest.mark.parametrize("pixels", [1, 1000, 10**7, 10**8])
def test_as_many_mattes_as_fit(pixels: int) -> None:
    settings = Settings()
    if pixels <= settings.pixels:
        count = settings.mattes(pixels)
        assert count == settings.prompts or count * 5 * pixels + 8 * pixels + SPARE <= settings.memory
        assert count >= 1


def test_the_largest_picture_and_a_matte_of_it_can_be_kept() -> None:
    settings = Settings()
    assert settings.pixels * (8 + 5) + SPARE <= settings.memory
