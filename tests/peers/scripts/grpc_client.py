"""A gRPC client: runs the scenarios that are named, each of which checks what comes back.

Prints one JSON object with what each scenario saw. Ends with 1 at the first that is wrong.
"""

import argparse
import json
import threading
import time

import grpc

SERVICE = "/test.Echo/"
PATIENCE = 10
BIG = 64 * 1024 * 1024


class Client:
    def __init__(self, args):
        options = [
            ("grpc.max_receive_message_length", BIG),
            ("grpc.max_send_message_length", BIG),
            # A call is made once: what fails is seen.
            ("grpc.enable_retries", 0),
        ]
        if args.ca:
            with open(args.ca, "rb") as file:
                credentials = grpc.ssl_channel_credentials(file.read())
            self.channel = grpc.secure_channel(args.target, credentials, options)
        else:
            self.channel = grpc.insecure_channel(args.target, options)
        self.args = args
        channel = self.channel
        self.unary = channel.unary_unary(SERVICE + "Unary")
        self.client_stream = channel.stream_unary(SERVICE + "ClientStream")
        self.server_stream = channel.unary_stream(SERVICE + "ServerStream")
        self.bidi = channel.stream_stream(SERVICE + "Bidi")
        self.report = channel.unary_unary(SERVICE + "Report")

    def with_user(self, metadata=()):
        return (("x-user", self.args.user),) + tuple(metadata)

    def call(self, message=b"hello", metadata=(), timeout=PATIENCE, **more):
        return self.unary.with_call(
            message, metadata=self.with_user(metadata), timeout=timeout, **more
        )

    def failure(self, metadata, **more):
        """The error that a call with this metadata ends with."""
        try:
            self.call(metadata=metadata, **more)
        except grpc.RpcError as error:
            return error
        raise AssertionError(f"{metadata} was answered")


def unary(client):
    message = bytes(range(256)) * 4
    answer, call = client.call(message)
    same(answer, message)
    same(call.code(), grpc.StatusCode.OK)
    initial = dict(call.initial_metadata())
    same(dict(call.trailing_metadata())["x-instance-end"], initial["x-instance"])
    # An empty message is a message.
    same(client.call(b"")[0], b"")
    return {"instance": initial["x-instance"]}


def client_stream(client):
    parts = [b"%d," % number * 100 for number in range(500)]
    answer = client.client_stream(iter(parts), metadata=client.with_user(), timeout=PATIENCE)
    same(answer, b"".join(parts))
    return {"bytes": len(answer)}


def server_stream(client):
    call = client.server_stream(b"500 1000", metadata=client.with_user(), timeout=PATIENCE)
    for number, message in enumerate(call):
        same((message[:8], len(message)), (b"%08d" % number, 1000))
    same(number, 499)
    same(call.code(), grpc.StatusCode.OK)
    return {"messages": number + 1}


def bidi(client):
    """Each message is sent after the answer to the one before: nothing may be held back."""
    answered = threading.Semaphore(1)

    def messages():
        for number in range(200):
            assert answered.acquire(timeout=PATIENCE), f"no answer before {number}"
            yield b"%d" % number

    call = client.bidi(messages(), metadata=client.with_user(), timeout=PATIENCE * 2)
    for number, message in enumerate(call):
        same(message, b"%d" % number)
        answered.release()
    same(number, 199)
    same(call.code(), grpc.StatusCode.OK)
    return {"messages": number + 1}


def metadata(client):
    sent = (
        ("x-echo", "one"),
        ("x-echo", "two"),
        ("x-echo", "one"),
        ("x-echo-raw-bin", bytes(range(256))),
        ("x-echo-raw-bin", b""),
        ("x-echo-text", "with, comma; and \"quotes\""),
    )
    _, call = client.call(metadata=sent)
    for received in (call.initial_metadata(), call.trailing_metadata()):
        for name in {name for name, _ in sent}:
            expected = [value for key, value in sent if key == name]
            found = [value for key, value in received if key == name]
            # Values may be joined by a comma on the way, which means the same.
            if name == "x-echo":
                found = [part.strip() for value in found for part in value.split(",")]
            same(found, expected)
    return {"fields": len(sent)}


def statuses(client):
    """Every status there is, with a message that must be encoded; all trailers-only."""
    seen = {}
    for status in grpc.StatusCode:
        if status is grpc.StatusCode.OK:
            continue
        error = client.failure((("x-fail", f"{status.name}/50 % of it, and a line"),))
        same(error.code(), status)
        same(error.details(), "50 % of it, and a line")
        seen[status.name] = seen.get(status.name, 0) + 1
    return seen


def late_statuses(client):
    """A status after the messages, in trailers."""
    seen = {}
    for name in ("UNAVAILABLE", "INTERNAL", "NOT_FOUND"):
        asked = client.with_user((("x-fail-late", name),))
        call = client.server_stream(b"3 100", metadata=asked, timeout=PATIENCE)
        messages = []
        try:
            for message in call:
                messages.append(message)
        except grpc.RpcError as error:
            same(error.code(), grpc.StatusCode[name])
        same((len(messages), call.code()), (3, grpc.StatusCode[name]))
        seen[name] = 1
    return seen


def deadline(client):
    began = time.monotonic()
    error = client.failure((("x-sleep", "30"),), timeout=0.4)
    took = time.monotonic() - began
    same(error.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
    assert took < 5, took
    # The server knows the time that is left, to what clocks and rounding allow.
    answer = json.loads(client.report(b"", metadata=client.with_user(), timeout=PATIENCE))
    left = answer["deadline"]
    assert left is not None and 0 < left <= PATIENCE + 1, answer
    return {"took": took, "left": left}


def cancel(client):
    """A stream without end is left after three messages; the server says that it knows."""
    call = client.server_stream(b"0 100", metadata=client.with_user(), timeout=PATIENCE * 3)
    for _ in range(3):
        next(call)
    call.cancel()
    same(call.code(), grpc.StatusCode.CANCELLED)
    # The channel goes on.
    same(client.call()[0], b"hello")
    return {}


def big(client):
    sizes = (1 << 20, 16 << 20)
    for size in sizes:
        message = bytes(size)
        answer, _ = client.call(message, timeout=PATIENCE * 3)
        same(answer == message, True)
    return {"bytes": sum(sizes)}


def compression(client):
    message = b"compress me " * 100_000
    answer, _ = client.call(message, compression=grpc.Compression.Gzip)
    same(answer == message, True)
    return {"bytes": len(message)}


def many(client):
    """Calls at the same time on one connection."""
    calls = [
        client.unary.future(b"%d" % number, metadata=client.with_user(), timeout=PATIENCE * 3)
        for number in range(client.args.count)
    ]
    for number, call in enumerate(calls):
        same(call.result(), b"%d" % number)
    return {"calls": len(calls)}


def users(client):
    """A call for each of many users, one after another: how each ended, and where."""
    seen = {}
    for number in range(client.args.count):
        client.args.user = f"user-{number}"
        try:
            answer, call = client.call()
            name = dict(call.initial_metadata())["x-instance"]
        except grpc.RpcError as error:
            name = error.code().name
        seen[name] = seen.get(name, 0) + 1
    return seen


def slow(client):
    """Three calls at the same time that take a second or more: what began is finished."""
    late = client.with_user((("x-sleep", "1"),))
    unary = [
        client.unary.future(b"%d" % number, metadata=late, timeout=PATIENCE * 2)
        for number in range(2)
    ]

    def messages():
        for number in range(20):
            yield b"%d" % number
            time.sleep(0.1)

    streamed = client.bidi(messages(), metadata=client.with_user(), timeout=PATIENCE * 2)
    same(list(streamed), [b"%d" % number for number in range(20)])
    same([call.result() for call in unary], [b"0", b"1"])
    return {"calls": len(unary) + 1, "messages": 20}


def until_broken(client):
    """Reads a stream without end, and tells what ended it."""
    call = client.server_stream(b"0 100", metadata=client.with_user(), timeout=PATIENCE * 3)
    messages = 0
    try:
        for _ in call:
            messages += 1
            if messages == 3:
                print(json.dumps({"event": "streaming"}), flush=True)
    except grpc.RpcError as error:
        return {"messages": messages, "status": error.code().name}
    raise AssertionError("ended well")


def same(found, expected):
    assert found == expected, f"{found!r:.300} instead of {expected!r:.300}"


SCENARIOS = {
    scenario.__name__: scenario
    for scenario in (
        unary, client_stream, server_stream, bidi, metadata, statuses, late_statuses,
        deadline, cancel, big, compression, many, users, slow, until_broken,
    )
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", required=True)
    parser.add_argument("--ca")
    parser.add_argument("--user", default="someone")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("scenarios", nargs="+", choices=SCENARIOS)
    args = parser.parse_args()
    client = Client(args)
    print(json.dumps({name: SCENARIOS[name](client) for name in args.scenarios}))


main()
