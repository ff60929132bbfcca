"""`manage.py up`: every part of Outgate and its demo on this machine, kept running.

Starts PostgreSQL, Valkey, the migrations, the demo organisation and then the services; starts
again what ends; stops all of it, in reverse order, on SIGINT or SIGTERM.
"""

import asyncio
import os
import queue
import signal
import sys
import threading

from config.certificates import Certificates, keep_certificates
from config.children import Child, StartError, describe, spawn_options
from config.demo_organisation import DOMAIN
from config.embedded import (
    APPLICATION_ROLE,
    OWNER_ROLE,
    Engines,
    engine_environment,
    place_engines,
)
from config.installation import (
    CHECKOUT,
    HOST,
    LOOPBACK,
    MARK,
    Installation,
    occupied,
    read_installation,
)
from config.readiness import ready_lines, wait_for_services, wait_until, write_demo_json
from submission.parent_death import signal_at_death_of_parent

# Seconds: the services get the first, the engines the second; together under ten.
SERVICES_STOP = 5.0
ENGINES_STOP = 3.0
NAME_WIDTH = 10


class Output:
    """Prints lines on a thread of its own: whoever stops reading us must not stop the services.

    Lines that nobody takes for long enough are dropped.
    """

    def __init__(self) -> None:
        self._lines: queue.Queue[bytes | None] = queue.Queue(10_000)
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def say(self, name: str, line: str) -> None:
        if not self._lines.full():
            self._lines.put(f"{name:<{NAME_WIDTH}} | {line}\n".encode())

    def close(self) -> None:
        """Give what was said a second to get out."""
        if not self._lines.full():
            self._lines.put(None)
            self._thread.join(1)

    def _write(self) -> None:
        while line := self._lines.get():
            try:
                sys.stdout.buffer.write(line)
                sys.stdout.buffer.flush()
            except BrokenPipeError:
                continue


class Supervisor:
    def __init__(
        self, installation: Installation, engines: Engines, certificates: Certificates
    ) -> None:
        self._installation = installation
        self._engines = engines
        self._certificates = certificates
        self._environment = service_environment(installation, engines, certificates)
        self._output = Output()
        self._children: list[Child] = []
        self._engine_children: list[Child] = []

    async def run(self) -> None:
        """Runs until cancelled. Raises StartError where a part does not come up."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._start(tasks)
                await asyncio.Event().wait()
        except BaseExceptionGroup as group:
            refusals = group.subgroup(StartError)
            if refusals is None:
                raise
            raise refusals.exceptions[0] from None
        finally:
            await self._stop()

    async def _start(self, tasks: asyncio.TaskGroup) -> None:
        await self._start_engines(tasks)
        for command in ("migrate", "seed_demo"):
            await self._run_once(command)
        for name, arguments in service_commands(self._installation).items():
            self._keep(tasks, self._service(name, arguments), self._children)
        await wait_for_services(self._installation, self._certificates)
        write_demo_json(self._installation, self._certificates)
        for line in ready_lines(self._installation, self._engines, self._certificates):
            self._output.say("READY", line)

    async def _start_engines(self, tasks: asyncio.TaskGroup) -> None:
        self._engines.prepare()
        for name, command, stop_signal in (
            ("postgres", self._engines.postgres_command(), signal.SIGINT),
            ("valkey", self._engines.valkey_command(), signal.SIGTERM),
        ):
            child = self._engine(name, command, stop_signal)
            self._keep(tasks, child, self._engine_children)

        async def postgres() -> bool:
            return self._engines.postgres_answers()

        async def valkey() -> bool:
            return self._engines.valkey_answers()

        await wait_until("postgres", postgres)
        await wait_until("valkey", valkey)
        self._engines.create_database()

    async def _run_once(self, command: str) -> None:
        child = self._service(command, [sys.executable, "manage.py", command])
        self._children.append(child)
        status = await child.run()
        self._children.remove(child)
        if status:
            raise StartError(f"{command} ended with {describe(status)}: see its lines above.")

    def _keep(self, tasks: asyncio.TaskGroup, child: Child, children: list[Child]) -> None:
        children.append(child)
        tasks.create_task(child.keep_running())

    def _engine(self, name: str, command: list[str], stop_signal: signal.Signals) -> Child:
        options = spawn_options(
            stop_signal=stop_signal,
            env=engine_environment() | {MARK: str(self._installation.data_dir)},
            cwd="/",
            user=self._engines.user,
        )
        say = self._output.say
        return Child(name, command, options=options, stop_signal=stop_signal, say=say)

    def _service(self, name: str, command: list[str]) -> Child:
        options = spawn_options(
            stop_signal=signal.SIGTERM, env=self._environment, cwd=str(CHECKOUT)
        )
        return Child(name, command, options=options, say=self._output.say)

    def _reap(self) -> None:
        for child in (*self._children, *self._engine_children):
            child.reap()

    async def _stop(self) -> None:
        clock = asyncio.get_running_loop().time
        for children, seconds in (
            (self._children, SERVICES_STOP),
            (self._engine_children, ENGINES_STOP),
        ):
            deadline = clock() + seconds
            for child in reversed(children):
                child.ask_to_stop()
            for child in reversed(children):
                await child.end_by(deadline)
        self._output.close()


def service_commands(installation: Installation) -> dict[str, list[str]]:
    """The command of each service, in the order of their start."""
    python = sys.executable
    manage = [python, "manage.py"]
    # In a container everything is root's; Celery's warning takes seven lines to say so.
    quiet = "ignore:You're running the worker with superuser"
    celery = [python, "-W", quiet, "-m", "celery", "--quiet", "--app", "config"]
    # Static files come from their sources: there is no collected folder to be missed.
    web = [python, "-W", "ignore:No directory at", "-m", "granian", "--interface", "wsgi"]
    web += ["--no-ws", "--blocking-threads", "4"]
    web += ["--host", LOOPBACK, "--port", str(installation.ports["OUTGATE_HTTP_PORT"])]
    web += ["--workers-kill-timeout", "3", "config.wsgi:application"]
    worker = [*celery, "worker", "--without-mingle"]
    return {
        "demo_mail": [*manage, "demo_mail"],
        "submission": [*manage, "submission"],
        "worker": [*worker, "--concurrency", "2", "--hostname", "worker@%h"],
        # Apart, so that a slow mail server never keeps a policy change waiting.
        "outbox": [*worker, "--concurrency", "1", "--queues", "outbox", "--hostname", "outbox@%h"],
        # Not inside the worker, which would not notice its death. No file with its number: one
        # left behind by a kill would keep the next from starting.
        "beat": [*celery, "beat", "--pidfile", ""],
        "web": web,
    }


def service_environment(
    installation: Installation, engines: Engines, certificates: Certificates
) -> dict[str, str]:
    """Our own environment, with what settings need; nothing of another installation's."""
    secrets = installation.secrets()
    port = installation.ports
    values = {
        "DATABASE_URL": engines.database_url(APPLICATION_ROLE),
        "MIGRATE_DATABASE_URL": engines.database_url(OWNER_ROLE),
        "REDIS_URL": engines.redis_url,
        "SECRET_KEY": secrets.secret_key,
        "OUTGATE_CREDENTIAL_KEYS": secrets.credential_keys,
        "OUTGATE_RELAY_URL": f"smtp+starttls://{HOST}:{port['OUTGATE_DEMO_OURS_PORT']}",
        # An hour is what the product promises; a minute is what one can watch.
        "OUTGATE_ROLLOUT_WINDOW": os.environ.get("OUTGATE_ROLLOUT_WINDOW", "60"),
        "OUTGATE_BASE_URL": installation.base_url,
        "OUTGATE_ALLOWED_HOSTS": f"{HOST},{LOOPBACK}",
        "OUTGATE_SUBMISSION_HOST": LOOPBACK,
        # Within SERVICES_STOP, with what is written to the log afterwards.
        "OUTGATE_SUBMISSION_DRAIN_SECONDS": "3",
        "OUTGATE_TLS_CERT_FILE": str(certificates.server),
        "OUTGATE_TLS_KEY_FILE": str(certificates.server_key),
        # The demo's domains are examples: nobody is asked about them.
        "OUTGATE_FIND_SETTINGS": "false",
        "OUTGATE_EGRESS_NETWORKS": "127.0.0.0/8,::1/128",
        "OUTGATE_EGRESS_PORTS": f"465,587,2525,{port['OUTGATE_DEMO_PARTNER_PORT']}",
        "OUTGATE_FROM_ADDRESS": f"outgate@{DOMAIN}",
        "OUTGATE_DEMO": "1",
        "OUTGATE_DATA_DIR": str(installation.data_dir),
        "SSL_CERT_FILE": str(certificates.bundle),
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "PYTHONUNBUFFERED": "1",
        MARK: str(installation.data_dir),
    }
    values |= {name: str(number) for name, number in port.items()}
    # A secret's `<NAME>_FILE` would win over the name itself.
    hidden = {f"{name}_FILE" for name in values}
    inherited = {name: value for name, value in os.environ.items() if name not in hidden}
    return inherited | values


async def supervise(
    installation: Installation, engines: Engines, certificates: Certificates
) -> None:
    """Run everything until SIGINT, SIGTERM or SIGHUP."""
    task = asyncio.create_task(Supervisor(installation, engines, certificates).run())
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()

    def stop() -> None:
        # Only once: a second signal would cut the orderly stop short.
        if not asked.is_set():
            asked.set()
            task.cancel()

    for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(sig, stop)
    try:
        await task
    except asyncio.CancelledError:
        if not asked.is_set():
            raise


def main(arguments: list[str]) -> int:
    """The exit code; with `--with-parent` it stops when the process that started it dies."""
    if arguments == ["--with-parent"]:
        signal_at_death_of_parent(signal.SIGTERM)
    try:
        installation = read_installation(os.environ)
        with occupied(installation):
            certificates = keep_certificates(installation.data_dir / "certificates")
            engines = place_engines(installation.data_dir)
            asyncio.run(supervise(installation, engines, certificates))
    except StartError as error:
        print(f"make up: {error}", file=sys.stderr)
        return 1
    return 0
