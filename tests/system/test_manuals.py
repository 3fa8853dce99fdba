# SPDX-License-Identifier: MIT
"""The manuals, held against what the programs say of themselves."""

import importlib.machinery
import importlib.util
import re
import sys
from pathlib import Path

import pytest

from support.daemons import as_user
from support.place import run

MAN = Path(__file__).parent.parent.parent / "packaging" / "man"

SOURCES = MAN.parent.parent

PAGES = {"milterd": "milterd.8", "milterd-canary": "milterd-canary.8",
         "xmpprelay": "xmpprelay.8", "xmpprelayctl": "xmpprelayctl.8",
         "xmpprelay-send": "xmpprelay-send.1"}


def rendered(page, form="ascii"):
    text = run(["mandoc", "-T", form, MAN / page], check=True).stdout
    return re.sub(r".\x08", "", text)


def load(script):
    """A script as a module."""
    loader = importlib.machinery.SourceFileLoader("script", str(script))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("script", loader))
    sys.dont_write_bytecode = True
    loader.exec_module(module)
    return module


def sanitizers_off():
    return {"ASAN_OPTIONS": "detect_leaks=0", "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}


@pytest.mark.parametrize("name", PAGES)
def test_options_in_the_manual_are_those_of_help_of(name, programs):
    help_text = run([programs[name], "--help"], check=True, env=sanitizers_off()).stdout
    in_help = set(re.findall(r"--[a-z][a-z-]+", help_text))
    items = [line for line in (MAN / PAGES[name]).read_text().splitlines()
             if line.startswith(".It Fl")]
    in_manual = {f"--{option}" for line in items
                 for option in re.findall(r"Fl (?:Fl |-)([a-z][a-z-]+)", line)}

    assert in_help, "the help names no options"
    assert in_help == in_manual


def test_what_the_page_for_operators_quotes_is_said_by_the_programs():
    literals = "".join(
        re.sub(r'"\s*(?:PRI[a-z]\d+\s*)?"', "", path.read_text()).replace('\\"', '"')
        for folder in ("common", "milterd", "xmpprelay") for path in (SOURCES / folder).glob("*.[ch]"))
    page = (MAN / "xmpp-alerts.7").read_text().replace(r"\(dq", '"')
    quotes = re.findall(r"^(?:\.It )?\.?Em (.+?)(?: [,.])?$", page, re.M)
    # What the program fills in is not compared; and this one is Postfix's.
    pieces = [piece.strip(" :;,.()") for quote in quotes if "Service unavailable" not in quote
              for piece in re.split(r"\\&\.\.\.|\b[A-Z]+\b|\d[\d.:-]*| , ", quote)]

    assert len(quotes) > 20
    assert not [piece for piece in pieces if len(piece) > 3 and piece not in literals]


def test_fields_that_the_page_for_operators_names_are_logged():
    logged = set()
    for folder in ("milterd", "xmpprelay"):
        for path in (SOURCES / folder).glob("*.c"):
            logged |= set(re.findall(r'\{ "([a-z_]+)", ', path.read_text()))
    page = (MAN / "xmpp-alerts.7").read_text()
    named = set(re.findall(r"\b([A-Z][A-Z_]*)=\S", page)) | {
        name for line in re.findall(r"^\.Cm ([A-Z_ ,]+?)(?: ,)?$", page, re.M)
        for name in line.split(" , ")}

    assert "QUEUE_ID" in named and "GUARD" in named
    assert {name.removeprefix("MAIL_").lower() for name in named} <= logged


@pytest.mark.parametrize("name", PAGES)
def test_version_is_told_by(name, programs):
    done = run([programs[name], "--version"], check=True, env=sanitizers_off())

    assert re.search(r"\d+\.\d+", done.stdout)


@pytest.mark.parametrize("name", ["milterd", "xmpprelay"])
def test_every_key_of_the_configuration_is_in_the_manual_of(name, bridge):
    daemon = bridge.milterd if name == "milterd" else bridge.relay
    daemon.write()
    done = as_user(daemon.user, [bridge.programs[name], "-c", daemon.config, "--dump-config"],
                   groups=["postfix", "daemon"])
    assert done.returncode == 0, done.stderr
    keys = set(re.findall(r"(?:^|[{;(,])\s*([a-z_]+)\s*[:=]", done.stdout, re.M))
    manual = set(re.findall(r"[a-z_]+", rendered(f"{name}.conf.5")))

    assert keys
    assert keys <= manual, f"not in {name}.conf(5): {sorted(keys - manual)}"


def test_every_profile_is_in_its_manual():
    update = load(MAN / "update-profiles")
    # Blanks and line ends are the formatter's.
    page = "".join(rendered("milterd-profile.5", "utf8").split())
    source = (MAN / "milterd-profile.5").read_text()

    assert update.profiles()
    missing = [text for profile in update.profiles() for text in profile
               if "".join(text.split()) not in page]
    assert not missing, "packaging/man/update-profiles brings the table up to date"
    assert update.updated(source) == source


def test_every_profile_is_installed():
    build = (MAN.parent.parent / "milterd" / "meson.build").read_text()
    files = {path.name for path in (MAN.parent.parent / "milterd" / "profiles").iterdir()}

    assert files == set(re.findall(r"'profiles/([^']+)'", build))


@pytest.mark.parametrize("name", ["milterd", "xmpprelay"])
def test_example_configuration_has_known_keys_only_for(name, bridge):
    example = (MAN.parent / f"{name}.conf").read_text()
    # What is commented out are defaults, and must be known as well.
    whole = re.sub(r"^( *)#(?=[a-z_]+ = )", r"\1", example, flags=re.M)
    daemon = bridge.milterd if name == "milterd" else bridge.relay
    for text in (example, whole):
        daemon.write(text)
        assert "unknown key" not in daemon.check().stderr
