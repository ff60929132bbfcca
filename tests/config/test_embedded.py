"""Where PostgreSQL and Valkey are put when the data folder will not do."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from config.children import StartError, run_as
from config.embedded import APPLICATION_ROLE, DATABASE, OWNER_ROLE, Engines, place_engines


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """One that root's engines can reach, unlike tmp_path."""
    folder = Path(tempfile.mkdtemp(prefix="outgate-test-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


def test_the_engines_live_in_the_data_folder(open_folder: Path) -> None:
    engines = place_engines(open_folder)
    assert engines.home == engines.sockets == open_folder / "engines"
    assert engines.home.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["x" * 100, "with a space"])
def test_sockets_move_where_the_path_is_too_long_or_odd(open_folder: Path, name: str) -> None:
    data_dir = open_folder / name
    data_dir.mkdir()
    engines = place_engines(data_dir)
    try:
        assert engines.home == data_dir / "engines"
        assert len(str(engines.sockets / ".s.PGSQL.5432")) < 107
        assert engines.sockets.stat().st_mode & 0o777 == 0o700
        assert place_engines(data_dir) == engines
    finally:
        engines.sockets.rmdir()


def test_a_folder_that_others_can_open_is_not_used_for_sockets(open_folder: Path) -> None:
    data_dir = open_folder / ("x" * 100)
    data_dir.mkdir()
    sockets = place_engines(data_dir).sockets
    sockets.chmod(0o755)
    try:
        with pytest.raises(StartError, match=str(sockets)):
            place_engines(data_dir)
    finally:
        sockets.rmdir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's engines run as another user")
def test_below_a_closed_folder_root_keeps_the_database_elsewhere(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    engines = place_engines(tmp_path)
    try:
        assert engines.home.parent == Path("/var/tmp")
        assert engines.user
        assert engines.home.stat().st_uid == engines.user.pw_uid
        assert not (tmp_path / "engines").exists()
        command = [str(engines.postgres_bin / "postgres"), "--version"]
        subprocess.run(command, cwd="/", check=True, capture_output=True, **run_as(engines.user))
    finally:
        shutil.rmtree(engines.home)


def test_the_application_does_not_own_the_database(services: Engines) -> None:
    services.create_database()  # a second time changes nothing
    query = (
        "SELECT pg_get_userbyid(datdba), has_schema_privilege(%s, 'public', 'CREATE') "
        "FROM pg_database WHERE datname = current_database()"
    )
    with psycopg.connect(services.database_url(OWNER_ROLE)) as connection:
        row = connection.execute(query, [APPLICATION_ROLE]).fetchone()
        assert connection.info.dbname == DATABASE
    assert row == (OWNER_ROLE, False)
