"""The service's log: one JSON object a line, in a file of bounded size (`server.log`, and one older `server.log.1`).

No pictures, prompts or tokens go into it.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import sys
import time
from pathlib import Path
from typing import Any

NAME = "matting_anything.server"
LARGEST = 1 << 20
"""Bytes of a log file; then it becomes the older one."""


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(), "event": record.getMessage(), **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)[-8000:]
        return json.dumps(line, ensure_ascii=False)


def open_log(path: Path | None) -> None:
    """Log into a file, or to standard error with None. uvicorn's warnings go the same way."""
    handler: logging.Handler = logging.StreamHandler(sys.stderr) if path is None else \
        logging.handlers.RotatingFileHandler(path, maxBytes=LARGEST, backupCount=1, encoding="utf-8")
    handler.setFormatter(_Lines())
    for name, level in ((NAME, logging.INFO), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        for old in logger.handlers[:]:
            logger.removeHandler(old)
            old.close()
        logger.addHandler(handler)
        logger.setLevel(level)
        logger.propagate = False


def log(event: str, level: int = logging.INFO, *, exc_info: BaseException | None = None, **fields: Any) -> None:
    """Write one line."""
    logging.getLogger(NAME).log(level, "%s", event, extra={"fields": fields}, exc_info=exc_info)
