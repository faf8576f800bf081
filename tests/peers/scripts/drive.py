"""Drives a page in Chromium without a window, over its debugging protocol, as a person would.

Reads a line of JSON for each thing to do, and answers each with a line of JSON:
{"open": URL}, {"click": SELECTOR}, {"type": SELECTOR, "text": TEXT}, {"press": KEY},
{"evaluate": EXPRESSION}. The answer has "value", or "error" with what was wrong. Ends with
its standard input."""

import argparse
import asyncio
import itertools
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

import websockets

# An element that is hidden or covered cannot be clicked, as by a person.
FIND = """(() => {
  const node = document.querySelector(%s);
  if (!node) return null;
  node.scrollIntoView({ block: "center" });
  const box = node.getBoundingClientRect();
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  const top = document.elementFromPoint(x, y);
  return box.width > 0 && top && (node === top || node.contains(top)) ? { x, y } : null;
})()"""


class Page:
    def __init__(self, socket):
        self.socket = socket
        self.numbers = itertools.count(1)

    async def call(self, method, **parameters):
        number = next(self.numbers)
        await self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(await self.socket.recv())
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(message["error"]["message"])
                return message["result"]

    async def evaluate(self, expression):
        result = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in result:
            raise RuntimeError(json.dumps(result["exceptionDetails"])[:500])
        return result["result"].get("value")

    async def click(self, selector):
        place = await self.evaluate(FIND % json.dumps(selector))
        if place is None:
            raise RuntimeError(f"nothing to click: {selector}")
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            await self.call(
                "Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place
            )

    async def do(self, order):
        match order:
            case {"open": url}:
                await self.call("Page.navigate", url=url)
            case {"click": selector}:
                await self.click(selector)
            case {"type": selector, "text": text}:
                await self.click(selector)
                await self.evaluate("document.activeElement.select()")
                await self.call("Input.insertText", text=text)
            case {"press": key}:
                for kind in ("keyDown", "keyUp"):
                    await self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)
            case {"evaluate": expression}:
                return await self.evaluate(expression)
            case _:
                raise RuntimeError(f"not understood: {order}")


async def socket_of(profile):
    """Where the browser listens: it writes that into its profile."""
    file = profile / "DevToolsActivePort"
    while not file.exists() or len(lines := file.read_text().split("\n")) < 2:
        await asyncio.sleep(0.05)
    return f"ws://127.0.0.1:{lines[0]}{lines[1]}"


async def drive(profile):
    address = await socket_of(profile)
    # One socket for the browser, and one for its first page.
    async with websockets.connect(address, max_size=None) as socket:
        browser = Page(socket)
        target = (await browser.call("Target.createTarget", url="about:blank"))["targetId"]
    page = address.rsplit("/devtools/", 1)[0] + f"/devtools/page/{target}"
    async with websockets.connect(page, max_size=None) as socket:
        page = Page(socket)
        while line := await asyncio.to_thread(sys.stdin.readline):
            try:
                answer = {"value": await page.do(json.loads(line))}
            except RuntimeError as error:
                answer = {"error": str(error)}
            print(json.dumps(answer), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--chromium", required=True)
    args = parser.parse_args()
    profile = pathlib.Path(tempfile.mkdtemp(prefix="haldane-drive-"))
    browser = subprocess.Popen(
        [
            args.chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-dev-shm-usage", "--disable-background-networking", "--disable-sync",
            "--disable-component-update", "--disable-quic", "--no-proxy-server",
            "--disable-extensions", "--remote-debugging-port=0", f"--user-data-dir={profile}",
        ],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )

    def end(*_):
        # It may come twice, and must not disturb the clearing up.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    try:
        asyncio.run(drive(profile))
    finally:
        browser.terminate()
        try:
            browser.wait(3)
        except subprocess.TimeoutExpired:
            browser.kill()
            browser.wait()
        shutil.rmtree(profile, ignore_errors=True)


main()
