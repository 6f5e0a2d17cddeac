"""The command line: the binary as a client of its own doors."""
import json
import os
import subprocess
import unittest

from node import ServerTest, confman_bin, main, target, wait_until

COMMANDS = ("put", "get", "del", "watch", "txn", "lease", "status", "compact", "lock", "elect",
            "alarm", "defrag", "hash")


@unittest.skipIf(target() != "confman", "confman's own command line")
class CliTest(ServerTest):
    def run_cli(self, *args, stdin="", endpoint=True):
        env = dict(os.environ, CONFMAN_ENDPOINT=self.node.endpoint if endpoint else "")
        return subprocess.run([confman_bin(), *args], env=env, input=stdin, text=True,
                              capture_output=True, timeout=20)

    def cli(self, *args, **more):
        done = self.run_cli(*args, **more)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def json(self, *args):
        return json.loads(self.cli(*args, "--output", "json"))

    def test_put_get_del(self):
        k = self.name("k")
        self.cli("put", k, "some value")
        self.assertIn("some value", self.cli("get", k))
        self.assertIn("some value", json.dumps(self.json("get", k)))
        self.cli("put", self.name("l"), "other")
        both = self.cli("get", self.name(), "--prefix")
        self.assertTrue("some value" in both and "other" in both, both)
        self.cli("del", k)
        self.assertNotIn("some value", self.run_cli("get", k).stdout)

    def refused(self, *args, status, text):
        done = self.run_cli(*args)
        self.assertEqual((done.returncode, done.stdout), (status, ""), done.stderr)
        self.assertIn(text, done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)

    def test_what_a_word_wants(self):
        self.refused("config", "get", status=2, text="config get: wants KEY;")
        self.refused("schema", "check", status=2, text="schema check: wants NAME [FILE|-];")
        self.refused("seal", "unsel", status=2, text='"unsel" is n')
        self.refused("role", "grant-permission", "a", status=2, text="wants NAME RIGHT KEY;")
        # One word too many is nothing to pass over.
        self.refused("secret", "delete", "a", "b", status=2, text="secret delete: wants PATH;")
        self.refused("flag", "delete", "a", "b", status=2, text="flag delete: wants NAME;")

    def test_what_the_server_says(self):
        self.refused("config", "set", "a", "12", "--type", "wrong", status=1,
                     text="/type: must be string")
        self.refused("export", "--format", "xml", status=1, text="confman: format must be")
        self.refused("run", "--", "/nowhere/program", status=127,
                     text="confman: /nowhere/program: No such file")
        self.refused("run", "--", "/tmp", status=126, text="confman: /tmp: ")

    def test_numbers_as_they_were_written(self):
        """More digits than a double or 64 bits have."""
        k = self.name("k")
        for number in ("1.10", "123456789012345678901234567890", "-0.1234567890123456789"):
            self.cli("config", "set", k, number, "--type", "number")
            self.assertEqual(self.cli("config", "get", k), number + "\n")
            self.assertIn('"value":%s,' % number, self.cli("config", "get", k, "--output", "json"))
        self.assertIn("\t1.10\n", self.cli("config", "history", k))

    def test_all_pages_as_json(self):
        for i in range(0, 1200, 100):
            body = json.dumps({"changes": [{"key": self.name("k%04d" % j), "value": j}
                                           for j in range(i, i + 100)]})
            subprocess.run(["curl", "-sSf", self.node.url + "/v1/txn", "-d", body], check=True,
                           capture_output=True)
        keys = [c["key"] for c in self.json("config", "list", self.name())["items"]]
        self.assertEqual(keys, [self.name("k%04d" % i) for i in range(1200)])

    def test_environments(self):
        self.cli("environment", "set", "cli-base")
        self.cli("environment", "set", "cli-prod", "--parent", "cli-base")
        self.assertEqual(self.cli("environment", "get", "cli-prod"), "cli-prod\tcli-base\n")
        self.assertIn("cli-base\t-\n", self.cli("environment", "list"))
        self.assertEqual(self.json("environment", "get", "cli-prod")["parent"], "cli-base")
        self.cli("environment", "delete", "cli-prod")
        self.refused("environment", "delete", "cli-prod", status=1, text="no such")

    def test_completion(self):
        script = """PATH=%s:$PATH; source <(confman completion bash)
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); _confman; echo "${COMPREPLY[@]}" """

        def words(*typed):
            return subprocess.run(
                ["bash", "-c", script % os.path.dirname(confman_bin()), "confman", "confman",
                 *typed], text=True, check=True, capture_output=True).stdout.split()

        self.assertIn("config", words("c"))
        self.assertEqual(words("config", "h"), ["history"])
        self.assertEqual(words("put", "k", "v", "--le"), ["--lease"])
        self.assertEqual(words("server", "--vault-l"), ["--vault-listen"])
        for shell in ("zsh", "fish"):
            self.assertIn("history", self.cli("completion", shell))

    def test_get_stream(self):
        names = [self.name("k%03d" % i) for i in range(30)]
        for k in names:
            self.cli("put", k, "v")
        args = ("get", self.name(), "--prefix", "--stream")
        self.assertEqual(self.cli(*args), self.cli("get", self.name(), "--prefix"))
        self.assertEqual(self.cli(*args, "--count-only"), "30\n")
        lines = self.cli(*args, "--output", "json", "--limit", "7").splitlines()
        self.assertEqual([json.loads(line)["key"] for line in lines], names[:7])
        self.assertEqual(self.run_cli("get", self.name("none"), "--stream").returncode, 1)

    def test_alarms(self):
        self.assertEqual(self.cli("alarm", "list"), "")
        self.assertEqual(self.json("alarm", "disarm"), {"alarms": []})
        self.assertIn("nothing to do", self.cli("defrag"))
        subprocess.run(["curl", "-sS", "-f", self.node.url + "/v3/maintenance/alarm", "-d",
                        '{"action":"ACTIVATE","alarm":"NOSPACE","memberID":"7"}'], check=True,
                       capture_output=True)
        self.assertEqual(self.json("alarm", "list"),
                         {"alarms": [{"member": "7", "alarm": "NOSPACE"}]})
        self.assertEqual(self.run_cli("put", self.name("k"), "v").returncode, 1)
        self.assertEqual(self.cli("alarm", "disarm").split(), ["7", "NOSPACE"])
        self.cli("put", self.name("k"), "v")
        self.assertEqual(self.run_cli("alarm", "off").returncode, 2)

    def test_hash(self):
        self.cli("put", self.name("k"), "v")
        first = self.json("hash")
        self.assertEqual(self.json("hash"), first)
        self.cli("put", self.name("k"), "w")
        self.assertNotEqual(self.json("hash")["hash"], first["hash"])
        at = self.json("hash", "--revision", str(first["revision"]))
        self.assertEqual(at["hash_kv"], first["hash_kv"])

    def start(self, *args):
        process = subprocess.Popen([confman_bin(), *args], text=True, stdout=subprocess.PIPE,
                                   env=dict(os.environ, CONFMAN_ENDPOINT=self.node.endpoint))
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait, 20)
        self.addCleanup(process.kill)
        return process

    def test_lock(self):
        name = self.name("lock")
        self.assertEqual(self.run_cli("lock", name, "--", "sh", "-c", "exit 7").returncode, 7)
        held = self.start("lock", name)
        key = held.stdout.readline().strip()
        self.assertEqual(key, self.cli("get", name, "--prefix", "--keys-only").strip())
        waits = self.start("lock", name, "--", "echo", "mine")
        wait_until(lambda: len(self.cli("get", name, "--prefix", "--keys-only").split()) == 2, 20,
                   "the second stands in the line")
        held.terminate()
        self.assertEqual(held.wait(20), 0)
        self.assertEqual(waits.stdout.read(), "mine\n")
        self.assertEqual(waits.wait(20), 0)
        self.assertEqual(self.run_cli("get", name, "--prefix").returncode, 1)

    def test_lock_is_lost(self):
        name = self.name("lock")
        held = self.start("lock", name, "--ttl", "6", "--", "sleep", "60")
        wait_until(lambda: self.run_cli("get", name, "--prefix").returncode == 0, 20, "it is held")
        lease = json.loads(self.cli("get", name, "--prefix", "--output",
                                    "json"))["kvs"][0]["lease"]
        self.cli("lease", "revoke", "%x" % lease)
        self.assertEqual(held.wait(20), 1)

    def test_elect(self):
        name = self.name("e")
        seen = self.start("elect", name)
        one = self.start("elect", name, "one")
        self.assertEqual(seen.stdout.readline(), one.stdout.readline())
        self.assertEqual(one.stdout.readline(), seen.stdout.readline())
        two = self.start("elect", name, "two", "--output", "json")
        wait_until(lambda: len(self.cli("get", name, "--prefix", "--keys-only").split()) == 2, 20,
                   "the second stands for it")
        one.terminate()
        self.assertEqual(json.loads(two.stdout.readline())["value"], "two")
        seen.stdout.readline()
        self.assertEqual(seen.stdout.readline(), "two\n")

    def test_endpoint_flag(self):
        k = self.name("k")
        done = self.run_cli("put", k, "v", "--endpoint", self.node.endpoint, endpoint=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("v", self.cli("get", k))
        nobody = self.run_cli("get", k, "--endpoint", "127.0.0.1:1")
        self.assertNotEqual(nobody.returncode, 0)
        self.assertIn("127.0.0.1:1", nobody.stderr)

    def test_watch(self):
        k = self.name("k")
        process = subprocess.Popen([confman_bin(), "watch", self.name(), "--prefix"], text=True,
                                   env=dict(os.environ, CONFMAN_ENDPOINT=self.node.endpoint),
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            os.set_blocking(process.stdout.fileno(), False)
            seen = []

            def heard():
                self.cli("put", k, "watched value")
                try:
                    seen.append(os.read(process.stdout.fileno(), 65536).decode())
                except BlockingIOError:
                    pass
                return "watched value" in "".join(seen)
            wait_until(heard, 10, "the watch tells of a put")
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    def follow(self, *args):
        """What a watch prints until it is interrupted, as a function of how many lines."""
        process = subprocess.Popen([confman_bin(), "watch", *args], text=True,
                                   env=dict(os.environ, CONFMAN_ENDPOINT=self.node.endpoint),
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait, 10)
        self.addCleanup(process.terminate)
        return lambda n: [process.stdout.readline().rstrip("\n") for _ in range(n)]

    def test_watch_from_a_revision(self):
        k = self.name("k")
        self.cli("put", k, "1")
        first = self.json("get", k)["kvs"][0]["mod_revision"]
        self.cli("put", k, "2")
        self.cli("del", k)
        lines = self.follow(k, "--revision", str(first))
        self.assertEqual(lines(8), ["PUT", k, "1", "PUT", k, "2", "DELETE", k])
        told = self.follow(k, "--revision", str(first), "--prev-kv", "--output", "json")
        events = [json.loads(line) for line in told(3)]
        self.assertEqual([(e["type"], e["revision"]) for e in events],
                         [("put", first), ("put", first + 1), ("delete", first + 2)])
        self.assertEqual([e.get("prev_kv", {}).get("value") for e in events], [None, "1", "2"])

    def test_watch_goes_on_after_a_restart(self):
        k = self.name("k")
        self.cli("put", k, "1")
        lines = self.follow(k, "--revision", str(self.json("get", k)["kvs"][0]["mod_revision"]))
        self.assertEqual(lines(3), ["PUT", k, "1"])
        self.node.stop()
        self.node.start()
        self.cli("put", k, "2")
        self.assertEqual(lines(3), ["PUT", k, "2"])

    def test_txn(self):
        k = self.name("k")
        script = ('mod("%s") = "0"\n\nput %s "a \\"word\\""\nget %s\n\nget %s\ndel %s\n' %
                  ((k,) * 5))
        self.assertEqual(self.cli("txn", stdin=script), 'SUCCESS\nOK\n%s\na "word"\n' % k)
        self.assertEqual(self.cli("txn", stdin=script), 'FAILURE\n%s\na "word"\n1\n' % k)
        done = json.loads(self.cli("txn", "--output", "json", stdin=script))
        self.assertTrue(done["succeeded"])
        self.assertEqual(done["responses"][1]["kvs"][0]["value"], 'a "word"')
        for compare, holds in (('version("%s") > "0"', True), ('value("%s") != "x"', True),
                               ('create("%s") < "1"', False), ('lease("%s") = "0"', True)):
            told = self.cli("txn", stdin=(compare % k) + "\n\n\n")
            self.assertEqual(told, "SUCCESS\n" if holds else "FAILURE\n")

    def test_txn_mistakes(self):
        for script, line in (("mod k = 0\n\n", 1), ('mod("k") ~ "0"\n\n', 1),
                             ('size("k") = "0"\n\n', 1), ('mod("k") = "x"\n\n', 1),
                             ("\nput k\n", 2), ('\nput k "v\n', 2),
                             ("\n\nfrob k\n", 3)):
            done = self.run_cli("txn", stdin=script)
            self.assertEqual(done.returncode, 2, script)
            self.assertIn("line %d: " % line, done.stderr)
        self.assertNotEqual(self.run_cli("txn", "/no/such/file").returncode, 0)

    def test_lease(self):
        k = self.name("k")
        lease = self.json("lease", "grant", "60")["id"]
        self.assertIn(lease, self.cli("lease", "list").split())
        self.cli("put", k, "v", "--lease", lease)
        told = self.cli("lease", "timetolive", lease, "--keys")
        self.assertRegex(told, r"still lives for (60|59|58) s\n%s\n" % k)
        self.assertIn("renewed for 60 s", self.cli("lease", "keep-alive", "--once", lease))
        self.assertIn("revoked", self.cli("lease", "revoke", lease))
        self.assertEqual(self.run_cli("get", k).returncode, 1)
        for what in ("revoke", "timetolive"):
            self.assertEqual(self.run_cli("lease", what, lease).returncode, 1)
        self.assertIn("lease not found",
                      self.run_cli("put", k, "v", "--lease", lease).stderr)

    def test_lease_status_compact(self):
        self.assertTrue(self.cli("lease", "grant", "60"))
        status = self.json("status")
        self.assertIn("revision", json.dumps(status))
        self.cli("put", self.name("k"), "1")
        self.cli("compact", "2")
        twice = self.run_cli("compact", "2")
        self.assertNotEqual(twice.returncode, 0)
        self.assertIn("compacted", twice.stderr)

    def test_help(self):
        whole = self.cli("--help")
        for command in COMMANDS:
            self.assertIn(command, whole)
            told = self.cli(command, "--help")
            self.assertIn("confman " + command, told)
        self.assertIn("--data-dir", self.cli("server", "--help"))

    def test_mistakes(self):
        for wrong, near in ((("gett", "k"), "get"), (("get", "k", "--outptu", "json"), "--output"),
                            (("server", "--data-dri", "x"), "--data-dir"),
                            (("get", "k", "--output", "jsn"), "json")):
            done = self.run_cli(*wrong)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(near, done.stderr)
        self.assertNotEqual(self.run_cli("put").returncode, 0)


if __name__ == "__main__":
    main()
