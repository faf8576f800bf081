"""A gRPC server that echoes and does what the metadata of a call asks for.

Its messages are plain bytes: nothing of a message is looked into, so nothing is generated.
Says {"port": N} when it listens, and {"event": ...} for each call that was cancelled.

  x-fail: STATUS[/MESSAGE]   ends with this status, before any message (trailers only)
  x-fail-late: STATUS        ends with this status after what it would have sent
  x-sleep: SECONDS           answers after this time
  x-echo*, x-echo-*-bin      come back in the initial metadata and in the trailers
"""

import argparse
import json
import sys
import threading
import time
from concurrent import futures

import grpc

SERVICE = "test.Echo"
BIG = 64 * 1024 * 1024


class Echo:
    def __init__(self, name, fail):
        self.name = name
        self.fail = fail
        self.calls = 0
        self.running = set()
        self.lock = threading.Lock()

    def begin(self, context):
        """What every call does first; returns what the metadata asks for."""
        with self.lock:
            self.calls += 1
            self.running.add(id(context))
        metadata = context.invocation_metadata()
        asked = {item.key: item.value for item in metadata}
        echoed = tuple((item.key, item.value) for item in metadata if item.key.startswith("x-echo"))
        context.add_callback(lambda: self.ended(context))
        fail = asked.get("x-fail", self.fail)
        if fail:
            self.finish(context)
            status, _, message = fail.partition("/")
            context.abort(grpc.StatusCode[status], message or "as asked for")
        context.send_initial_metadata((("x-instance", self.name),) + echoed)
        context.set_trailing_metadata((("x-instance-end", self.name),) + echoed)
        self.sleep(context, float(asked.get("x-sleep", 0)))
        return asked

    def ended(self, context):
        with self.lock:
            left = id(context) in self.running
            self.running.discard(id(context))
        if left:
            say(event="cancelled", instance=self.name)

    @staticmethod
    def sleep(context, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until and context.is_active():
            time.sleep(0.01)

    def finish(self, context, asked=None):
        """What every call does last, unless its client has left."""
        if context.is_active():
            with self.lock:
                self.running.discard(id(context))
        late = asked and asked.get("x-fail-late")
        if late:
            context.abort(grpc.StatusCode[late], "late, as asked for")

    def unary(self, request, context):
        asked = self.begin(context)
        self.finish(context, asked)
        return request

    def client_stream(self, requests, context):
        """Answers with all messages together."""
        asked = self.begin(context)
        answer = b"".join(requests)
        self.finish(context, asked)
        return answer

    def server_stream(self, request, context):
        """The request is a number of messages, and the size of each; without end if 0."""
        asked = self.begin(context)
        count, size = map(int, request.split())
        sent = 0
        while context.is_active() and (count == 0 or sent < count):
            yield b"%08d" % sent + b"x" * (size - 8)
            sent += 1
            if count == 0:
                time.sleep(0.01)
        self.finish(context, asked)

    def bidi(self, requests, context):
        asked = self.begin(context)
        for request in requests:
            yield request
        self.finish(context, asked)

    def report(self, _request, context):
        """What the server knows about this call, and how many there were."""
        with self.lock:
            calls = self.calls
        remaining = context.time_remaining()
        # Without a deadline this is a time that no call has.
        deadline = remaining if remaining is not None and remaining < 1e6 else None
        metadata = [[item.key, str(item.value)] for item in context.invocation_metadata()]
        answer = {"instance": self.name, "calls": calls, "deadline": deadline, "metadata": metadata}
        return json.dumps(answer).encode()


def say(**fields):
    print(json.dumps(fields), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", default="server")
    parser.add_argument("--fail", help="the status of every call")
    parser.add_argument("--cert")
    parser.add_argument("--key")
    args = parser.parse_args()
    echo = Echo(args.name, args.fail)
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(echo.unary),
        "ClientStream": grpc.stream_unary_rpc_method_handler(echo.client_stream),
        "ServerStream": grpc.unary_stream_rpc_method_handler(echo.server_stream),
        "Bidi": grpc.stream_stream_rpc_method_handler(echo.bidi),
        "Report": grpc.unary_unary_rpc_method_handler(echo.report),
    }
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=64),
        options=[
            ("grpc.max_receive_message_length", BIG),
            ("grpc.max_send_message_length", BIG),
            ("grpc.so_reuseport", 0),
        ],
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    if args.cert:
        with open(args.key, "rb") as key, open(args.cert, "rb") as cert:
            pair = (key.read(), cert.read())
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    say(port=port)
    # Whoever started it closes this, or dies: both mean the end.
    sys.stdin.read()
    server.stop(0)


main()
