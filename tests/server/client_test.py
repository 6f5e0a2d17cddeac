"""libconfman: installed, compiled against by its pkg-config file, and driven: tests/client/driver.c
and the examples, against one node."""
import json
import os
import resource
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import unittest

from node import ROOT, Node, ServerTest, free_port, main, target, wait_until
from web import curl

OK, NO = "CONFMAN_OK", "CONFMAN_UNAVAILABLE"
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-pedantic"]


class Built:
    """The library as a user finds it, and programs made with it; once for all tests."""
    folder = None

    @classmethod
    def programs(cls):
        if cls.folder:
            return cls.folder
        if "CONFMAN_DRIVER" in os.environ:  # one that has the library in it
            cls.folder = os.path.dirname(os.path.join(ROOT, os.environ["CONFMAN_DRIVER"]))
            return cls.folder
        cls.folder = tempfile.mkdtemp(prefix="confman-lib-")
        env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
        subprocess.run(["make", "-s", "install", "DESTDIR=" + cls.folder, "PREFIX=/usr"],
                       cwd=ROOT, env=env, check=True, stdout=subprocess.DEVNULL)
        lib = os.path.join(cls.folder, "usr/lib")
        env.update(PKG_CONFIG_PATH=lib + "/pkgconfig", PKG_CONFIG_SYSROOT_DIR=cls.folder)

        def flags(*which):
            text = subprocess.run(["pkg-config", *which, "libconfman"], env=env, check=True,
                                  stdout=subprocess.PIPE).stdout.decode()
            return text.split()

        shared = flags("--cflags", "--libs") + ["-Wl,-rpath," + lib]
        static = flags("--cflags", "--static", "--libs")
        static[static.index("-lconfman")] = "-l:libconfman.a"
        posix = ["-D_POSIX_C_SOURCE=200809L"]
        for name, source, how in (("get", "examples/get.c", ["-std=c99", *shared]),
                                  ("follow", "examples/follow.c", ["-std=c99", *posix, *static]),
                                  ("loop", "examples/loop.c", ["-std=c99", *posix, *shared]),
                                  ("driver", "tests/client/driver.c", ["-std=c11", "-D_GNU_SOURCE",
                                                                       "-pthread", *shared])):
            subprocess.run(["gcc", "-O1", "-g", *WARNINGS, source, "-o",
                            os.path.join(cls.folder, name), *how], cwd=ROOT, check=True)
        return cls.folder


def read(path):
    if not os.path.exists(path):
        return ""
    with open(path) as f:
        return f.read()


class Driver:
    def __init__(self, endpoint, **env):
        self.process = subprocess.Popen(
            [os.path.join(Built.programs(), "driver")], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
            env=dict(os.environ, CONFMAN_ENDPOINT=endpoint, **env))

    def ask(self, *words):
        self.process.stdin.write((" ".join(str(w) for w in words) + "\n")
                                 .encode("utf-8", "surrogateescape"))
        return self.process.stdout.readline().decode("utf-8", "surrogateescape").rstrip("\n")

    def until(self, wanted, *words):
        return wait_until(lambda: self.ask(*words) == wanted, 15, "%s: %s, not %s" % (
            words, wanted, self.ask(*words)))

    def close(self):
        _, errors = self.process.communicate(timeout=30)
        assert (self.process.returncode, errors) == (0, b""), (self.process.returncode, errors)


class Swallow:
    """A way to the server that loses the answer to a request and breaks: once."""

    def __init__(self, port):
        self.port, self.listener, self.lose = port, socket.create_server(("127.0.0.1", 0)), b""
        self.open = []
        self.endpoint = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                here, _ = self.listener.accept()
            except OSError:
                return
            there = socket.create_connection(("127.0.0.1", self.port))
            pair = {"lost": False}
            self.open += [here, there]
            for args in ((here, there, True, pair), (there, here, False, pair)):
                threading.Thread(target=self.carry, args=args, daemon=True).start()

    def carry(self, source, sink, asks, pair):
        try:
            while True:
                data = source.recv(65536)
                if asks and self.lose and self.lose in data:
                    self.lose, pair["lost"] = b"", True
                if not data or (not asks and pair["lost"]):
                    break
                sink.sendall(data)
        except OSError:
            pass
        for s in (source, sink):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.close()
        for s in self.open:
            s.close()


@unittest.skipIf(target() != "confman", "a library for confman servers")
class ClientTest(ServerTest):
    def driver(self, endpoint=None, **env):
        d = Driver(endpoint or self.node.endpoint, **env)
        self.addCleanup(d.close)
        return d

    def put(self, path, body):
        answer = curl(self.node.url + "/v1/" + path, "-X", "PUT", "-H",
                      "Content-Type: application/json", body=body.encode())
        self.assertIn(answer.status, (200, 201), answer)

    @unittest.skipIf("CONFMAN_DRIVER" in os.environ, "not of the library as installed")
    def test_header(self):
        """The header is C99 and C++, and nothing but its names leaves the library."""
        lib = Built.programs()
        include = "-I" + os.path.join(lib, "usr/include")
        for compiler, standard in (("gcc", "c99"), ("gcc", "c17"), ("g++", "c++11"),
                                   ("g++", "c++20")):
            subprocess.run([compiler, "-std=" + standard, *WARNINGS, include, "-fsyntax-only", "-x",
                            "c" if compiler == "gcc" else "c++", "-"], check=True,
                           input=b"#include <confman.h>\nint main(void) { return 0; }\n")
        for name, how in (("libconfman.so.0", "-gD"), ("libconfman.a", "-g")):
            names = subprocess.run(["nm", how, "--defined-only", "-f", "posix",
                                    os.path.join(lib, "usr/lib", name)], check=True,
                                   stdout=subprocess.PIPE).stdout.decode().split("\n")
            found = {n.split()[0] for n in names if n and not n.endswith(":")}
            self.assertFalse([n for n in found if not n.startswith("confman_")], name)
            self.assertGreater(len(found), 20)

    @unittest.skipIf("CONFMAN_DRIVER" in os.environ, "not of the library as installed")
    def test_examples(self):
        lib, key = Built.programs(), self.name("visits")
        env = dict(os.environ, CONFMAN_ENDPOINT=self.node.endpoint)
        for n in (1, 2):
            out = subprocess.run([os.path.join(lib, "get"), key], env=env, check=True, timeout=20,
                                 stdout=subprocess.PIPE).stdout.decode()
            self.assertEqual(out, "%s = %d (version %d, by anonymous)\n" % (key, n, n))
        environment = self.name("e").replace("/", "-")
        cache = os.path.join(self.node.folder, "cache")
        follow = subprocess.Popen([os.path.join(lib, "follow"), environment, "app/", cache],
                                  env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.assertIn(b"live at revision", follow.stdout.readline())
        self.put("config/app/a?environment=" + environment, '{"value":{"b":[1,2.50]}}')
        lines = iter(follow.stdout.readline, b"")
        self.assertTrue(any(b' app/a={"b":[1,2.5' in line for line in lines))
        self.put("flags/new-checkout?environment=" + environment, '{"percentage":100}')
        self.assertTrue(any(b"new-checkout=true(SPLIT)" in line for line in lines))
        follow.stdin.close()
        follow.stdout.close()
        self.assertEqual(follow.wait(20), 0)
        loop = subprocess.Popen([os.path.join(lib, "loop"), environment, "app/"], env=env,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.assertIn(b'1: app/a={"b":[1,2.5', loop.stdout.readline())
        self.put("config/app/limit?environment=" + environment, '{"value":0}')
        self.assertIn(b"2: ", loop.stdout.readline())
        self.runs("example", state="failed", error="a limit is a number above 0")
        loop.stdin.close()
        loop.stdout.close()
        self.assertEqual(loop.wait(20), 0)
        self.assertEqual(os.stat(cache).st_mode & 0o777, 0o600)

    def test_configs(self):
        d, key = self.driver(), self.name("k")
        self.assertEqual(d.ask("get", "default", key),
                         "CONFMAN_NOT_FOUND there is no config with this key")
        self.assertEqual(d.ask("put", "default", key, 0, 0, "one"), OK + " 1")
        self.assertEqual(d.ask("get", "default", key), "%s %s 0 1 default one" % (OK, key))
        self.assertTrue(d.ask("put", "default", key, 0, 0, "x").startswith("CONFMAN_CONFLICT 1 "))
        self.assertTrue(d.ask("put", "default", key, 0, 7, "x").startswith("CONFMAN_CONFLICT 1 "))
        self.assertEqual(d.ask("put", "default", key, 1, 1, "12.50"), OK + " 2")
        self.assertEqual(d.ask("put", "default", key, 4, -2, "A\udcff"), OK + " 3")
        self.assertEqual(d.ask("get", "default", key), "%s %s 4 3 default A\udcff" % (OK, key))
        self.assertTrue(d.ask("put", "default", key + "no", 0, -2, "x")
                        .startswith("CONFMAN_CONFLICT 0 "))
        self.assertTrue(d.ask("delete", "default", key, 2).startswith("CONFMAN_CONFLICT "))
        self.assertEqual(d.ask("delete", "default", key, 3), OK)
        self.assertEqual(d.ask("delete", "default", key, -1).split()[0], "CONFMAN_NOT_FOUND")
        self.assertEqual(d.ask("put", "a/b", key, 0, -1, "x").split()[0], "CONFMAN_INVALID")
        self.assertEqual(d.ask("request", "GET", "/v1/nothing", 1).split()[:3],
                         ["CONFMAN_NOT_FOUND", "404", "not_found"])
        self.assertIn('"has_leader":true', d.ask("request", "GET", "/v1/status", 1))
        self.assertEqual(d.ask("misuse"), OK + " 10")
        self.assertEqual(d.ask("fork"), "CONFMAN_MISUSE")

    def test_list_in_pages(self):
        d, prefix = self.driver(), self.name("many/")
        for i in range(12):
            d.ask("put", "default", "%s%02d" % (prefix, i), 1, 0, i)
        self.assertTrue(d.ask("list", "default", prefix).startswith(
            "%s 12 %s00=0 %s01=1 " % (OK, prefix, prefix)))

    def test_lost_answers(self):
        """A write with a guard is done once; one without is not repeated, and says so."""
        way = Swallow(self.node.port)
        self.addCleanup(way.close)
        d, key = self.driver(way.endpoint, DRIVER_STAY="1"), self.name("lost")
        self.assertEqual(d.ask("put", "default", key, 0, 0, "plain"), OK + " 1")
        for mark, if_version, wanted in (("first-mark", -1, "CONFMAN_UNKNOWN"),
                                         ("second-mark", 2, OK + " 3"),):
            way.lose = mark.encode()
            self.assertTrue(d.ask("put", "default", key, 0, if_version, mark).startswith(wanted))
            self.assertEqual(way.lose, b"")
            d.until("%s %s 0 %d default %s" % (OK, key, 2 if if_version < 0 else 3, mark),
                    "get", "default", key)

    def test_away(self):
        d = self.driver("127.0.0.1:%d" % free_port(), DRIVER_TIMEOUT_MS="600")
        started = time.monotonic()
        self.assertTrue(d.ask("get", "default", "k").startswith(NO + " no server answered"))
        self.assertTrue(d.ask("put", "default", "k", 0, -1, "v").startswith(NO))
        self.assertLess(time.monotonic() - started, 5)
        other = self.driver("127.0.0.1:%d,%s" % (free_port(), self.node.endpoint))
        self.assertEqual(other.ask("put", "default", self.name("k"), 0, 0, "v"), OK + " 1")

    def test_threads(self):
        d = self.driver()
        d.ask("copy", "default", "stress/", 0)
        self.assertEqual(d.ask("wait", 2, 10000), OK)
        self.assertEqual(d.ask("stress", 16, 20), OK + " 0")
        d.until(OK + " 1 stress/7=7-19", "clist", "stress/7")

    def test_copy(self):
        environment = self.name("e").replace("/", "-")
        cache = os.path.join(self.node.folder, self.name("cache").replace("/", "-"))
        self.put("environments/" + environment, '{"parent":"default"}')
        base, own = self.name("k/base"), self.name("k/own")
        self.put("config/" + base, '{"value":"from above"}')
        d = self.driver()
        self.assertEqual(d.ask("copy", environment, self.name("k/"), 1, cache), OK + " " + OK)
        self.assertEqual(d.ask("wait", 2, 10000), OK)
        self.assertEqual(d.ask("cget", base), "%s %s 0 1 default from above" % (OK, base))
        self.put("config/%s?environment=%s" % (own, environment), '{"value":true}')
        d.until("%s %s 2 1 %s true" % (OK, own, environment), "cget", own)
        self.put("config/%s?environment=%s" % (base, environment), '{"value":"here"}')
        d.until("%s %s 0 1 %s here" % (OK, base, environment), "cget", base)
        curl("%s/v1/config/%s?environment=%s" % (self.node.url, base, environment), "-X", "DELETE")
        d.until("%s %s 0 1 default from above" % (OK, base), "cget", base)
        self.put("environments/" + environment, "{}")
        d.until("CONFMAN_NOT_FOUND", "cget", base)
        self.assertTrue(d.ask("state").endswith(" CONFMAN_MISUSE"))  # called in on_change
        wait_until(lambda: own in read(cache) and base not in read(cache), 10, "it is written")

        # With nobody to ask: from the file; never from one that is torn, changed or another's.
        nobody = "127.0.0.1:%d" % free_port()
        away = self.driver(nobody)
        self.assertEqual(away.ask("copy", environment, self.name("k/"), 1, cache), OK + " " + OK)
        self.assertTrue(away.ask("state").startswith(OK + " 1 "))
        self.assertEqual(away.ask("cget", own), "%s %s 2 1 %s true" % (OK, own, environment))
        self.assertTrue(away.ask("wait", 2, 100).startswith(NO))
        with open(cache, "rb") as f:
            whole = f.read()
        for bad in (whole[:-20], whole[:40], b"", whole.replace(b"true", b"fals"), whole + b"x"):
            with open(cache, "wb") as f:
                f.write(bad)
            refused = self.driver(nobody)
            self.assertIn(OK + " CONFMAN_FILE ",
                          refused.ask("copy", environment, self.name("k/"), 1, cache))
            self.assertEqual(refused.ask("cget", own), NO)
        with open(cache, "wb") as f:
            f.write(whole)
        other = self.driver(nobody)
        self.assertIn("of another environment", other.ask("copy", "other", "-", 1, cache))

    def deliveries(self, client):
        return curl("%s/v1/deliveries?client=%s" % (self.node.url, client)).json["clients"]

    def runs(self, client, **wanted):
        """Waits until all subscriptions of its one instance are so."""
        def so():
            told = self.deliveries(client)
            return len(told) == 1 and told[0]["connected"] and all(
                s.get(k) == v for s in told[0]["subscriptions"] for k, v in wanted.items()) and told
        return wait_until(so, 15, "%s: %s" % (client, wanted))[0]

    def test_who_runs_what(self):
        key, name = self.name("app/k"), self._testMethodName
        d = self.driver(DRIVER_CLIENT=name, DRIVER_INSTANCE="one")
        d.ask("copy", "default", self.name("app/"), 1)
        self.assertEqual(d.ask("wait", 2, 10000), OK)
        one = self.runs(name, state="running")
        self.assertEqual((one["instance"], len(one["subscriptions"])), ("one", 2))
        refuses = self.driver(DRIVER_CLIENT=name + "2", DRIVER_PROBLEM="no port is free")
        refuses.ask("copy", "default", self.name("app/"), 0)
        self.assertEqual(refuses.ask("wait", 2, 10000), OK)
        asks = self.driver(DRIVER_CLIENT=name + "3", DRIVER_REPORTS="1")
        asks.ask("copy", "default", self.name("app/"), 0)
        self.assertEqual(asks.ask("wait", 2, 10000), OK)
        self.runs(name + "3", state="silent")
        revision = curl(self.node.url + "/v1/config/" + key, "-X", "PUT", "-H",
                        "Content-Type: application/json", body=b'{"value":1}').json["revision"]
        self.runs(name, state="running")
        told = self.runs(name + "2", state="failed")["subscriptions"][0]
        self.assertEqual((told["error"], told["failed_revision"]), ("no port is free", revision))
        self.assertEqual(refuses.ask("report", "now"), OK)
        self.runs(name + "2", state="running")
        asks.until("%s %s 1 1 default 1" % (OK, key), "cget", key)
        self.runs(name + "3", state="silent")
        self.assertEqual(asks.ask("report", "now", "bad"), OK)
        self.runs(name + "3", state="failed", error="bad")
        self.assertEqual(asks.ask("report", "now", "\udcff"), "CONFMAN_INVALID")
        self.assertEqual(asks.ask("report", "now"), OK)
        self.runs(name + "3", state="running")
        asks.ask("uncopy")
        wait_until(lambda: not self.deliveries(name + "3"), 10, "it has left")
        unnamed = self.driver()
        unnamed.ask("copy", "default", self.name("app/"), 0)
        self.assertEqual(unnamed.ask("wait", 2, 10000), OK)
        self.assertIn("/%d/" % unnamed.process.pid,
                      self.runs("driver", state="running")["instance"])

    def test_own_loop(self):
        """The same without a thread: the program's loop does the work."""
        key, name = self.name("own/k"), self._testMethodName
        d = self.driver(DRIVER_OWN_LOOP="1", DRIVER_CLIENT=name)
        self.assertEqual(len(os.listdir("/proc/%d/task" % d.process.pid)), 1)
        self.assertEqual(d.ask("put", "default", key, 1, 0, 1), OK + " 1")
        d.ask("copy", "default", self.name("own/"), 1)
        self.assertEqual(d.ask("wait", 2, 10000), OK)
        self.assertEqual(d.ask("cget", key), "%s %s 1 1 default 1" % (OK, key))
        self.assertTrue(d.ask("state").endswith(" CONFMAN_MISUSE"))
        self.put("config/" + key, '{"value":2}')
        self.runs(name, state="running")           # with no call at all
        self.assertEqual(d.ask("cget", key), "%s %s 1 2 default 2" % (OK, key))
        self.assertEqual(d.ask("fork"), "CONFMAN_MISUSE")
        d.ask("uncopy")

    def test_flags(self):
        environment = self.name("e").replace("/", "-")
        d = self.driver()
        d.ask("copy", environment, "-", 1)
        self.assertEqual(d.ask("wait", 2, 10000), OK)
        self.assertEqual(d.ask("flag", "boolean", "f"),
                         "CONFMAN_NOT_FOUND -1 - ERROR FLAG_NOT_FOUND")
        self.put("flags/f?environment=" + environment,
                 '{"variants":{"a":"one","b":"two"},"defaultVariant":"a",'
                 '"targeting":{"if":[{"==":[{"var":"plan.name"},"gold"]},"b",null]}}')
        d.until(OK + " one a DEFAULT ", "flag", "string", "f")
        self.assertEqual(d.ask("flag", "string", "f", 'plan={"name":"gold"}'),
                         OK + " two b TARGETING_MATCH ")
        self.assertEqual(d.ask("flag", "json", "f"), OK + ' "one" a DEFAULT ')
        self.assertEqual(d.ask("flag", "boolean", "f"), "CONFMAN_TYPE -1 a ERROR TYPE_MISMATCH")
        self.assertEqual(d.ask("flag", "string", "f", "plan={"),
                         "CONFMAN_INVALID own - ERROR INVALID_CONTEXT")
        self.put("flags/f?environment=" + environment, '{"state":"DISABLED","percentage":1}')
        d.until(OK + " -1 - DISABLED ", "flag", "boolean", "f")
        users = ["user-%d" % i for i in range(40)]
        self.put("flags/half?environment=" + environment, '{"percentage":50}')
        wait_until(lambda: d.ask("flag", "boolean", "half", "targetingKey=u").endswith(" SPLIT "),
                   10, "the flag is here")
        for user in users:
            on = self.remote(environment, "half", user)
            self.assertEqual(d.ask("flag", "boolean", "half", "targetingKey=" + user),
                             OK + (" 1 on SPLIT " if on else " 0 off SPLIT "))
        curl("%s/v1/flags/f?environment=%s" % (self.node.url, environment), "-X", "DELETE")
        d.until("CONFMAN_NOT_FOUND -1 - ERROR FLAG_NOT_FOUND", "flag", "boolean", "f")

    def rules(self, environment, rules):
        answer = curl(self.node.url + "/v1/txn", "-X", "POST", body=json.dumps({"changes": [
            {"kind": "flagset", "environment": environment,
             "value": {"$evaluators": rules}}]}).encode())
        self.assertEqual(answer.status, 200, answer)

    def test_inherited_flags(self):
        base = self.name("b").replace("/", "-")
        own, d = base + "-heir", self.driver()
        at, there = "?environment=" + own, "?environment=" + base
        self.put("environments/" + own, json.dumps({"parent": base}))
        self.rules(base, {"staff": {"==": [{"var": "role"}, "staff"]}})
        self.put("flags/f" + there, '{"variants":{"a":"one","b":"two"},"defaultVariant":"a",'
                 '"targeting":{"if":[{"$ref":"staff"},"b",null]}}')
        d.ask("copy", own, "-", 1)
        self.assertEqual(d.ask("wait", 2, 10000), OK)
        self.assertEqual(d.ask("flag", "string", "f"), OK + " one a DEFAULT ")
        self.assertEqual(d.ask("flag", "string", "f", "role=staff"), OK + " two b TARGETING_MATCH ")
        self.rules(own, {"staff": {"==": [{"var": "role"}, "boss"]}})   # the nearest counts
        d.until(OK + " one a DEFAULT ", "flag", "string", "f", "role=staff")
        d.until(OK + " two b TARGETING_MATCH ", "flag", "string", "f", "role=boss")
        self.put("flags/f" + at, '{"variants":{"c":"three"},"defaultVariant":"c"}')
        d.until(OK + " three c STATIC ", "flag", "string", "f")
        curl(self.node.url + "/v1/flags/f" + at, "-X", "DELETE")
        d.until(OK + " one a DEFAULT ", "flag", "string", "f")
        self.put("environments/" + own, "{}")
        d.until("CONFMAN_NOT_FOUND own - ERROR FLAG_NOT_FOUND", "flag", "string", "f")

    def remote(self, environment, flag, user):
        answer = curl("%s/v1/flags/%s:evaluate?environment=%s" % (self.node.url, flag, environment),
                      "-X", "POST", "-H", "Content-Type: application/json",
                      body=b'{"context":{"targetingKey":"%s"}}' % user.encode())
        return answer.json["value"]


@unittest.skipIf(target() != "confman", "a library for confman servers")
class OwnNodeTest(unittest.TestCase):
    def start(self, **how):
        node = Node(**how).start()
        self.addCleanup(node.close)
        return node

    def driver(self, endpoint, **env):
        d = Driver(endpoint, **env)
        self.addCleanup(d.close)
        return d

    def test_restart(self):
        """A copy goes on behind what it has seen, and misses nothing."""
        node = self.start()
        d = self.driver(node.endpoint)
        self.assertEqual(d.ask("put", "default", "a", 1, 0, 1), OK + " 1")
        d.ask("copy", "default", "-", 1)
        self.assertEqual(d.ask("wait", 2, 10000), OK)
        node.kill()
        wait_until(lambda: d.ask("state").startswith(OK + " 1 "), 10, "it is stale")
        self.assertEqual(d.ask("cget", "a"), OK + " a 1 1 default 1")
        node.start()
        self.assertEqual(d.ask("wait", 2, 10000), OK)
        self.assertEqual(d.ask("put", "default", "a", 1, 1, 2), OK + " 2")
        d.until(OK + " a 1 2 default 2", "cget", "a")
        # What it runs it has told anew.
        told = curl(node.url + "/v1/deliveries?client=driver").json
        self.assertEqual([c["connected"] for c in told["clients"]], [True])

    def test_login_and_tls(self):
        node = self.start(tls=True)
        env = dict(os.environ, CONFMAN_ENDPOINT=node.url)
        cli = [os.path.join(ROOT, os.environ.get("CONFMAN_BIN", "confman"))]

        def confman(*words):
            subprocess.run([*cli, *words, "--cacert", node.cert], env=env, check=True, timeout=30,
                           stdout=subprocess.DEVNULL, input=b"secret\n")

        def user(name):
            confman("user", "add", name, "--new-password-file", "-")

        for name in ("root", "app"):
            user(name)
        confman("role", "add", "root")
        confman("user", "grant-role", "root", "root")
        confman("role", "add", "app")
        confman("role", "grant-permission", "app", "readwrite", "confman/config/default/app/",
                "--prefix")
        confman("user", "grant-role", "app", "app")
        confman("auth", "enable")
        nobody = self.driver(node.url, DRIVER_CA=node.cert)
        self.assertEqual(nobody.ask("get", "default", "app/a").split()[0], "CONFMAN_LOGIN")
        login = curl(node.url + "/v1/login", "-X", "POST", "--cacert", node.cert, "-H",
                     "Content-Type: application/json", body=b'{"user":"root","password":"secret"}')
        self.assertEqual(nobody.ask("token", "a\x7fb").split()[0], "CONFMAN_INVALID")
        self.assertEqual(nobody.ask("token", login.json["token"]), OK)
        nobody.until("CONFMAN_NOT_FOUND there is no config with this key", "get", "default", "none")
        wrong = self.driver(node.url, DRIVER_CA=node.cert, DRIVER_USER="app", DRIVER_PASSWORD="x")
        self.assertEqual(wrong.ask("get", "default", "app/a").split()[0], "CONFMAN_LOGIN")
        wrong.ask("copy", "default", "app/", 0)
        self.assertEqual(wrong.ask("wait", 2, 10000).split()[0], "CONFMAN_LOGIN")
        d = self.driver(node.url, DRIVER_CA=node.cert, DRIVER_USER="app", DRIVER_PASSWORD="secret")
        self.assertEqual(d.ask("put", "default", "app/a", 0, 0, "v"), OK + " 1")
        self.assertEqual(d.ask("get", "default", "other").split()[0], "CONFMAN_DENIED")
        # No right to the tree of environments: the copy follows the environment alone.
        d.ask("copy", "default", "app/", 0)
        self.assertEqual(d.ask("wait", 2, 10000), OK)
        self.assertEqual(d.ask("put", "default", "app/a", 0, 1, "w"), OK + " 2")
        d.until(OK + " app/a 0 2 default w", "cget", "app/a")
        strangers = self.driver(node.url)
        self.assertIn("certificate", strangers.ask("get", "default", "app/a"))

    def test_no_descriptors(self):
        """What the server's code takes for granted is an error here."""
        driver = os.path.join(Built.programs(), "driver")
        env = dict(os.environ, DRIVER_TIMEOUT_MS="300",
                   ASAN_OPTIONS="detect_leaks=0")   # looking for them takes a descriptor
        for most in (4, 5, 6):
            done = subprocess.run(
                [driver], input=b"get default k\n", stdout=subprocess.PIPE, timeout=30,
                stderr=subprocess.PIPE, env=env,
                preexec_fn=lambda n=most: resource.setrlimit(resource.RLIMIT_NOFILE, (n, n)))
            self.assertIn(done.stdout.split()[0], (b"CONFMAN_BUG", b"CONFMAN_UNAVAILABLE"))
            self.assertGreaterEqual(done.returncode, 0)

    def test_no_server_of_ours(self):
        """Whatever answers: an error, not an end."""
        for reply in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0" * 5000, b"", os.urandom(3000),
                      bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]) * 3 + b"\xff" * 100):
            listener = socket.create_server(("127.0.0.1", 0))

            def serve(listener=listener, reply=reply):
                while True:
                    try:
                        s, _ = listener.accept()
                        s.recv(4096)
                        s.sendall(reply)
                        s.close()
                    except OSError:
                        return
            threading.Thread(target=serve, daemon=True).start()
            d = self.driver("127.0.0.1:%d" % listener.getsockname()[1], DRIVER_TIMEOUT_MS="300")
            d.ask("copy", "default", "-", 1)
            self.assertIn(d.ask("get", "default", "k").split()[0], (NO, "CONFMAN_PROTOCOL"))
            d.ask("uncopy")
            listener.close()


if __name__ == "__main__":
    try:
        main()
    finally:
        if Built.folder and "CONFMAN_DRIVER" not in os.environ:
            shutil.rmtree(Built.folder, ignore_errors=True)
