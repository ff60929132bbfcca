"""A real `manage.py up` on free ports, for the tests of it."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from config.installation import CHECKOUT, PORTS, leftovers
from tests.ports import free_port
from tests.processes import until


def free_ports() -> dict[str, str]:
    return {name: str(free_port()) for name in PORTS}


@dataclasses.dataclass
class Up:
    data_dir: Path
    ports: dict[str, str]
    settings: dict[str, str] = dataclasses.field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | self.ports | self.settings | {"OUTGATE_DATA_DIR": str(self.data_dir)}

    @property
    def output(self) -> str:
        return self.data_dir.with_suffix(".log").read_text()

    @property
    def demo_json(self) -> Path:
        return self.data_dir / "demo.json"

    @property
    def demo(self) -> dict[str, Any]:
        return json.loads(self.demo_json.read_text())

    def start(self) -> float:
        """Start it and wait until it is ready; the seconds that took."""
        with self.data_dir.with_suffix(".log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "up"],
                cwd=CHECKOUT,
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        return until(self.is_ready, 30)

    def is_ready(self) -> bool:
        assert self.process
        assert self.process.poll() is None, self.output
        return self.demo_json.exists() and "READY" in self.output

    def send(self, sig: signal.Signals) -> int:
        """Send the signal and wait for the end; the exit status."""
        assert self.process
        self.process.send_signal(sig)
        return self.process.wait(15)

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.send(signal.SIGTERM)

    def refused(self) -> tuple[int, str]:
        """Start it where it cannot: exit status and what it says on stderr."""
        done = subprocess.run(
            [sys.executable, "manage.py", "up"],
            cwd=CHECKOUT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.stdout == ""
        return done.returncode, done.stderr

    def find(self, *words: str) -> int | None:
        """The number of the oldest process of ours with these words in its command line."""
        for number in sorted(leftovers(self.data_dir)):
            try:
                command = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
            except FileNotFoundError:
                continue
            if all(any(word.encode() in part for part in command) for word in words):
                return number
        return None
