"""`confman run`: programs with their configs as variables and files, told of changes."""
import os
import signal
import subprocess
import unittest

from node import Node, ServerTest, confman_bin, free_port, main, target, wait_until
from web import curl

# Writes its variables and a file to a log, a line a start or HUP; ends with 7 when told to.
PROGRAM = r'''
say() { echo "$1 ${DB_HOST-none} ${LIMIT-none} ${OTHER-none} $(cat "$2" 2>/dev/null)" >>"$LOG"; }
trap 'say hup "$1"' HUP
trap 'say term "$1"; exit 7' TERM
say start "$1"
while :; do sleep 0.05; done
'''


@unittest.skipIf(target() != "confman", "a command of confman's")
class RunTest(ServerTest):
    def setUp(self):
        self.folder = os.path.join(self.node.folder, self._testMethodName)
        os.mkdir(self.folder)
        self.log = os.path.join(self.folder, "log")
        self.environment = self._testMethodName.replace("_", "-")
        self.put("app/db-host", '"one"')
        self.put("app/limit", "5")

    def put(self, key, value):
        answer = curl("%s/v1/config/%s?environment=%s" % (self.node.url, key, self.environment),
                      "-X", "PUT", "-H", "Content-Type: application/json",
                      body=b'{"value":%s}' % value.encode())
        self.assertIn(answer.status, (200, 201), answer)

    def run_it(self, *words, command=None, endpoint=None, program=()):
        process = subprocess.Popen(
            [confman_bin(), "run", "--endpoint", endpoint or self.node.endpoint, "--environment",
             self.environment, "--prefix", "app/", *words, "--",
             *(command or ["sh", "-c", PROGRAM, "sh", *program])],
            env=dict(os.environ, LOG=self.log), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        self.addCleanup(self.end, process)
        return process

    def end(self, process):
        if process.poll() is None:
            process.kill()
        process.communicate()

    def lines(self):
        if not os.path.exists(self.log):
            return []
        with open(self.log) as f:
            return f.read().splitlines()

    def deliveries(self, client):
        found = curl("%s/v1/deliveries?client=%s" % (self.node.url, client)).json["clients"]
        return [(s["state"], s.get("revision")) for c in found for s in c["subscriptions"]]

    def see(self, line):
        wait_until(lambda: line in self.lines(), 20, line + " in " + repr(self.lines()))

    def test_restart(self):
        process = self.run_it("--map", "app/other=OTHER")
        self.see("start one 5 none ")
        self.put("app/other", '"x"')
        self.put("app/db-host", '"two"')
        self.see("start two 5 x ")
        # Both changes were one restart.
        self.assertEqual(self.lines(), ["start one 5 none ", "term one 5 none ",
                                        "start two 5 x "])
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(20), 7)

    def test_signal_and_file(self):
        path = os.path.join(self.folder, "limit")
        process = self.run_it("--on-change", "signal:HUP", "--file", "app/limit=" + path,
                              program=(path,))
        self.see("start one none none 5")
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        self.put("app/limit", '{"a":1}')
        self.see('hup one none none {"a":1}')
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: self.lines().count('hup one none none {"a":1}') == 2, 20, "passed on")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(20), 7)

    def test_exec(self):
        mark = os.path.join(self.folder, "mark")
        self.run_it("--on-change", 'exec:echo "$LIMIT" >' + mark, "--client", "run-exec")
        self.see("start one 5 none ")
        wait_until(lambda: [s for s, _ in self.deliveries("run-exec")] == ["running"], 20, "runs")
        self.put("app/limit", "6")

        def marked():
            if not os.path.exists(mark):
                return False
            with open(mark) as f:
                return f.read() == "6\n"
        wait_until(marked, 20, "the command ran")
        self.assertEqual(self.lines(), ["start one 5 none "])
        self.put("app/db_host", "1")                    # a second one for DB_HOST
        wait_until(lambda: [s for s, _ in self.deliveries("run-exec")] == ["failed"], 20, "told")

    def test_last_known_good(self):
        cache = os.path.join(self.folder, "cache")
        process = self.run_it("--cache-file", cache)
        self.see("start one 5 none ")
        wait_until(lambda: os.path.exists(cache), 20, "the file is there")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(20), 7)
        os.remove(self.log)
        nobody = "127.0.0.1:%d" % free_port()
        process = self.run_it("--cache-file", cache, "--timeout", "1", endpoint=nobody)
        self.see("start one 5 none ")
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
        self.assertEqual(process.returncode, 7)
        self.assertIn(b"with the last known good, of revision", errors)
        process = self.run_it("--timeout", "1", endpoint=nobody)
        _, errors = process.communicate(timeout=20)
        self.assertEqual((process.returncode, errors.count(b"\n")), (3, 1))

    def test_status(self):
        for command, status in ((["sh", "-c", "exit 5"], 5), (["sh", "-c", "kill -KILL $$"], 137),
                                (["/nowhere"], 127)):
            self.assertEqual(self.run_it(command=command).wait(20), status)

    def test_refused(self):
        self.put("app/db.host", '"x"')
        for words, said in (((), b"would both be the variable DB_HOST"),
                            (("--on-change", "signal:NOPE"), b"--on-change wants"),
                            (("--map", "app/limit"), b"KEY=VARIABLE"),
                            (("--map", "app/db-host=A-B"), b"no name of a variable"),
                            (("--map", "app/db.host=", "--secret", "x=Y"), b"PATH#NAME=VARIABLE"),
                            (("--map", "app/db.host=", "--secret", "a#b=/var/tmp/x"),
                             b"file system in memory")):
            process = self.run_it(*words)
            _, errors = process.communicate(timeout=20)
            self.assertEqual(process.returncode, 2, (words, errors))
            self.assertIn(said, errors)
        self.assertEqual(self.lines(), [])


@unittest.skipIf(target() != "confman", "a command of confman's")
class SecretTest(unittest.TestCase):
    def test_secret(self):
        node = Node()
        self.addCleanup(node.close)
        seal = os.path.join(node.folder, "seal")
        with open(os.open(seal, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as f:
            f.write(os.urandom(32))
        node.args = ["--seal-key-file", seal]
        node.start()
        env = dict(os.environ, CONFMAN_ENDPOINT=node.endpoint)
        subprocess.run([confman_bin(), "secret", "put", "db/main", "password=hunter2", "user=app"],
                       env=env, check=True, stdout=subprocess.DEVNULL)
        cache = os.path.join(node.folder, "cache")
        path = "/dev/shm/confman-run-test-%d" % os.getpid()
        self.addCleanup(os.remove, path)
        out = subprocess.run(
            [confman_bin(), "run", "--cache-file", cache, "--secret", "db/main#password=PASSWORD",
             "--secret", "db/main#user=" + path, "--", "sh", "-c",
             'echo "$PASSWORD $(cat %s)"; stat -c %%a %s' % (path, path)],
            env=env, check=True, stdout=subprocess.PIPE, timeout=30).stdout
        self.assertEqual(out, b"hunter2 app\n600\n")
        for name in os.listdir(node.folder):
            if os.path.isfile(os.path.join(node.folder, name)):
                with open(os.path.join(node.folder, name), "rb") as f:
                    self.assertNotIn(b"hunter2", f.read(), name)
        missing = subprocess.run(
            [confman_bin(), "run", "--secret", "db/main#nothing=X", "--", "true"], env=env,
            stderr=subprocess.PIPE, timeout=30)
        self.assertEqual(missing.returncode, 1)
        self.assertIn(b"no such member", missing.stderr)


if __name__ == "__main__":
    main()
