# SPDX-License-Identifier: Apache-2.0
"""A network namespace for a worker, behind a namespace that routes, or does not: its servers stay outside, each on an
address of its own, and packets to and from each can vanish. Nobody is told: no RST, no FIN.

    servers: 10.x.y.1, .2, .3 (here)  ──veth──  .126 router .130  ──veth──  .129 worker
                                                     router .134  ──veth──  .133 first island, .137 the second …

An island is a namespace for one server, which then can be cut off from others and still be reached by the worker."""
import atexit
import os
import random
import subprocess

from lib.process import end_by_signals
from lib.servers import Skip, find_program


class Netns:
    def __init__(self, islands=0):
        self.ip = find_program("ip")
        if not self.ip:
            raise Skip("no ip (package iproute2): no network namespaces")
        self.name = "sluice%d" % os.getpid()
        self.router, self.worker = self.name + "r", self.name + "w"
        self.islands = ["%si%d" % (self.name, number) for number in range(1, islands + 1)]
        self.rules = []
        self._net = self._free_net()
        atexit.register(self.close)
        end_by_signals()  # by way of atexit
        try:
            self._build()
        except OSError as error:
            self.close()
            raise Skip("no right for network namespaces: %s" % error) from None

    def address(self, number):
        return "%s.%d" % (self._net, number)

    @property
    def worker_address(self):
        return self.address(129)

    def island_address(self, number):
        """From 0."""
        return self.address(133 + 4 * number)

    def inside(self, island=None):
        """What goes before a command that is to run in the worker's namespace, or on an island; its process id stays the same."""
        return [self.ip, "netns", "exec", self.worker if island is None else self.islands[island]]

    # ---- faults; a peer is its address

    def vanish(self, peer, to=True, back=True):
        """What goes to the peer, what comes back from it, or both, is lost without a word."""
        self._reject("blackhole", ([["to", peer]] if to else []) + ([["from", peer]] if back else []))

    def unreachable(self, peer):
        """The router says so to the worker (ICMP)."""
        self._reject("unreachable", [["to", peer]])

    def cut(self, one, other, how="blackhole"):
        """What goes between these two addresses is lost, or refused (unreachable)."""
        self._reject(how, [["from", one, "to", other], ["from", other, "to", one]])

    def join(self, one, other):
        """Undoes cut()."""
        ends = ["from", one, "to", other], ["from", other, "to", one]
        for rule in [rule for rule in self.rules if rule[:4] in ends]:
            self._ip("-n", self.router, "rule", "del", *rule)
            self.rules.remove(rule)

    def lose(self, peer, percent):
        """Some packets to and from the peer are lost; False: no program of this machine can do that."""
        nft = find_program("nft")
        chance = ["numgen", "random", "mod", "100", "<", str(percent), "drop"]
        try:
            if not nft:
                return False
            for line in (["add", "table", "ip", "loss"],
                         ["add", "chain", "ip", "loss", "through", "{ type filter hook forward priority 0; }"],
                         ["add", "rule", "ip", "loss", "through", "ip", "daddr", peer, *chance],
                         ["add", "rule", "ip", "loss", "through", "ip", "saddr", peer, *chance]):
                self._run(self.ip, "netns", "exec", self.router, nft, *line)
            return True
        except OSError:
            return False

    def heal(self):
        for rule in self.rules:
            self._ip("-n", self.router, "rule", "del", *rule)
        self.rules = []
        if find_program("nft"):
            subprocess.run([self.ip, "netns", "exec", self.router, find_program("nft"), "delete", "table", "ip", "loss"],
                           capture_output=True)

    def close(self):
        for name in (self.worker, *self.islands, self.router):
            subprocess.run([self.ip, "netns", "del", name], capture_output=True)
        subprocess.run([self.ip, "link", "del", self.name + "h"], capture_output=True)
        atexit.unregister(self.close)

    # ---- building it

    def _reject(self, how, matches):
        for match in matches:
            self._ip("-n", self.router, "rule", "add", *match, how)
            self.rules.append([*match, how])

    def _run(self, *words):
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode != 0:
            raise OSError("%s: %s" % (" ".join(words), done.stderr.strip()))
        return done.stdout

    def _ip(self, *words):
        return self._run(self.ip, *words)

    def _free_net(self):
        """The first three bytes of a network that no route of this machine leads to."""
        for _ in range(100):
            net = "10.%d.%d" % (random.SystemRandom().randrange(64, 250), random.SystemRandom().randrange(1, 250))
            routes = self._run(self.ip, "route", "show", "match", net + ".1").splitlines()
            if all(route.startswith("default") for route in routes):
                return net
        raise Skip("no free network below 10.0.0.0/8")

    def _build(self):
        host, up = self.name + "h", self.name + "a"
        for name in (self.router, self.worker, *self.islands):
            self._ip("netns", "add", name)
            self._ip("-n", name, "link", "set", "lo", "up")
        self._ip("link", "add", host, "type", "veth", "peer", "name", up, "netns", self.router)
        for number in (1, 2, 3):
            self._ip("addr", "add", self.address(number) + "/25", "dev", host)
        self._ip("-n", self.router, "addr", "add", self.address(126) + "/25", "dev", up)
        self._ip("link", "set", host, "up")
        self._ip("-n", self.router, "link", "set", up, "up")
        self._ip("route", "add", self.address(128) + "/25", "via", self.address(126))
        for number, name in enumerate((self.worker, *self.islands)):
            self._connect(name, 129 + 4 * number)
        self._ip("netns", "exec", self.router, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")

    def _connect(self, name, last):
        """A namespace with the address that ends so, and the router with the next one as its way out."""
        down, end = "to%d" % last, "eth0"
        self._ip("-n", self.router, "link", "add", down, "type", "veth", "peer", "name", end, "netns", name)
        self._ip("-n", self.router, "addr", "add", self.address(last + 1) + "/30", "dev", down)
        self._ip("-n", name, "addr", "add", self.address(last) + "/30", "dev", end)
        for namespace, device in ((self.router, down), (name, end)):
            self._ip("-n", namespace, "link", "set", device, "up")
        self._ip("-n", name, "route", "add", "default", "via", self.address(last + 1))
