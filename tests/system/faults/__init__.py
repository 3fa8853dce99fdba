# SPDX-License-Identifier: MIT
"""
Faults on purpose: numbered alerts pass through real servers while something breaks.

A scenario breaks one thing; a run is a scenario with one server and one seed. world.py starts the
parts, load.py sends, oracle.py compares what was taken with what was said, runner.py puts these
together.
"""
