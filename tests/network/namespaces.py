"""Network namespaces that stand in for hosts: each has one interface, and a switch joins them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

IP = shutil.which("ip", path="/usr/sbin:/usr/bin:/sbin:/bin")
TRAFFIC = shutil.which("tc", path="/usr/sbin:/usr/bin:/sbin:/bin")
FILTER = shutil.which("iptables", path="/usr/sbin:/usr/bin:/sbin:/bin")


def why_not() -> str:
    """Why there can be no namespaces here; "" if there can."""
    if os.getuid() != 0:
        return "only root makes network namespaces"
    if IP is None:
        return "iproute2 is not installed"
    name = f"flame-try-{os.getpid()}"
    made = subprocess.run([IP, "netns", "add", name], capture_output=True, text=True)
    if made.returncode:
        return f"`ip netns add` fails here: {made.stderr.strip()}"
    subprocess.run([IP, "netns", "delete", name], check=True)
    return ""


class Hosts:
    """Hosts on one switch: 10.77.0.1, 10.77.0.2 and so on."""

    def __init__(self, names: list[str]) -> None:
        self._prefix = f"flame-{os.getpid()}-"
        self._names = names
        self._made: list[str] = []

    def make(self) -> None:
        self._add("switch")
        self._ip("-n", self._space("switch"), "link", "add", "bridge0", "type", "bridge")
        self._ip("-n", self._space("switch"), "link", "set", "bridge0", "up")
        for number, name in enumerate(self._names, 1):
            self._add(name)
            here, switch = self._space(name), self._space("switch")
            self._ip("-n", switch, "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", here)
            self._ip("-n", switch, "link", "set", name, "master", "bridge0", "up")
            self._ip("-n", here, "address", "add", f"10.77.0.{number}/24", "dev", "eth0")
            self._ip("-n", here, "link", "set", "eth0", "up")
            self._ip("-n", here, "link", "set", "lo", "up")

    def within(self, name: str) -> list[str]:
        """What comes before a command that is to run on a host."""
        assert IP is not None  # otherwise there are no hosts
        return [IP, "netns", "exec", self._space(name)]

    def pull(self, name: str) -> None:
        """Pull a host's plug: it notices."""
        self._ip("-n", self._space("switch"), "link", "set", name, "down")

    def swallow(self, name: str) -> None:
        """Lose whatever a host says, and whatever is said to it: nobody notices."""
        self._ip("-n", self._space("switch"), "link", "set", name, "nomaster")

    def heal(self, name: str) -> None:
        """Plug a host in again."""
        self._ip("-n", self._space("switch"), "link", "set", name, "master", "bridge0", "up")

    def slow(self, name: str, bytes_per_s: int) -> None:
        """So much, and no more, goes through a host's cable, each way."""
        assert TRAFFIC is not None  # tests that need it are skipped otherwise
        limit = ["tbf", "rate", f"{bytes_per_s * 8}bit", "burst", "32kb", "limit", "256kb"]
        for space, device in ((name, "eth0"), ("switch", name)):
            where = ["-n", self._space(space), "qdisc", "replace", "dev", device, "root"]
            subprocess.run([TRAFFIC, *where, *limit], check=True)

    def wall(self, name: str) -> None:
        """Nobody can call a host; it can call others."""
        assert FILTER is not None  # tests that need it are skipped otherwise
        subprocess.run([*self.within(name), FILTER, "-A", "INPUT", "-p", "tcp", "--syn", "-j", "DROP"], check=True)

    def close(self) -> None:
        for space in self._made:
            self._ip("netns", "delete", space)
        self._made.clear()

    def _add(self, name: str) -> None:
        self._ip("netns", "add", self._space(name))
        self._made.append(self._space(name))

    def _space(self, name: str) -> str:
        return self._prefix + name

    def _ip(self, *words: str) -> None:
        assert IP is not None  # otherwise there are no hosts
        subprocess.run([IP, *words], check=True)


@contextmanager
def hosts(*names: str) -> Iterator[Hosts]:
    """Hosts, for as long as the block lasts."""
    made = Hosts(list(names))
    try:
        made.make()
        yield made
    finally:
        made.close()
