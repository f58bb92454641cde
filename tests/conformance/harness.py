"""What both conformance scripts share: arguments, customers, counted checks, the last line."""

import argparse
import json
import sys
import time
import urllib.parse


def arguments(description):
    """`--url`, and the customers that the sandbox announced: a file, or standard input."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--url", help="address of the sandbox; default: the one its customers name")
    parser.add_argument("--customer", help="which customer to be, by name; default: the first")
    parser.add_argument(
        "customers", nargs="?", default="-", help="file of the sandbox's JSON lines, `-` for standard input"
    )
    options = parser.parse_args()
    if options.customers == "-":
        lines = sys.stdin.readlines()
    else:
        with open(options.customers, encoding="utf-8") as file:
            lines = file.readlines()
    customers = [json.loads(line) for line in lines if line.strip().startswith("{")]
    if options.customer:
        customers = [known for known in customers if known["customer"] == options.customer]
    if not customers:
        parser.error("there is no such customer among the lines given")
    url = (options.url or customers[0]["url"]).rstrip("/")
    if urllib.parse.urlsplit(url).hostname not in ("127.0.0.1", "localhost", "::1"):
        parser.error(f"{url} is not on this machine")
    return url, customers[0]


class Checks:
    """Counts what passed and what failed. Nothing is skipped: a check that cannot run has failed."""

    def __init__(self):
        self.passed = 0
        self.failed = 0

    def run(self, name, check):
        """Runs `check`; its value is handed on, an exception makes it a failure."""
        try:
            value = check()
        except Exception as error:  # a check may fail in any way, and the next must still run
            self.failed += 1
            print(f"FAILED  {name}: {type(error).__name__}: {error}")
            return None
        self.passed += 1
        print(f"ok      {name}")
        return value

    def must(self, name, check):
        """Like `run`, for what the rest is built on: without it there is nothing more to check."""
        failed = self.failed
        value = self.run(name, check)
        if self.failed > failed:
            self.finish()
        return value

    def finish(self):
        """The last line, alone; the process ends with 1 when anything failed."""
        print(f"{self.passed} passed, {self.failed} failed")
        sys.exit(1 if self.failed or not self.passed else 0)


def expect(condition, message):
    if not condition:
        raise AssertionError(message)


def raises(kinds, call):
    """The error that `call` ends with; it must be one of `kinds`."""
    try:
        value = call()
    except kinds as error:
        return error
    raise AssertionError(f"no error, but {value!r}")


def patiently(is_limited, call):
    """Repeats a reading call while the exchange says that it was called too often."""
    for _ in range(6):
        try:
            value = call()
        except Exception as error:
            if not is_limited(error):
                raise
        else:
            if not is_limited(value):
                return value
        time.sleep(5)
    return call()
