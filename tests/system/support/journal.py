# SPDX-License-Identifier: MIT
"""
A small journalctl over what the daemons write to standard error, where no journal runs.

Standard error shows the same text as the journal, which has the fields besides. What is missing
there is the difference between information and notices.
"""

import re
import shlex
import subprocess

VALUE = r'"(?:[^"\\]|\\.)*"|[^\s"=\\]+'
LINE = re.compile(rf"^(milterd|xmpprelay): (?:(error|warning|debug): )?"
                  rf"((.*?)((?: [a-z_]+=(?:{VALUE}))*))$")
LEVELS = {"error": 3, "warning": 4, None: 6, "debug": 7}
PRIORITIES = {"err": 3, "warning": 4, "notice": 6, "info": 6}  # see above
RENAMED = {"message_id": "MAIL_MESSAGE_ID"}


class Entry:
    def __init__(self, unit, level, text, fields):
        self.unit = unit
        self.level = LEVELS[level]
        self.text = text
        self.fields = {
            RENAMED.get(name, name.upper()): re.sub(r"\\(.)", r"\1", value.strip('"'))
            for name, value in re.findall(rf" ([a-z_]+)=({VALUE})", fields)}


def entries(*processes):
    """Of all runs of the daemons; what sanitizers and libraries say is none."""
    found = []
    for process in processes:
        for line in process.log_text(all_runs=True).splitlines():
            match = LINE.match(line)
            if match:
                found.append(Entry(match[1], match[2], match[3], match[5]))
    return found


def journalctl(log, words):
    """What it would show of the entries in `log`; any times are taken."""
    units, matches, priority, grep, output = set(), {}, 7, "", None
    words = iter(words)
    for word in words:
        if word == "-u":
            units.add(next(words))
        elif word == "-p":
            priority = PRIORITIES[next(words)]
        elif word == "--grep":
            grep = next(words)
        elif word == "--since":
            assert re.fullmatch(r"today|yesterday|-\d+[hd]", next(words))
        elif word == "-o":
            assert next(words) == "cat"
        elif word.startswith("--output-fields="):
            output = word.partition("=")[2].split(",")
        else:
            name, equals, value = word.partition("=")
            assert equals and re.fullmatch("[A-Z_]+", name), word
            matches.setdefault(name, set()).add(value)
    # As journalctl does it, a pattern without capitals takes no notice of them.
    flags = 0 if re.search("[A-Z]", grep) else re.I
    shown = [entry for entry in log
             if (not units or entry.unit in units) and entry.level <= priority
             and all(entry.fields.get(name) in values for name, values in matches.items())
             and re.search(grep, entry.text, flags)]
    if output:
        return "".join(f"{entry.fields[name]}\n" for entry in shown for name in output
                       if name in entry.fields)
    return "".join(f"{entry.text}\n" for entry in shown)


def command_line(log, line):
    """A line of the shell that begins with journalctl, and what it prints or writes."""
    command, _, rest = re.sub(r" >[a-z]+$", "", line).partition(" | ")
    shown = journalctl(log, shlex.split(command)[1:])
    if not rest:
        return shown
    return subprocess.run(["sh", "-c", rest], input=shown, stdout=subprocess.PIPE, text=True,
                          check=True, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"}).stdout
