"""libconfman and three members: library.py [--rounds N].

One client counts, each step guarded by the version it saw, while the leader is killed or halted and
comes back. Every step that was answered well happened once; every one that was refused or unknown
happened once or never. A live copy on another client sees the end of it.
"""
import argparse
import itertools
import os
import shutil
import sys
import time
import traceback

from cluster import Cluster, wait_until
from client_test import Built, Driver

STEP_SECONDS, DOWN_SECONDS = 20, 1.5


class Counter:
    def __init__(self, endpoints):
        self.driver = Driver(endpoints, DRIVER_TIMEOUT_MS="8000")
        self.version, self.well, self.doubtful = 0, 0, 0

    def look(self):
        answer = self.driver.ask("get", "default", "count").split()
        if answer[0] == "CONFMAN_OK":
            self.version = int(answer[3])
        return answer

    def step(self, value):
        """Once; how it ended."""
        answer = self.driver.ask("put", "default", "count", 1, self.version, value).split()
        if answer[0] == "CONFMAN_OK":
            assert int(answer[1]) == self.version + 1, (answer, self.version)
            self.version += 1
            self.well += 1
        elif answer[0] in ("CONFMAN_UNKNOWN", "CONFMAN_UNAVAILABLE"):
            self.doubtful += answer[0] == "CONFMAN_UNKNOWN"
            wait_until(lambda: self.look()[0] in ("CONFMAN_OK", "CONFMAN_NOT_FOUND"),
                       STEP_SECONDS, "a read after doubt")
        else:
            raise AssertionError("nobody else writes: %s" % answer)
        return answer[0]


def disturb(cluster, how):
    """(who was the leader, what brings it back)"""
    leader = cluster.leader()
    if how == "kill":
        leader.kill()
        return lambda: leader.start().wait_ready()
    leader.pause()
    return leader.resume


def sockets(driver):
    folder = "/proc/%d/fd" % driver.process.pid
    return sum(os.readlink(os.path.join(folder, f)).startswith("socket:")
               for f in os.listdir(folder))


def to_leader(cluster):
    """Who writes and hangs on another member goes to the leader too; with `stay` it does not."""
    follower = cluster.followers()[0].endpoint
    for env, most in (({}, 2), ({"DRIVER_STAY": "1"}, 1)):
        driver = Driver(follower, **env)
        write = lambda d=driver: d.ask("put", "default", "any", 1, -1, 1).split()[0]
        wait_until(lambda: write() == "CONFMAN_OK" and sockets(driver) == most, 10,
                   "%d connections" % most)
        driver.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=2)
    rounds = parser.parse_args().rounds
    Built.programs()
    with Cluster(3) as cluster:
        endpoints = cluster.endpoints
        to_leader(cluster)
        counter, watcher = Counter(endpoints), Driver(endpoints)
        watcher.ask("copy", "default", "count", 1)
        assert counter.step(0) == "CONFMAN_OK"
        assert watcher.ask("wait", 2, 20000) == "CONFMAN_OK"
        value, longest = itertools.count(1), 0
        for how in ("kill", "pause") * rounds:
            back = disturb(cluster, how)
            until = time.monotonic() + DOWN_SECONDS
            steps, began = 0, time.monotonic()
            while time.monotonic() < until or not steps:
                began = time.monotonic()
                steps += counter.step(next(value)) == "CONFMAN_OK"
                longest = max(longest, time.monotonic() - began)
            back()
            print("%s: %d steps, the longest %.1f s so far" % (how, steps, longest), flush=True)
        last = counter.look()
        done = int(last[3]) - 1
        assert counter.well - 1 <= done <= counter.well - 1 + counter.doubtful, (last, counter.well)
        wait_until(lambda: watcher.ask("cget", "count") == " ".join(last), 20, "the copy has %s, "
                   "not %s" % (last, watcher.ask("cget", "count")))
        counter.driver.close()
        watcher.close()
        print("%d steps well, %d unknown, %d done" % (counter.well, counter.doubtful, done + 1))
    print("1 passed, 0 failed")


if __name__ == "__main__":
    try:
        main()
    except AssertionError:
        traceback.print_exc(file=sys.stdout)
        print("0 passed, 1 failed")
        sys.exit(1)
    finally:
        if Built.folder and "CONFMAN_DRIVER" not in os.environ:
            shutil.rmtree(Built.folder, ignore_errors=True)
