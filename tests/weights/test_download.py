"""Downloads against a real HTTP server on this machine that misbehaves in every way seen in the wild."""

from __future__ import annotations

import dataclasses
import hashlib
import threading

import filelock
import pytest

from matting_anything_core import WeightsError
from matting_anything_core.weights import download as module
from matting_anything_core.weights.download import Patience, download

from .serving import BODY, chunked, cut, ranged, stalls, status, to, trickles, whole

DIGEST = hashlib.sha256(BODY).hexdigest()
HASTE = Patience(connect=2, stall=0.3, attempts=3, backoff=0.01, lock=0.2)


@pytest.fixture
def target(tmp_path):
    return tmp_path / "deep" / "weights.pth"


def get(server, target, **options):
    options = {"sha256": DIGEST, "size": len(BODY), "patience": HASTE, **options}
    return download(server.url, target, **options)


def left_over(target):
    return sorted(path.name for path in target.parent.iterdir() if path.suffix != ".lock")


def ranges(server):
    return [headers.get("Range") for _, headers in server.requests]


def test_a_good_server(server, target):
    server.will(ranged)
    seen = []
    assert get(server, target, progress=lambda done, total: seen.append((done, total))) == target
    assert target.read_bytes() == BODY
    assert left_over(target) == ["weights.pth"]
    assert seen[-1] == (len(BODY), len(BODY))
    assert seen == sorted(seen)
    get(server, target)
    assert len(server.requests) == 1  # what is there and right is not fetched again


@pytest.mark.parametrize("failing", [cut, stalls])
def test_a_broken_transfer_goes_on_where_it_stopped(server, target, failing):
    server.will(failing, failing, ranged)
    get(server, target)
    assert target.read_bytes() == BODY
    assert ranges(server) == [None, "bytes=300000-", "bytes=600000-"]
    assert server.requests[1][1]["If-Range"] == '"one"'


def test_a_server_that_always_truncates_is_given_up_and_the_part_kept(server, target):
    server.will(cut, lambda handler: ranged(handler, send=0))
    with pytest.raises(WeightsError, match=r"could not be downloaded.*goes on from there"):
        get(server, target)
    assert left_over(target) == ["weights.pth.part", "weights.pth.part.json"]
    server.will(ranged)
    get(server, target)
    assert target.read_bytes() == BODY
    assert ranges(server)[-1] == "bytes=300000-"


def test_a_trickle_is_given_up_too(server, target):
    server.will(trickles, ranged)
    get(server, target, patience=dataclasses.replace(HASTE, stall=0.2))
    assert target.read_bytes() == BODY
    assert len(server.requests) == 2


def test_a_server_that_ignores_ranges_is_read_from_the_start(server, target):
    server.will(cut, whole)
    get(server, target)
    assert target.read_bytes() == BODY
    assert ranges(server) == [None, "bytes=300000-"]


def test_a_file_that_changes_meanwhile_is_read_anew(server, target):
    new = BODY[::-1]
    server.will(cut, lambda handler: ranged(handler, new, tag='"two"'))
    get(server, target, sha256=None, size=None)
    assert target.read_bytes() == new


def test_a_changed_file_is_noticed_even_when_the_server_ignores_the_condition(server, target):
    def careless(handler):
        del handler.headers["If-Range"]
        ranged(handler, BODY[::-1], tag='"two"')

    server.will(cut, careless)
    get(server, target, sha256=None, size=None)
    assert target.read_bytes() == BODY[::-1]


def test_without_a_validator_the_checksum_decides(server, target):
    server.will(lambda handler: whole(handler, BODY[::-1], tag=None, send=1000),
                lambda handler: ranged(handler, tag=None))
    get(server, target)  # the halves of two files: noticed by the sum, fetched again from the start
    assert target.read_bytes() == BODY
    assert ranges(server) == [None, "bytes=1000-", None]


def test_a_wrong_range_is_not_appended(server, target):
    server.will(cut, lambda handler: whole(handler, BODY[5:], status=206, Content_Range="bytes 5-1048575/1048576"),
                ranged)
    get(server, target)
    assert target.read_bytes() == BODY


def test_a_part_beyond_the_end_is_dropped(server, target):
    target.parent.mkdir()
    target.with_name("weights.pth.part").write_bytes(BODY + b"more")
    server.will(ranged)
    get(server, target, size=None)
    assert target.read_bytes() == BODY


def test_errors_of_the_server_pass_by(server, target):
    server.will(status(500), status(503), whole)
    get(server, target)
    assert target.read_bytes() == BODY


@pytest.mark.parametrize(("code", "says"), [(404, "not there"), (403, "refuses"), (401, "login"), (410, "410")])
def test_refusals_are_final(server, target, code, says):
    server.will(status(code))
    with pytest.raises(WeightsError, match=f"{code}.*{says}|{code}"):
        get(server, target)
    assert len(server.requests) == 1


@pytest.mark.parametrize("answer", [
    lambda handler: whole(handler, b"<html>Sign in</html>", Content_Type="text/html"),
    lambda handler: whole(handler, BODY, length=len(BODY) + 5),
    lambda handler: whole(handler, BODY + b"more"),
], ids=["page", "claims more", "is longer"])
def test_another_size_is_refused_at_once(server, target, answer):
    server.will(answer)
    with pytest.raises(WeightsError, match="another file than expected"):
        get(server, target)
    assert len(server.requests) == 1
    assert left_over(target) == []


def test_a_wrong_file_of_the_right_size_is_deleted(server, target):
    server.will(lambda handler: whole(handler, BODY[::-1]))
    with pytest.raises(WeightsError, match=f"another file than expected: its sha256 is .*{DIGEST}"):
        get(server, target)
    assert left_over(target) == []
    assert len(server.requests) == 1


def test_lengths_that_lie_are_noticed(server, target):
    server.will(lambda handler: whole(handler, BODY, length=len(BODY) + 5))  # and no size is known beforehand
    with pytest.raises(WeightsError, match="could not be downloaded"):
        get(server, target, size=None)
    assert not target.exists()


def test_bodies_without_a_length(server, target):
    server.will(chunked(BODY))
    get(server, target)
    assert target.read_bytes() == BODY
    target.unlink()
    server.will(chunked(BODY * 2))
    with pytest.raises(WeightsError, match="more than the 1048576 bytes"):
        get(server, target)
    assert left_over(target) == []


def test_compressed_bodies_are_refused(server, target):
    server.will(lambda handler: whole(handler, Content_Encoding="gzip"))
    with pytest.raises(WeightsError, match="compressed"):
        get(server, target)


def test_redirects_are_followed_but_only_to_safe_places(server, target):
    server.will(to("/elsewhere"), ranged)
    get(server, target)
    assert [path for path, _ in server.requests] == ["/weights.pth", "/elsewhere"]
    target.unlink()
    for location in ("http://example.com/x", "file:///etc/passwd", "ftp://127.0.0.1/x"):
        server.will(to(location))
        with pytest.raises(WeightsError, match=f"redirects to {location}, which is no https address"):
            get(server, target)
    server.will(to("/weights.pth"))
    with pytest.raises(WeightsError, match="circles"):
        get(server, target)


@pytest.mark.parametrize("url", ["http://example.com/a", "ftp://a.com/a", "file:///etc/passwd", "weights.pth", ""])
def test_only_https_leaves_this_machine(target, url):
    with pytest.raises(WeightsError, match="no https address"):
        download(url, target)


def test_a_server_that_is_not_there(target):
    with pytest.raises(WeightsError, match="could not be downloaded"):
        download("http://127.0.0.1:9/a", target, patience=HASTE)


def test_a_cancelled_download_goes_on_later(server, target):
    def cancel(done, total):
        if done > 200_000:
            raise KeyboardInterrupt

    server.will(ranged)
    with pytest.raises(KeyboardInterrupt):
        get(server, target, progress=cancel)
    have = target.with_name("weights.pth.part").stat().st_size
    assert 200_000 < have < len(BODY)
    get(server, target)
    assert target.read_bytes() == BODY
    assert ranges(server)[-1] == f"bytes={have}-"


def test_two_downloads_of_one_file(server, target):
    server.will(ranged)
    threads = [threading.Thread(target=get, args=(server, target), kwargs={"patience": Patience()}) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.read_bytes() == BODY
    assert len(server.requests) == 1
    target.unlink()
    with filelock.FileLock(target.with_name("weights.pth.lock")), pytest.raises(WeightsError, match="another process"):
        get(server, target)


def test_a_full_disk_is_seen_before_the_download(server, target, monkeypatch):
    usage = module.shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage)
    server.will(ranged)
    with pytest.raises(WeightsError, match=r"0 MB left, 65 MB are needed.*MATTING_ANYTHING_HOME"):
        get(server, target)


def test_nothing_is_written_through_links(server, target, tmp_path):
    target.parent.mkdir()
    victim = tmp_path / "victim"
    victim.write_text("precious")
    target.with_name("weights.pth.part").symlink_to(victim)
    server.will(ranged)
    with pytest.raises(WeightsError, match="is a link"):
        get(server, target)
    assert victim.read_text() == "precious"


def test_places_that_cannot_be_written(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    server.will(ranged)
    with pytest.raises(WeightsError, match="cannot be written"):
        get(server, tmp_path / "file" / "weights.pth")
    (tmp_path / "folder").mkdir()
    with pytest.raises(WeightsError, match="in the way"):
        get(server, tmp_path / "folder")


def test_a_checksum_must_be_one(server, target):
    with pytest.raises(WeightsError, match="64 hexadecimal"):
        get(server, target, sha256="abc")
