# SPDX-License-Identifier: MIT
"""
Private servers and clients for the system tests, the benchmark and packaging/quickstart.

Everything lives in one folder below /tmp, listens on loopback only and ends by process id.
"""
