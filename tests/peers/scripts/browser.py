"""Opens a page in Chromium without a window, until the end of standard input."""

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--chromium", required=True)
    parser.add_argument("url")
    args = parser.parse_args()
    profile = tempfile.mkdtemp(prefix="haldane-browser-")
    browser = subprocess.Popen(
        [
            args.chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-dev-shm-usage", "--disable-background-networking", "--disable-sync",
            "--disable-component-update", "--no-proxy-server", "--disable-extensions",
            # The certificates of tests are signed by nobody that a browser knows.
            "--ignore-certificate-errors", f"--user-data-dir={profile}", args.url,
        ],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )

    def end(*_):
        # It may come twice, and must not disturb the clearing up.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    try:
        sys.stdin.read()
    finally:
        browser.terminate()
        try:
            browser.wait(3)
        except subprocess.TimeoutExpired:
            browser.kill()
            browser.wait()
        shutil.rmtree(profile, ignore_errors=True)


main()
