"""A Ray cluster of two nodes on this machine, and an S3 on loopback, for all tests here. Skipped where Ray is not
installed."""

from __future__ import annotations

import os
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
OBJECTS = 100 << 20
"""Bytes of each node's object store: little, so that back-pressure is what keeps it going."""


KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true"}


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """Two nodes; the second one may be taken away by the last test that uses it."""
    pytest.importorskip("ray.data", reason="Ray is not installed: pip install 'matting-anything-core[ray]'")
    # Ray's processes are as nice as it gets, so that on a busy machine they would wait for ever.
    changes = {**KEYS, "RAY_worker_niceness": "0", "RAY_enable_worker_prestart": "0",
               "RAY_prestart_worker_first_driver": "0", "RAY_memory_monitor_refresh_ms": "0",
               "RAY_AUTH_MODE": "disabled",
               "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[:1], os.environ.get("PYTHONPATH", "")])}
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    import ray
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={
        "num_cpus": 2, "object_store_memory": OBJECTS, "include_dashboard": False})
    made.extra = made.add_node(num_cpus=1, object_store_memory=OBJECTS, resources={"second": 1})
    made.wait_for_nodes()
    ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield made
    ray.shutdown()
    made.shutdown()
    for name, value in before.items():
        if value is None:
            os.environ.pop(name)
        else:
            os.environ[name] = value


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, str]]:
    """A client of an S3 server on loopback with an empty bucket `shop`, and what an address needs to find it."""
    pytest.importorskip("moto.server", reason="moto's S3 server is not installed: pip install 'moto[server]'")
    boto3 = pytest.importorskip("boto3", reason="boto3 is not installed")
    from moto.server import ThreadedMotoServer

    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
    urllib.request.urlopen(f"http://{host}:{port}/moto-api/reset", data=b"").close()  # its store is the process's
    client.create_bucket(Bucket="shop")
    yield client, f"?endpoint_override={host}:{port}&scheme=http&region=us-east-1"
    server.stop()
