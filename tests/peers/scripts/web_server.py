"""A web server over HTTP/1.1 and HTTP/2 with WebSocket on both, made with `hypercorn`.

Says {"port": N} when it listens. With --cert it speaks TLS and offers h2 and http/1.1;
without, HTTP/2 by prior knowledge and HTTP/1.1.

  GET /            the page for a browser, page.html
  POST /report     what the page found out; printed as {"event": "report", ...}
  GET /bytes/N     N bytes, which are 0 to 255 again and again
  POST /digest     the sha256 of what was sent, and its length
  ws /echo         sends every message back
  ws /close/N      closes with this code when a message came
"""

import argparse
import asyncio
import hashlib
import json
import os
import socket
import sys

from h2.events import DataReceived
from hypercorn.asyncio import serve
from hypercorn.config import Config
from hypercorn.protocol.h2 import H2Protocol

PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "page.html")
BLOCK = bytes(range(256)) * 256


def say(**fields):
    print(json.dumps(fields), flush=True)


async def body_of(receive):
    more = True
    while more:
        event = await receive()
        if event["type"] != "http.request":
            return
        yield event.get("body", b"")
        more = event.get("more_body", False)


async def answer(send, status, body, kind="text/plain"):
    fields = [(b"content-type", kind.encode()), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


async def http(scope, receive, send):
    path = scope["path"]
    if path == "/":
        with open(PAGE, "rb") as file:
            await answer(send, 200, file.read(), "text/html; charset=utf-8")
    elif path == "/report":
        body = b"".join([part async for part in body_of(receive)])
        say(event="report", version=scope["http_version"], report=json.loads(body))
        await answer(send, 200, b"thanks")
    elif path == "/digest":
        digest, length = hashlib.sha256(), 0
        async for part in body_of(receive):
            digest.update(part)
            length += len(part)
        found = {"sha256": digest.hexdigest(), "length": length, "version": scope["http_version"]}
        await answer(send, 200, json.dumps(found).encode(), "application/json")
    elif path.startswith("/bytes/"):
        await download(int(path.rpartition("/")[2]), send)
    else:
        await answer(send, 404, b"no such page")


async def download(length, send):
    fields = [(b"content-length", b"%d" % length)]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    while length > 0:
        part = BLOCK[:length]
        length -= len(part)
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def websocket(scope, receive, send):
    path = scope["path"]
    await receive()
    await send({"type": "websocket.accept"})
    say(event="opened", path=path, version=scope["http_version"])
    while True:
        event = await receive()
        if event["type"] == "websocket.disconnect":
            say(event="closed", path=path, code=event.get("code"))
            return
        if path.startswith("/close/"):
            await send({"type": "websocket.close", "code": int(path.rpartition("/")[2])})
            return
        if event.get("text") is not None:
            await send({"type": "websocket.send", "text": event["text"]})
        else:
            await send({"type": "websocket.send", "bytes": event["bytes"]})


async def app(scope, receive, send):
    if scope["type"] == "http":
        await http(scope, receive, send)
    elif scope["type"] == "websocket":
        await websocket(scope, receive, send)
    elif scope["type"] == "lifespan":
        while True:
            event = await receive()
            await send({"type": event["type"] + ".complete"})
            if event["type"] == "lifespan.shutdown":
                return


def overlook_data_of_ended_streams():
    """Once hypercorn 0.18 has sent or answered a close frame it forgets the stream, and DATA
    that still comes on it, which is in order (RFC 9113, 8.1), makes it drop the connection
    with all its other streams."""
    handle = H2Protocol._handle_events

    async def known_only(self, events):
        for event in events:
            if isinstance(event, DataReceived) and event.stream_id not in self.streams:
                length = event.flow_controlled_length
                self.connection.acknowledge_received_data(length, event.stream_id)
            else:
                await handle(self, [event])
        await self._flush()

    H2Protocol._handle_events = known_only


async def main():
    overlook_data_of_ended_streams()
    parser = argparse.ArgumentParser()
    parser.add_argument("--cert")
    parser.add_argument("--key")
    args = parser.parse_args()
    listener = socket.create_server(("127.0.0.1", 0))
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.websocket_max_message_size = 64 << 20
    config.h2_max_concurrent_streams = 200
    config.loglevel = "WARNING"
    config.graceful_timeout = 0.5
    if args.cert:
        config.certfile, config.keyfile = args.cert, args.key
    ended = asyncio.Event()

    async def until_stdin_ends():
        # Whoever started it closes this, or dies: both mean the end.
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        ended.set()

    watch = asyncio.create_task(until_stdin_ends())
    say(port=listener.getsockname()[1])
    await serve(app, config, shutdown_trigger=ended.wait)
    await watch


asyncio.run(main())
