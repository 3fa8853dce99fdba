# SPDX-License-Identifier: MIT
"""
The samples in tests/mails: PROFILE/CASE.eml, and in CASE.json what is to become of it.

milterd --explain --json tells what becomes of them. Of that the parts are compared that a person
in the room notices or that alerts are found by again; ids, times and where the mail came from
are left out.
"""

import difflib
import json
from pathlib import Path

from .place import Failure, run

ROOT = Path(__file__).resolve().parent.parent.parent.parent
MAILS = ROOT / "tests" / "mails"
PROFILES = ROOT / "milterd" / "profiles"

RECORD = ("title", "text", "severity", "state", "key", "fields", "facts")
FIELDS_LEFT_OUT = {"rule", "profile", "from", "message_id", "queue_id", "client"}


def name_of(path):
    return str(path.relative_to(MAILS).with_suffix(""))


def samples():
    """Paths of the mails by name, PROFILE/CASE."""
    return {name_of(path): path for path in sorted(MAILS.glob("*/*.eml"))}


def expectations():
    """Paths of what is to become of them, by the same names."""
    return {name_of(path): path for path in sorted(MAILS.glob("*/*.json"))}


def pairs():
    """PROFILE/CASE of each recovery, and of the problem that it is the end of."""
    return {name: str(path.with_name("problem" + path.stem.removeprefix("recovery"))
                      .relative_to(MAILS))
            for name, path in samples().items() if path.stem.startswith("recovery")}


def explain(program, paths, env=None):
    """What milterd says of the mails, by name, all in one go."""
    if not paths:
        return {}
    done = run([program, "--explain", "--json", "-c", MAILS / "milterd.conf", *paths],
               timeout=300, env=env)
    found = {}
    for line in done.stdout.splitlines():
        said = json.loads(line)
        found[name_of(Path(said["file"]))] = said
    if done.returncode != 0 or len(found) != len(paths):
        raise Failure(f"milterd --explain ended with status {done.returncode} after {len(found)} "
                      f"of {len(paths)} mails:\n{done.stderr[:4000]}")
    return found


def alert_of(said):
    """The one alert, or None."""
    alerts = said.get("alerts", [])
    return alerts[0] if alerts else None


def essence(said):
    """What CASE.json holds."""
    alert = alert_of(said)
    if alert is None:
        return {"guard": said.get("guard")}
    record = {key: alert["record"][key] for key in RECORD if key in alert["record"]}
    record["fields"] = {name: value for name, value in sorted(record.get("fields", {}).items())
                        if name not in FIELDS_LEFT_OUT}
    return {"profile": alert.get("profile"), "form": alert.get("form"), "record": record,
            "message": alert["message"]}


def written(value):
    """As it stands in the file."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def shown(value):
    """For people to compare: texts line by line."""
    return written(value).replace("\\n", "\n        ").splitlines()


def difference(expected, got):
    """Lines that differ, or ""."""
    if expected == got:
        return ""
    return "\n".join(difflib.unified_diff(shown(expected), shown(got), "expected", "got",
                                          lineterm="", n=4))
