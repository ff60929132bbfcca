"""Figures of a fresh `make up`: how fast it starts and stops, and what a large message costs it."""

import json
import os
import signal
import smtplib
import ssl
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.figures import Figure
from bench.parts import BenchError, daemon, free_ports, remove_engines
from bench.people import RECIPIENT
from bench.usage import tree
from config.embedded import place_engines
from config.installation import PORTS, leftovers

SENDER = "user@yourdomain.com"
LARGE = 25_000_000  # octets
LINE = b"x" * 998 + b"\r\n"


def demo_figures(folder: Path) -> list[Figure]:
    data_dir = folder / "demo"
    demo_json = data_dir / "demo.json"
    environment = {name: v for name, v in os.environ.items() if not name.startswith("OUTGATE_")}
    environment |= {"OUTGATE_DATA_DIR": str(data_dir)}
    ports = free_ports(len(PORTS))
    environment |= {name: str(port) for name, port in zip(PORTS, ports, strict=True)}
    command, log = [sys.executable, "manage.py", "up"], folder / "demo.log"
    started = time.monotonic()
    with ExitStack() as stack:
        up = stack.enter_context(
            daemon(
                command,
                log,
                demo_json.exists,
                environment=environment,
                stop_signal=signal.SIGINT,
            )
        )
        start = time.monotonic() - started
        growth = _growth(up, json.loads(demo_json.read_text()))
        asked = time.monotonic()
    stop = time.monotonic() - asked
    if left := leftovers(data_dir):
        raise BenchError(f"make up left processes behind: {left}")
    remove_engines(place_engines(data_dir))
    return [
        Figure("make up: fresh start to READY", "s", [start], 30, lower_is_better=True),
        Figure("make up: Ctrl-C to the end", "s", [stop], 10, lower_is_better=True),
        Figure("growth while 25 MB pass", "MB", [growth], 20, lower_is_better=True),
    ]


def _growth(up: int, demo: dict[str, Any]) -> float:
    """By how many megabytes the submission process grows while a large message passes."""
    submission = _submission(up)
    before = highest = _resident(submission)
    done = threading.Event()

    def watch() -> None:
        nonlocal highest
        while not done.wait(0.005):
            highest = max(highest, _resident(submission))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        _send_large(demo)
    finally:
        done.set()
        watcher.join()
    return (highest - before) / 1000


def _send_large(demo: dict[str, Any]) -> None:
    account = next(each for each in demo["accounts"] if each["address"] == SENDER)
    header = f"From: {SENDER}\r\nTo: {RECIPIENT}\r\nSubject: bench\r\n\r\n".encode()
    door = demo["submission"]
    with smtplib.SMTP(door["host"], door["port"], timeout=60) as client:
        client.starttls(context=ssl.create_default_context(cafile=demo["ca_file"]))
        client.login(SENDER, account["app_password"])
        client.sendmail(SENDER, [RECIPIENT], header + LINE * (LARGE // len(LINE)))


def _submission(up: int) -> int:
    for number in tree([up]):
        if b"submission" in Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0"):
            return number
    raise BenchError("make up runs no submission process.")


def _resident(process: int) -> int:
    """Kilobytes in memory."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])
