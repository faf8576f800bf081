"""A WebSocket server over HTTP/1.1, made with the library `websockets`.

Says {"port": N} when it listens, then what happens to each session.

  /echo      sends every message back as it came
  /name      sends its name first, then echoes
  /close/N   closes with this code as soon as a message came
  /push      sends text, binary, a big message and a fragmented one, and closes
  /ping      pings, waits for the pong, says so, and closes
  /refuse    answers the handshake with 403
"""

import argparse
import asyncio
import http
import json
import sys

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

PATIENCE = 10
MAX_BYTES = 64 << 20


def say(**fields):
    print(json.dumps(fields), flush=True)


async def session(name, socket):
    path = socket.request.path
    if path == "/name":
        await socket.send(name)
    if path == "/push":
        await socket.send("text, ä €")
        await socket.send(bytes(range(256)))
        await socket.send(bytes(3 << 20))
        await socket.send(["frag", "men", "ted"])
        return
    if path == "/ping":
        pong = await socket.ping(b"are you there")
        await asyncio.wait_for(pong, PATIENCE)
        await socket.send("ponged")
        return
    async for message in socket:
        if path.startswith("/close/"):
            await socket.close(int(path.rpartition("/")[2]), "as asked for")
            return
        await socket.send(message)


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", default="server")
    args = parser.parse_args()

    async def handler(socket):
        say(event="opened", path=socket.request.path)
        try:
            await session(args.name, socket)
        except ConnectionClosed:
            pass
        finally:
            await socket.close()
            say(event="closed", path=socket.request.path, code=socket.close_code)

    def refuse(socket, request):
        if request.path == "/refuse":
            return socket.respond(http.HTTPStatus.FORBIDDEN, "not here\n")
        return None

    def choose(_socket, offered):
        return next((one for one in offered if one.startswith("echo.")), None)

    async with serve(
        handler, "127.0.0.1", 0, process_request=refuse, max_size=MAX_BYTES,
        select_subprotocol=choose, close_timeout=2, ping_interval=None,
    ) as server:
        say(port=server.sockets[0].getsockname()[1])
        # Whoever started it closes this, or dies: both mean the end.
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
