"""Which outputs of a node somebody takes, so that what nobody takes is not computed.

ComfyUI runs a node again when its inputs change, not when another wire leaves it. So the nodes that compute an output
only where it is wanted put that into their fingerprint: see `fingerprint`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any


def taken(graph: Mapping[str, Any] | None, node: str | None, outputs: Collection[int]) -> bool:
    """Whether somebody takes one of a node's outputs; True where the graph, in API format, does not know the node (as
    inside of what other nodes expand to)."""
    if not graph or node is None or node not in graph:
        return True
    return any(_is_link(value) and str(value[0]) == node and value[1] in outputs
               for other in graph.values() for value in other.get("inputs", {}).values())


def source_of(graph: Mapping[str, Any] | None, node: str | None, name: str) -> Mapping[str, Any]:
    """The node that feeds an input, in API format; empty when there is none or it is not known."""
    if not graph or node is None or node not in graph:
        return {}
    value = graph[node].get("inputs", {}).get(name)
    found = graph.get(str(value[0])) if _is_link(value) else None
    return found if isinstance(found, Mapping) else {}


def fingerprint(node: str | None, outputs: Collection[int]) -> bool:
    """The part of a node's fingerprint that changes when somebody begins or ceases to take some of its outputs."""
    return taken(_running_graph(), node, outputs)


def _running_graph() -> Mapping[str, Any] | None:
    """The graph that ComfyUI is running, in API format; None when that cannot be told."""
    from server import PromptServer

    queue = PromptServer.instance.prompt_queue
    read = getattr(queue, "get_current_queue_volatile", queue.get_current_queue)
    running = read()[0]
    return running[0][2] if len(running) == 1 and isinstance(running[0][2], Mapping) else None


def _is_link(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2 and isinstance(value[1], int)
