"""The local service: one warm model behind HTTP on 127.0.0.1, for programs that cannot load torch themselves.

    POST /v1/images ──► image id ──► POST /v1/images/{id}/mattes ──► matte ids ──► GET /v1/mattes/{id}/alpha
          │                                   │
    pictures.py, wire.py         jobs.py ──► engine.py ──► cache.py
                                (one at a time)   (model)      (what is kept and what works; bounded by bytes)

A picture is uploaded once and matted many times; its embedding is kept by content. POST /v1/matte (one_call.py) does
all of it at once. connections.py hangs up on who says nothing, guard.py lets in only who has the token that endpoint.py
has written into a file of this user, and handover.py gives it to the browser. ../client.py is the other end of it.
docs/service.md describes the protocol.
"""
