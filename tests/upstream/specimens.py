"""Unit tests that behave as badly as some of Cinder's: test_worker.py has a worker run them. pytest does not collect this file."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import unittest


class BadManners(unittest.TestCase):
    def test_closes_standard_output(self) -> None:
        os.close(1)

    def test_connects(self) -> None:
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("192.0.2.1", 443), timeout=1)

    def test_connects_to_itself(self) -> None:
        with (
            socket.create_server(("127.0.0.1", 0)) as server,
            socket.create_connection(server.getsockname(), timeout=10),
        ):
            pass

    def test_fails(self) -> None:
        self.assertEqual("green", "native")

    def test_finds_standard_output_open(self) -> None:
        os.fstat(1)

    def test_is_skipped(self) -> None:
        self.skipTest("not today")

    def test_runs_a_program(self) -> None:
        with self.assertRaises(FileNotFoundError):
            subprocess.run(["mount", "-t", "nfs"], check=False)

    def test_runs_a_program_through_a_shell(self) -> None:
        with self.assertRaises(FileNotFoundError):
            os.system("mount -a")


class Hang(unittest.TestCase):
    def test_hangs(self) -> None:
        threading.Event().wait()
