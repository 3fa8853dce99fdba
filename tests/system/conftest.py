# SPDX-License-Identifier: MIT
"""Fixtures: servers are started once for all tests, the daemons anew for each."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from support.bridge import ACCOUNTS, Bridge  # noqa: E402
from support.certificates import Authority  # noqa: E402
from support.daemons import Programs  # noqa: E402
from support.ejabberd import Ejabberd  # noqa: E402
from support.place import Place, run  # noqa: E402
from support.postfix import Postfix  # noqa: E402
from support.prosody import Prosody  # noqa: E402


def pytest_addoption(parser):
    root = Path(__file__).parent.parent.parent
    parser.addoption("--build", default=str(root / "build-tests"), help="where the programs are")
    parser.addoption("--logs", default=None, help="where logs of failed tests go")
    parser.addoption("--count", default=None, help="file for: passed failed skipped")


def pytest_sessionfinish(session):
    path = session.config.getoption("--count")
    if not path:
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    count = {name: len(reporter.stats.get(name, [])) for name in
             ("passed", "failed", "error", "skipped")}
    Path(path).write_text(
        f"{count['passed']} {count['failed'] + count['error']} {count['skipped']}\n")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        item.failed = True
    # A test that passes and then fails in its teardown is one failed test, not one of each.
    if report.when == "teardown" and report.failed:
        reporter = item.config.pluginmanager.get_plugin("terminalreporter")
        reporter.stats["passed"] = [
            r for r in reporter.stats.get("passed", []) if r.nodeid != report.nodeid]


@pytest.fixture(scope="session")
def place():
    if os.geteuid() != 0:
        pytest.exit("the system tests start a Postfix, which needs root", returncode=1)
    place = Place()
    # The daemons' users may not be able to read our tree.
    known = place.file("lsan.supp", (Path(__file__).parent.parent / "lsan.supp").read_text())
    os.environ["LSAN_OPTIONS"] = f"suppressions={known}:print_suppressions=0"
    yield place
    place.close()


@pytest.fixture(scope="session")
def authority(place):
    return Authority(place)


@pytest.fixture(scope="session")
def programs(place, request):
    return Programs(place, request.config.getoption("--build"))


@pytest.fixture(scope="session")
def prosody(place, authority):
    server = Prosody(place, authority, ACCOUNTS).start()
    yield server
    server.process.kill()


@pytest.fixture(scope="session")
def ejabberd(place, authority):
    server = Ejabberd(place, authority, ACCOUNTS).start()
    yield server
    server.process.kill()


@pytest.fixture(scope="session")
def ejabberd_sql(place, authority):
    """Whose archive is on disk as soon as a room has said a message."""
    server = Ejabberd(place, authority, ACCOUNTS, name="ejabberd-sql", archive="sql").start()
    yield server
    server.process.kill()


@pytest.fixture(scope="session")
def postfix(place):
    server = Postfix(place, place / "milter" / "milter.sock").start()
    yield server
    server.process.kill()


@pytest.fixture
def make_bridge(place, programs, postfix, authority, request):
    """Makes a bridge to a server; what it started is stopped and looked at after the test."""
    bridges = []

    def make(server):
        name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())
        for folder in ("relay", "milter"):
            shutil.rmtree(place / folder, ignore_errors=True)
        for log in ("relay.log", "milterd.log", "reader.log"):
            (place / "log" / log).unlink(missing_ok=True)
        bridge = Bridge(place, programs, postfix, server, authority, name.strip("-")[:60])
        bridges.append(bridge)
        return bridge

    yield make
    problems = [problem for bridge in bridges for problem in bridge.close()]
    if problems or getattr(request.node, "failed", False):
        keep_logs(place, request)
    assert not problems, "\n".join(problems)


@pytest.fixture
def bridge(make_bridge, prosody):
    """With Prosody, nothing of it started."""
    return make_bridge(prosody)


@pytest.fixture
def running(bridge):
    """With Prosody, all of it started, the rooms joined."""
    return bridge.start()


def keep_logs(place, request):
    logs = request.config.getoption("--logs")
    if not logs:
        return
    target = Path(logs) / "system" / request.node.name
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for pattern in ("log/*.log", "relay/*.conf", "milter/*.conf", "postfix/mail.log"):
        for path in place.path.glob(pattern):
            shutil.copy(path, target)


@pytest.fixture
def small_disk(place):
    """A file system that is soon full, with more room than the relay leaves free."""
    folder = place.folder("disk")
    done = run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=0777", "tmpfs", folder])
    if done.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield folder
    run(["umount", "-l", folder], check=True)
