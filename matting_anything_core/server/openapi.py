"""The OpenAPI document of the service, version 1 of the protocol; docs/service.md tells the same in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import __version__
from ..options import CHOICES, OPTION_HELP, SWITCHES
from .one_call import FIELDS
from .pictures import DTYPES, FORMATS, RAW
from .wire import OUTPUTS, PICTURE_FORMATS

Schema = dict[str, Any]

ERRORS = {
    400: "The request does not follow the protocol.",
    401: "The token is missing or wrong.",
    403: "The Host or Origin is not this service's own.",
    404: "There is no such picture, matte or output, or no longer: upload the picture again.",
    405: "The path is known, the method is not.",
    408: "The client was silent in the middle of its request.",
    413: "Too many bytes, pixels or prompts, or work that takes more than the service's memory.",
    415: "The Content-Type is not one of those expected.",
    422: "The picture or the prompt cannot be used; `kind` is the name of the library's error.",
    429: "The queue is full; try again after Retry-After seconds.",
    500: "The service failed; its log says more.",
    503: "The service is stopping, or has no memory left for this now; try again after Retry-After seconds.",
}
_ALWAYS = (401, 403, 405, 500, 503)


def _object(properties: dict[str, Schema], optional: Sequence[str] = (), **more: Any) -> Schema:
    return {"type": "object", "properties": properties, "additionalProperties": False,
            "required": [name for name in properties if name not in optional], **more}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: Schema, description: str) -> Schema:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _operation(name: str, summary: str, answers: dict[int, Schema], errors: Sequence[int] = (),
               **more: Any) -> Schema:
    wrong = {str(status): _json(_ref("Error"), ERRORS[status]) for status in sorted({*errors, *_ALWAYS})}
    return {"operationId": name, "summary": summary, **more,
            "responses": {**{str(status): answer for status, answer in answers.items()}, **wrong}}


def _path(name: str, description: str) -> Schema:
    return {"name": name, "in": "path", "required": True, "description": description, "schema": {"type": "string"}}


def _query(name: str, schema: Schema, description: str) -> Schema:
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}


_NUMBER: Schema = {"type": "number"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_TEXT: Schema = {"type": "string"}
_IMAGE = _path("image", "a picture's id")
_MATTE = _path("matte", "a matte's id")


def _nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _schemas() -> dict[str, Schema]:
    box = {"type": "array", "items": _NUMBER, "minItems": 4, "maxItems": 4,
           "description": "left, top, right, bottom in pixels"}
    png = _object({"png": {"type": "string", "contentEncoding": "base64", "description": "a picture file"}})
    deflate = _object({"width": _COUNT, "height": _COUNT, "deflate": {
        "type": "string", "contentEncoding": "base64", "description": "zlib of one byte a pixel, row-major"}})
    stroke = _object({"points": {"type": "array", "items": {"type": "array", "items": _NUMBER, "minItems": 2,
                                                            "maxItems": 2}, "minItems": 1},
                      "width": {"type": "number", "minimum": 1}}, optional=("width",))
    earlier = {"oneOf": [{**_TEXT, "description": "id of a kept matte"}, png, deflate]}
    strokes = {"oneOf": [{"type": "array", "items": stroke}, png, deflate],
               "description": "lines or a mask over what surely belongs to the object (keep), or does not (drop)"}
    return {
        "Error": _object({"error": _object({"kind": _TEXT, "message": _TEXT})}),
        "Status": _object({
            "protocol": {"const": 1}, "version": _TEXT, "pid": _COUNT, "device": _TEXT,
            "models": _object({"loaded": {"type": "array", "items": _TEXT},
                               "available": {"type": "array", "items": _TEXT}}),
            "text": {"type": "boolean", "description": "whether words can be prompts"},
            "queue": _object({"running": _COUNT, "waiting": _COUNT, "limit": _COUNT}),
            "cache": _object({"bytes": _COUNT, "limit": _COUNT, "work": _COUNT}),
            "formats": {"type": "object", "additionalProperties": {"type": "array", "items": _TEXT},
                        "description": "content types of picture files that can be uploaded, with their suffixes"},
            "limits": _object({"body_bytes": _COUNT, "pixels": _COUNT, "prompts": _COUNT}),
            "idle_exit_s": {**_NUMBER, "description": "0: never"},
        }),
        "Image": _object({"image": _TEXT, "width": _COUNT, "height": _COUNT}),
        "Prompt": _object({
            "box": _nullable(box),
            "points": _nullable({"type": "array", "items": {"type": "array", "items": _NUMBER, "minItems": 2,
                                                            "maxItems": 2}}),
            "labels": _nullable({"type": "array", "items": {"enum": [0, 1]}}),
            "text": _nullable(_TEXT), "mask": _nullable({"oneOf": [png, deflate]}),
            "keep": _nullable(strokes), "drop": _nullable(strokes), "trimap": _nullable({"oneOf": [png, deflate]}),
            "previous": _nullable({**earlier, "description": "the matte that points and strokes correct"}),
            "subject": _nullable({"type": "boolean", "description": "the one clear subject of the picture; with points "
                                                                    "and strokes only"}),
        }, optional=("box", "points", "labels", "text", "mask", "keep", "drop", "trimap", "previous",
                     "subject"),
            description="One object: any mixture of these."),
        "Ask": _object({
            "prompts": {"type": "array", "items": _ref("Prompt"), "minItems": 1},
            "model": _nullable(_TEXT),
            **{name: _nullable({"enum": list(values), "description": OPTION_HELP[name]})
               for name, values in CHOICES.items()},
            **{name: _nullable({"type": "boolean", "default": on, "description": OPTION_HELP[name]})
               for name, on in SWITCHES.items()},
            "all_matches": {"type": "boolean", "description": "a matte for everything that the words name"},
        }, optional=("model", *OPTION_HELP, "all_matches")),
        "Matte": _object({
            "matte": _TEXT, "score": _NUMBER, "box": _nullable(box), "phrase": _nullable(_TEXT),
            "phrase_score": _nullable(_NUMBER), "width": _COUNT, "height": _COUNT, "empty": {"type": "boolean"},
            "warnings": {"type": "array", "items": _TEXT},
        }),
        "Several": _object({"of": {"type": "array", "items": earlier, "minItems": 1}}),
        "Mattes": _object({"mattes": {"type": "array", "items": _ref("Matte")}}),
        "Event": _object(
            {"event": {"enum": ["queued", "progress", "alive", "done", "error"]}, "position": _COUNT, "stage": _TEXT,
             "share": {"type": "number", "minimum": 0, "maximum": 1}, "kind": _TEXT, "message": _TEXT,
             "mattes": {"type": "array", "items": _ref("Matte")}, "matte": _TEXT},
            optional=("position", "stage", "share", "kind", "message", "mattes", "matte")),
    }


def _colours() -> Schema:
    events = {"application/x-ndjson": {"schema": _ref("Event")}}
    answer = {"description": "They are made, and kept while there is room. With Accept: application/x-ndjson a stream "
                             "of events.",
              "content": {"application/json": {"schema": _object({"matte": _TEXT})}, **events}}
    return _operation("colours", "Make clean colours, with progress, for the outputs that need them. Closing the "
                                 "connection cancels it.", {200: answer}, (404, 413, 422, 429), parameters=[_MATTE])


def _upload() -> Schema:
    binary = {"type": "string", "contentMediaType": RAW}
    whole = {"type": "integer", "minimum": 1, "maximum": 999_999_999}
    return _operation(
        "upload", "Keep a picture; the same content has the same id.",
        {200: _json(_ref("Image"), "It was here already."), 201: _json(_ref("Image"), "It is kept now.")},
        (400, 408, 413, 415, 422, 429),
        requestBody={"required": True, "content": {
            **{kind: {"schema": {"type": "string", "contentMediaType": kind}} for kind in FORMATS},
            RAW: {"schema": {**binary, "description": "row-major, tightly packed, little endian, sRGB; f32 in 0..1"}},
        }},
        parameters=[
            _query("width", whole, "raw pixels only"), _query("height", whole, "raw pixels only"),
            _query("channels", {"enum": [1, 3, 4]}, "raw pixels only: gray, RGB, RGBA"),
            _query("dtype", {"enum": list(DTYPES)}, "raw pixels only"),
        ],
    )


def _mattes() -> Schema:
    events = {"application/x-ndjson": {"schema": _ref("Event")}}
    answer = {"description": "The mattes, in the order of the prompts. With Accept: application/x-ndjson a stream of "
                             "events, one a line, of which the last is done or error.",
              "content": {"application/json": {"schema": _ref("Mattes")}, **events}}
    return _operation(
        "matte", "Matte a picture. Closing the connection cancels it.", {200: answer},
        (400, 404, 408, 413, 415, 422, 429), parameters=[_IMAGE],
        requestBody={"required": True, "content": {"application/json": {"schema": _ref("Ask")}}},
    )


_QUALITY = _query("quality", {"type": "integer", "minimum": 1, "maximum": 100},
                  "webp (without loss unless given) and jpeg")


def _files(*, raw: bool) -> Schema:
    kinds = ["image/png", "image/webp", "image/jpeg", *(["image/tiff", RAW] if raw else [])]
    return {kind: {"schema": {"type": "string", "contentMediaType": kind}} for kind in kinds}


def _picture() -> Schema:
    return _operation("picture", "The picture itself, upright, for those who cannot show the file it came in.",
                      {200: {"description": "The picture without its alpha.", "content": _files(raw=False)}},
                      (400, 404, 413), parameters=[
                          _IMAGE, _query("format", {"enum": list(PICTURE_FORMATS)}, "png8 unless given"), _QUALITY])


def _pixels(output: str, summary: str) -> Schema:
    headers = {f"X-{name}": {"description": "raw formats only", "schema": _COUNT}
               for name in ("Width", "Height", "Channels")}
    answer = {"description": "The pixels: raw ones row-major and little endian.", "headers": headers,
              "content": _files(raw=True)}
    errors = (400, 404, 413, 422, 429) if output in ("foreground", "cutout", "composite") else (400, 404, 413, 422)
    more = [] if output != "composite" else [_query("background", _TEXT, _BACKGROUND)]
    return _operation(output, summary, {200: answer}, errors, parameters=[
        _MATTE, _query("format", {"enum": list(OUTPUTS[output])}, f"{OUTPUTS[output][0]} unless given"), _QUALITY,
        _query("crop", {"enum": ["0", "1"]}, _CROP), *more])


_CROP = "1: only the part of the picture where something can be seen; 0 unless given"
_BACKGROUND = "#rrggbb, a colour's name, or the id of a picture, which is scaled to cover; white unless given"


def _one_call() -> Schema:
    file = {"type": "string", "contentMediaType": "application/octet-stream"}
    meanings = {
        "box": "left, top, right, bottom in pixels: 120,40,560,700", "points": "x,y;x,y: 300,200;40,40",
        "labels": "1,0: on the object or not, one for each point", "text": "words that name the object",
        "prompt": "a Prompt as JSON, in the place of these four", "model": "a name of /v1/status",
        **{name: f"{', '.join(CHOICES.get(name, ('true', 'false')))}: {text}" for name, text in OPTION_HELP.items()},
        "output": ", ".join(OUTPUTS) + "; cutout unless given",
        "format": "as for that output; png8 unless given", "quality": "1..100, for webp and jpeg",
        "background": f"for composite: {_BACKGROUND}", "crop": _CROP,
    }
    fields = {name: {**_TEXT, "description": meanings[name]} for name in FIELDS}
    form = _object({"image": {**file, "description": "a picture file; the field may be called `file` as well"},
                    "mask": {**file, "description": "a picture file, a rough mask of the object"}, **fields},
                   optional=("image", "mask", *FIELDS))
    headers = {"X-Image": {"description": "the picture's id", "schema": _TEXT},
               "X-Matte": {"description": "the matte's id", "schema": _TEXT},
               "X-Score": {"schema": _TEXT}, "X-Empty": {"description": "true: nothing was found", "schema": _TEXT}}
    return _operation(
        "matte_at_once", "Picture and prompt in one form, a picture out. Closing the connection cancels it.",
        {200: {"description": "The output.", "headers": headers, "content": _files(raw=True)}},
        (400, 404, 408, 413, 415, 422, 429),
        requestBody={"required": True, "content": {"multipart/form-data": {"schema": form}}})


def document() -> Schema:
    """OpenAPI 3.1 as JSON-able values."""
    gone = {204: {"description": "Forgotten."}}
    image = {200: _json(_ref("Image"), "It is here.")}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Matting Anything", "version": __version__, "license": {"name": "MIT", "identifier": "MIT"},
                 "description": "The local service: upload a picture once, matte it many times."},
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "components": {"schemas": _schemas(), "securitySchemes": {"token": {
            "type": "http", "scheme": "bearer", "description": "the token of server.json in the runtime folder"}}},
        "paths": {
            "/v1/status": {"get": _operation("status", "What this service is and has.",
                                             {200: _json(_ref("Status"), "The status.")})},
            "/v1/images": {"post": _upload()},
            "/v1/images/{image}": {
                "get": _operation("image", "Whether a picture is kept.", image, (404,), parameters=[_IMAGE]),
                "delete": _operation("forget_image", "Forget a picture and all of its mattes.", gone, (404,),
                                     parameters=[_IMAGE])},
            "/v1/images/{image}/pixels": {"get": _picture()},
            "/v1/images/{image}/mattes": {"post": _mattes()},
            "/v1/images/{image}/combined": {"post": _operation(
                "combined", "One matte of several, or of an alpha that the service had not or has no more.",
                {201: _json(_ref("Matte"), "It is kept.")}, (400, 404, 408, 413, 415, 422, 429), parameters=[_IMAGE],
                requestBody={"required": True, "content": {"application/json": {"schema": _ref("Several")}}})},
            "/v1/mattes/{matte}": {
                "get": _operation("described", "Whether a matte is kept, and what it is.",
                                  {200: _json(_ref("Matte"), "It is here.")}, (404,), parameters=[_MATTE]),
                "delete": _operation("forget_matte", "Forget a matte.", gone, (404,), parameters=[_MATTE])},
            "/v1/mattes/{matte}/alpha": {"get": _pixels("alpha", "The alpha matte, gray.")},
            "/v1/mattes/{matte}/mask": {"get": _pixels("mask", "The mask it grew from, 0 or 255.")},
            "/v1/mattes/{matte}/foreground": {
                "get": _pixels("foreground", "Clean colours of the object, RGB."), "post": _colours()},
            "/v1/mattes/{matte}/cutout": {"get": _pixels("cutout", "The object, RGBA with straight alpha.")},
            "/v1/mattes/{matte}/composite": {"get": _pixels("composite", "The object on another background, RGB.")},
            "/v1/matte": {"post": _one_call()},
            "/v1/page": {"get": _operation(
                "page", "What the page needs to keep its marks in the browser, encrypted.",
                {200: _json(_object({"key": {**_TEXT, "contentEncoding": "base64"}}), "A key for AES-GCM.")})},
            "/v1/open": {"post": _operation(
                "open", "An address of the page for a browser, which works once and needs no token.",
                {201: _json(_object({"path": _TEXT, "seconds": {**_NUMBER, "description": "how long it works"}}),
                            "The address, to be put after the service's own.")})},
            "/v1/shutdown": {"post": _operation("shutdown", "Stop the service.", {202: _json(
                _object({"stopping": {"const": True}}), "It stops.")})},
        },
    }
