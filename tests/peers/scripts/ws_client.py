"""A WebSocket client: runs the scenarios that are named, each of which checks what comes back.

Prints one JSON object with what each scenario saw. Ends with 1 at the first that is wrong.
"""

import argparse
import asyncio
import json
import ssl
import sys
import threading

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

PATIENCE = 10
MAX_BYTES = 64 << 20


class Client:
    def __init__(self, args):
        self.args = args
        self.tls = ssl.create_default_context(cafile=args.ca) if args.ca else None

    def connect(self, path, **more):
        return connect(
            self.args.target + path, ssl=self.tls, max_size=MAX_BYTES, proxy=None,
            additional_headers={"x-user": self.args.user}, open_timeout=PATIENCE,
            close_timeout=self.args.close_timeout, ping_interval=None, **more,
        )


async def echo(client):
    """Text, binary, nothing, and a message in fragments."""
    async with client.connect("/echo") as socket:
        for message in ("text, ä €", b"\x00\x01\xff", "", b"", "a" * 125, "a" * 126, b"b" * 65536):
            await socket.send(message)
            same(await socket.recv(), message)
        await socket.send(["in ", "three ", "parts"])
        same(await socket.recv(), "in three parts")
    same(socket.close_code, 1000)
    return {"code": socket.close_code}


async def name(client):
    async with client.connect("/name") as socket:
        return {"name": await socket.recv()}


async def subprotocol(client):
    async with client.connect("/echo", subprotocols=["other", "echo.two"]) as socket:
        same(socket.subprotocol, "echo.two")
        extensions = socket.response.headers.get("sec-websocket-extensions", "")
        assert "permessage-deflate" in extensions, extensions
    return {}


async def codes(client):
    """The code that the server closes with."""
    for code in (1000, 1001, 1011, 1012, 1013, 3000, 4999):
        async with client.connect(f"/close/{code}") as socket:
            await socket.send("now")
            try:
                await socket.recv()
            except ConnectionClosed as closed:
                same((closed.rcvd.code, closed.rcvd.reason), (code, "as asked for"))
            else:
                raise AssertionError(f"a message instead of {code}")
    return {}


async def own_code(client):
    """The code that the client closes with; the server tells which came."""
    socket = await client.connect("/echo")
    await socket.close(4001, "done here")
    same(socket.close_code, 4001)
    return {}


async def push(client):
    """The server speaks first."""
    async with client.connect("/push") as socket:
        same(await socket.recv(), "text, ä €")
        same(await socket.recv(), bytes(range(256)))
        same(await socket.recv() == bytes(3 << 20), True)
        same(await socket.recv(), "fragmented")
        await socket.wait_closed()
    same(socket.close_code, 1000)
    return {}


async def ping(client):
    """Pings and pongs, both ways."""
    async with client.connect("/ping") as socket:
        same(await socket.recv(), "ponged")
    async with client.connect("/echo") as socket:
        await asyncio.wait_for(await socket.ping(b"and you"), PATIENCE)
    return {}


async def big(client):
    message = bytes(range(256)) * (16 << 12)
    async with client.connect("/echo", compression=None) as socket:
        await socket.send(message)
        same(await socket.recv() == message, True)
    return {"bytes": len(message)}


async def refused(client):
    """An answer that is no upgrade arrives as it is."""
    try:
        await client.connect("/refuse")
    except InvalidStatus as error:
        same((error.response.status_code, bytes(error.response.body)), (403, b"not here\n"))
        return {}
    raise AssertionError("was accepted")


async def many(client):
    """Sessions at the same time, each with messages in both directions."""

    async def one(number):
        async with client.connect("/echo") as socket:
            for step in range(20):
                await socket.send(f"{number}-{step}")
                same(await socket.recv(), f"{number}-{step}")

    await asyncio.gather(*(one(number) for number in range(client.args.count)))
    return {"sessions": client.args.count}


async def until_closed(client):
    """Says that it is open, and echoes until the session is ended from outside, which it tells,
    or standard input ends."""
    told = threading.Event()
    watch = threading.Thread(target=lambda: (sys.stdin.read(), told.set()), daemon=True)
    watch.start()
    async with client.connect("/name") as socket:
        name = await socket.recv()
        print(json.dumps({"event": "open", "name": name}), flush=True)
        echoed = 0
        try:
            while not told.is_set():
                await socket.send("x")
                same(await socket.recv(), "x")
                echoed += 1
                await asyncio.sleep(0.01)
        except ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd else None
            return {"name": name, "code": code, "echoed": echoed}
    return {"name": name, "code": "still open", "echoed": echoed}


def same(found, expected):
    assert found == expected, f"{found!r:.300} instead of {expected!r:.300}"


SCENARIOS = {
    scenario.__name__: scenario
    for scenario in (
        echo, name, subprotocol, codes, own_code, push, ping, big, refused, many, until_closed,
    )
}


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", required=True, help="ws://host:port or wss://host:port")
    parser.add_argument("--ca")
    parser.add_argument("--user", default="someone")
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--close-timeout", type=float, default=PATIENCE)
    parser.add_argument("scenarios", nargs="+", choices=SCENARIOS)
    args = parser.parse_args()
    client = Client(args)
    print(json.dumps({name: await SCENARIOS[name](client) for name in args.scenarios}))


asyncio.run(main())
