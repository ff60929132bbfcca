"""Child processes that do not outlive the process that started them (Linux)."""

import asyncio
import os
import pwd
import signal
import subprocess
from collections.abc import Callable
from typing import IO, TypedDict

from submission.parent_death import signal_at_death_of_parent


class StartError(Exception):
    """Something stands in the way of a start; the text says what to change, in one line."""


class RunAs(TypedDict, total=False):
    """Keyword arguments of `subprocess.Popen` that give up root."""

    user: int
    group: int
    extra_groups: list[int]


class SpawnOptions(RunAs):
    """Keyword arguments of `subprocess.Popen` for one of our children."""

    cwd: str
    env: dict[str, str]
    stdin: int
    start_new_session: bool
    preexec_fn: Callable[[], None]


def spawn_options(
    *,
    stop_signal: signal.Signals,
    env: dict[str, str],
    cwd: str,
    user: pwd.struct_passwd | None = None,
) -> SpawnOptions:
    """Options for a child in its own process group that gets `stop_signal` when we die.

    A terminal's Ctrl-C does not reach it. Start it from the main thread: the kernel sends the
    signal when the *thread* that forked ends, whatever became of the process.
    """
    return {
        "cwd": cwd,
        "env": env,
        "stdin": subprocess.DEVNULL,
        "start_new_session": True,
        "preexec_fn": _die_with_parent(stop_signal),
        **run_as(user),
    }


def run_as(user: pwd.struct_passwd | None) -> RunAs:
    """Options that make a child give up root; none when `user` is None."""
    if user is None:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _die_with_parent(stop_signal: signal.Signals) -> Callable[[], None]:
    parent = os.getpid()

    # Runs after the change of user: the kernel clears the setting whenever that changes.
    def prepare() -> None:
        signal_at_death_of_parent(stop_signal)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)

    return prepare


def kill_group(group: int, sig: signal.Signals = signal.SIGKILL) -> None:
    """Signal every process of the group; nothing happens when none is left."""
    try:
        os.killpg(group, sig)
    except ProcessLookupError:
        return


class Child:
    """One process of ours, with whatever it forks; its output goes line by line to `say`.

    Single-threaded: `reap` has to be called on SIGCHLD by the event loop's thread.
    """

    FIRST_PAUSE = 0.5  # seconds before a restart, doubled each time it ends soon again
    LONGEST_PAUSE = 10.0
    STEADY = 10.0  # after so many seconds of life, the next end counts as the first

    def __init__(
        self,
        name: str,
        command: list[str],
        *,
        options: SpawnOptions,
        stop_signal: signal.Signals = signal.SIGTERM,
        say: Callable[[str, str], None],
    ) -> None:
        self.name = name
        self._command = command
        self._options = options
        self._stop_signal = stop_signal
        self._say = say
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = asyncio.Event()
        self._readers: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """Start it, wait for its end and return its status (negative: the signal's number)."""
        process = self._spawn()
        if process.stdout:
            reader = asyncio.create_task(self._relay(process.stdout))
            self._readers.add(reader)
            reader.add_done_callback(self._readers.discard)
        await self._ended.wait()
        return process.wait()

    def _spawn(self) -> subprocess.Popen[bytes]:
        # Not asyncio's own: that one waits in a thread per child, and we fork.
        self._ended.clear()
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **self._options
        )
        return self._process

    async def keep_running(self) -> None:
        """Start it again whenever it ends, until cancelled."""
        clock = asyncio.get_running_loop().time
        pause = self.FIRST_PAUSE
        while True:
            started = clock()
            status = await self.run()
            if clock() - started > self.STEADY:
                pause = self.FIRST_PAUSE
            self._say(self.name, f"ended ({describe(status)}); starting again in {pause:g} s")
            await asyncio.sleep(pause)
            pause = min(2 * pause, self.LONGEST_PAUSE)

    def reap(self) -> None:
        """Notice the end of the process; what it forked into its group is killed with it."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        # WNOWAIT: until wait() its number cannot be given to another process group.
        if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            kill_group(process.pid)
            process.wait()
            self._ended.set()

    def ask_to_stop(self) -> None:
        if self._process and self._process.returncode is None:
            self._process.send_signal(self._stop_signal)

    async def end_by(self, deadline: float) -> None:
        """Wait for the end until `deadline` (the event loop's clock), then kill the group."""
        if self._process is None or self._process.returncode is not None:
            return
        try:
            async with asyncio.timeout_at(deadline):
                await self._ended.wait()
        except TimeoutError:
            self._say(self.name, "does not stop: killed")
            kill_group(self._process.pid)
            await self._ended.wait()

    async def _relay(self, pipe: IO[bytes]) -> None:
        """Pass the output on until the last process that holds the pipe has closed it."""
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        rest = b""
        while chunk := await reader.read(1 << 16):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._say(self.name, line.decode(errors="replace"))
        if rest:
            self._say(self.name, rest.decode(errors="replace"))
        transport.close()


def describe(status: int) -> str:
    """A process's status in words: "exit code 1", "SIGKILL"."""
    return f"exit code {status}" if status >= 0 else signal.Signals(-status).name
