"""A server that gives ComfyUI's real frontend what it asks for, without a ComfyUI: the page, our extension, files.

Nothing runs here. What the real server says of the nodes comes from a recording (data/object_info.json), which
test_recording.py compares with a real server; `send` speaks the real server's web socket messages.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

PACK = "matting_anything"
STATS = {
    "system": {
        "os": "posix", "comfyui_version": "0.27.0", "python_version": "3", "pytorch_version": "2", "argv": [],
        "embedded_python": False, "ram_total": 1, "ram_free": 1,
    },
    "devices": [],
}  # fmt: skip
FIXED: dict[str, Any] = {
    "/users": {"storage": "server", "migrated": True},
    "/system_stats": STATS,
    "/features": {"supports_preview_metadata": True, "max_upload_size": 104857600},
    "/queue": {"queue_running": [], "queue_pending": []},
    "/history": {},
    "/jobs": {"jobs": [], "pagination": {"offset": 0, "limit": 0, "total": 0, "has_more": False}},
    "/prompt": {"exec_info": {"queue_remaining": 0}},
    "/embeddings": [],
    "/models": [],
    "/experiment/models": [],
    "/global_subgraphs": {},
    "/node_replacements": {},
    "/workflow_templates": {},
    "/userdata": [],
    "/v2/userdata": [],
    "/i18n": {},
}


class FrontendServer:
    """Serves one frontend package's `static` folder and the pack's `web` folder; context manager.

    files: a folder with `input`, `output` and `temp`, as ComfyUI's.
    settings: those of the only user, changed by the page.
    """

    def __init__(self, static: Path, web: Path, object_info: dict[str, Any], files: Path) -> None:
        self.static, self.web, self.object_info, self.files = static, web, object_info, files
        self.settings: dict[str, Any] = {}
        self.sockets: list[tuple[WebSocket, Any]] = []
        self.queued: list[dict[str, Any]] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        config = uvicorn.Config(self.app(), log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.listener]}, daemon=True)

    def __enter__(self) -> FrontendServer:
        self.thread.start()
        while not self.server.started:
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join(10)
        self.listener.close()

    def send(self, kind: str, data: dict[str, Any]) -> None:
        """Send every open page a message, as the real server does while a graph runs."""
        for client, loop in list(self.sockets):
            message = client.send_text(json.dumps({"type": kind, "data": data}))
            asyncio.run_coroutine_threadsafe(message, loop).result(10)

    def app(self) -> Starlette:
        api: list[BaseRoute] = [
            Route("/extensions", self.extensions),
            Route("/object_info", lambda _: JSONResponse(self.object_info)),
            Route("/settings", self.get_settings, methods=["GET"]),
            Route("/settings", self.post_settings, methods=["POST"]),
            Route("/settings/{name}", self.post_setting, methods=["POST"]),
            Route("/view", self.view),
            Route("/prompt", self.post_prompt, methods=["POST"]),
            *(Route(path, self.fixed, methods=["GET"]) for path in FIXED),
        ]
        return Starlette(
            routes=[
                WebSocketRoute("/ws", self.socket),
                *api,
                Mount("/api", routes=api),
                Mount(f"/extensions/{PACK}", StaticFiles(directory=self.web)),
                Mount("/", StaticFiles(directory=self.static, html=True)),
            ]
        )

    async def socket(self, client: WebSocket) -> None:
        await client.accept()
        entry = (client, asyncio.get_running_loop())
        self.sockets.append(entry)
        status = {"exec_info": {"queue_remaining": 0}}
        await client.send_json({"type": "status", "data": {"status": status, "sid": "test"}})
        try:
            while True:
                await client.receive_text()
        except WebSocketDisconnect:
            self.sockets.remove(entry)

    async def extensions(self, _: Request) -> Response:
        core = [f"/{path.relative_to(self.static)}" for path in sorted((self.static / "extensions").rglob("*.js"))]
        ours = [f"/extensions/{PACK}/{path.relative_to(self.web)}" for path in sorted(self.web.rglob("*.js"))]
        return JSONResponse(core + ours)

    async def fixed(self, request: Request) -> Response:
        return JSONResponse(FIXED[request.url.path.removeprefix("/api")])

    async def get_settings(self, _: Request) -> Response:
        return JSONResponse(self.settings)

    async def post_settings(self, request: Request) -> Response:
        self.settings.update(await request.json())
        return Response()

    async def post_setting(self, request: Request) -> Response:
        self.settings[request.path_params["name"]] = await request.json()
        return Response()

    async def view(self, request: Request) -> Response:
        query = request.query_params
        root = (self.files / query.get("type", "output")).resolve()
        path = (root / query.get("subfolder", "") / query["filename"]).resolve()
        if not path.is_relative_to(root) or not path.is_file():
            return Response(status_code=404)
        return FileResponse(path)

    async def post_prompt(self, request: Request) -> Response:
        self.queued.append(await request.json())
        return JSONResponse({"prompt_id": str(len(self.queued)), "number": len(self.queued), "node_errors": {}})
