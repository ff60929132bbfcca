"""`make bench`: figures of a fresh `make up`, as a table and as bench.json in the data folder."""

import json
import os
import shutil
import signal
import smtplib
import ssl
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from config.installation import leftovers
from tests.config.running import Up, free_ports

SENDER, RECIPIENT = "user@yourdomain.com", "claire@customer.example"
LINE = b"x" * 998 + b"\r\n"
MESSAGES = 300
ROUNDS = 3


@dataclass
class Figure:
    """`goal` is None where nothing was promised."""

    name: str
    value: float
    unit: str
    goal: float | None = None
    lower_is_better: bool = True

    @property
    def met(self) -> bool | None:
        if self.goal is None:
            return None
        return self.value <= self.goal if self.lower_is_better else self.value >= self.goal


def message(size: int) -> bytes:
    header = f"From: {SENDER}\r\nTo: {RECIPIENT}\r\nSubject: bench\r\n\r\n".encode()
    return header + LINE * max(size // len(LINE), 1)


def submission(up: Up) -> smtplib.SMTP:
    """A signed-in session with our service."""
    demo = up.demo
    account = next(each for each in demo["accounts"] if each["address"] == SENDER)
    client = smtplib.SMTP(demo["submission"]["host"], demo["submission"]["port"], timeout=60)
    client.starttls(context=ssl.create_default_context(cafile=demo["ca_file"]))
    client.login(SENDER, account["app_password"])
    return client


def sink(up: Up) -> smtplib.SMTP:
    """A session with the organisation's mail server itself: what the generator can do at most."""
    client = smtplib.SMTP("localhost", int(up.ports["OUTGATE_DEMO_OURS_PORT"]), timeout=60)
    client.starttls(context=ssl.create_default_context(cafile=up.demo["ca_file"]))
    return client


def rate(client: smtplib.SMTP) -> float:
    """Messages of 1 kB a second, one after the other on one session."""
    content = message(1_000)
    started = time.perf_counter()
    for _message in range(MESSAGES):
        client.sendmail(SENDER, [RECIPIENT], content)
    return MESSAGES / (time.perf_counter() - started)


def resident(process: int) -> int:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


def growth(up: Up, client: smtplib.SMTP, size: int) -> float:
    """By how many bytes the submission process grows while a message of `size` passes."""
    process = up.find("manage.py", "submission")
    if process is None:
        raise RuntimeError("The submission process is gone.")
    before = highest = resident(process)
    done = threading.Event()

    def watch() -> None:
        nonlocal highest
        while not done.wait(0.005):
            highest = max(highest, resident(process))

    watcher = threading.Thread(target=watch)
    watcher.start()
    client.sendmail(SENDER, [RECIPIENT], message(size))
    done.set()
    watcher.join()
    return highest - before


def measure(data_dir: Path) -> list[Figure]:
    up = Up(data_dir, free_ports())
    figures = [Figure("fresh start to READY", up.start(), "s", 30)]
    ours, direct = submission(up), sink(up)
    pairs = [(rate(ours), rate(direct)) for _round in range(ROUNDS)]
    through, straight = (sorted(column)[ROUNDS // 2] for column in zip(*pairs, strict=True))
    figures += [
        Figure("1 kB, one session, through Outgate", through, "messages/s"),
        Figure("1 kB, one session, straight to the sink", straight, "messages/s"),
        Figure("Outgate / straight", through / straight, "ratio"),
        Figure("growth during 25 MB", growth(up, ours, 25_000_000) / 1e6, "MB", 20),
    ]
    ours.quit()
    direct.quit()
    started = time.perf_counter()
    up.send(signal.SIGINT)
    figures.append(Figure("Ctrl-C to the end", time.perf_counter() - started, "s", 10))
    if leftovers(data_dir):
        raise RuntimeError("Processes are left.")
    return figures


def main() -> int:
    folder = Path(tempfile.mkdtemp(prefix="outgate-bench-"))
    folder.chmod(0o711)
    figures = measure(folder / "data")
    shutil.rmtree(folder)
    verdict = {True: "met", False: "MISSED", None: ""}
    for each in figures:
        goal = "" if each.goal is None else f"goal {each.goal:g}"
        print(f"{each.name:<42}{each.value:>10.2f} {each.unit:<11}{goal:<9} {verdict[each.met]}")
    target = Path(os.environ.get("OUTGATE_DATA_DIR", "var"))
    target.mkdir(exist_ok=True)
    rows = [
        {"name": f.name, "value": round(f.value, 3), "unit": f.unit, "goal": f.goal, "met": f.met,
         "reason": ""}
        for f in figures
    ]  # fmt: skip
    (target / "bench.json").write_text(json.dumps(rows, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
