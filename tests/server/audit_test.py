"""The audit log searched over REST, and the commands for several configs at once: confman diff,
rollback, import, export, draft, audit."""
import json
import os
import subprocess
import unittest

from node import Node, ServerTest, confman_bin, confman_only, main
from web import curl


class Commands(ServerTest):
    @classmethod
    def setUpClass(cls):
        cls.node = Node()
        cls.node.args = ["--audit-log", os.path.join(cls.node.folder, "audit.log")]
        cls.node.__enter__()

    def run_cli(self, *words, status=0, stdin=None):
        done = subprocess.run([confman_bin(), *words, "--endpoint", self.node.endpoint],
                              capture_output=True, text=True, timeout=30, input=stdin)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout if status == 0 else done.stderr

    def put(self, key, value, *more):
        self.run_cli("config", "set", self.name(key), json.dumps(value), "--type", "json", *more)

    def revision(self):
        return curl(self.node.url + "/v1/status").json["revision"]

    def file(self, name, text):
        path = os.path.join(self.node.folder, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path


@confman_only
class CommandTest(Commands):
    def test_diff_and_rollback(self):
        self.put("a", dict(n=1))
        then = self.revision()
        self.put("a", dict(n=2))
        self.put("b", 1)
        out = self.run_cli("diff", self.name(), "--prefix", "--from", str(then))
        self.assertEqual(out, "~ %s\n  /n\n  - 1\n  + 2\n+ %s\n  + 1\n"
                         % (self.name("a"), self.name("b")))
        out = self.run_cli("rollback", str(then), self.name(), "--prefix", "--dry-run")
        self.assertIn("would be changed: 2\n", out)
        self.assertIn("- default/%s\n" % self.name("b"), out)
        out = self.run_cli("rollback", str(then), self.name("a"), self.name("b"), "--change-log",
                           "it was better")
        self.assertRegex(out, r"changed: 2, revision \d+\n$")
        self.assertEqual(self.run_cli("config", "get", self.name("a")), '{"n":1}\n')
        self.assertIn("future revision", self.run_cli("rollback", "99999999", "k", status=1))
        self.assertIn("not a revision", self.run_cli("rollback", "x", "k", status=2))
        self.assertIn("which keys", self.run_cli("rollback", "5", status=2))

    def test_import_and_export(self):
        path = self.file("app.yaml", "a: 1\nb: [x]\n")
        below = ("--below", self.name())
        self.assertIn("would be changed: 2", self.run_cli("import", path, *below, "--dry-run"))
        self.assertRegex(self.run_cli("import", path, *below), r"changed: 2, revision")
        self.assertIn("changed: 0, the same already: 2", self.run_cli("import", path, *below))
        out = self.run_cli("export", self.name())
        self.assertEqual(out, "a: 1\nb:\n  - \"x\"\n")
        out = self.run_cli("export", self.name(), "--format", "env")
        self.assertEqual(out, 'A="1"\nB="[\\"x\\"]"\n')
        many = self.file("many.json", json.dumps({"k%d" % i: i for i in range(130)}))
        self.assertIn("130 changes", self.run_cli("import", many, *below, status=1))
        self.assertIn("left: 10", self.run_cli("import", many, *below, "--partial"))
        self.assertEqual(len(self.run_cli("export", self.name("k")).splitlines()), 130)
        self.assertIn("--format", self.run_cli("import", self.file("x.txt", "a"), status=2))

    def test_draft(self):
        draft = dict(title="by hand", changes=[dict(key=self.name("k"), value=1)])
        out = self.run_cli("draft", "propose", "-", stdin=json.dumps(draft))
        number = out.split("\t")[0]
        self.assertIn("\topen\t", out)
        self.assertIn("+ default/%s\n  + 1\n" % self.name("k"), out)
        self.assertIn("comment (edit 1): hm", self.run_cli("draft", "comment", number, "hm"))
        self.run_cli("draft", "approve", number)
        self.assertIn("\tby hand\n", self.run_cli("draft", "list", "--state", "open"))
        self.assertIn("\tpublished\t", self.run_cli("draft", "publish", number))
        self.assertEqual(self.run_cli("config", "get", self.name("k")), "1\n")
        self.assertIn("published", self.run_cli("draft", "publish", number, status=1))
        self.assertEqual(self.run_cli("draft", "delete", number), "OK\n")
        self.assertIn("no such draft", self.run_cli("draft", "show", number, status=1))


@confman_only
class AuditTest(Commands):
    def ask(self, query=""):
        answer = curl(self.node.url + "/v1/audit" + query)
        self.assertEqual(answer.status, 200, answer)
        return answer.json

    def keys(self, query):
        return [i["put"] for i in self.ask(query)["items"]]

    def test_search(self):
        for i in range(5):
            self.put("k%d" % i, i)
        mine = "confman/config/default/" + self.name()
        told = self.ask("?limit=3&prefix=" + mine)
        self.assertEqual([i["put"] for i in told["items"]], [[mine + "k%d" % i] for i in (4, 3, 2)])
        # Pages go on with until: newest first, nothing twice.
        rest = self.keys("?prefix=%s&until=%s" % (mine, told["next_until"]))
        self.assertEqual(rest, [[mine + "k%d" % i] for i in (1, 0)])
        since = told["items"][1]["time"]
        self.assertEqual(self.keys("?prefix=%s&since=%s" % (mine, since)),
                         [[mine + "k4"], [mine + "k3"]])
        self.assertEqual(self.keys("?user=nobody&prefix=" + mine), [])
        self.assertEqual(len(self.keys("?user=&prefix=" + mine)), 5)
        lines = curl(self.node.url + "/v1/audit?format=lines&prefix=" + mine).body
        self.assertEqual([json.loads(s)["put"] for s in lines.splitlines()],
                         self.keys("?prefix=" + mine))
        out = self.run_cli("audit", mine, "--limit", "2")
        self.assertEqual([json.loads(s)["put"] for s in out.splitlines()],
                         [[mine + "k4"], [mine + "k3"]])
        self.assertEqual(len(self.run_cli("audit", mine, "--all-members").splitlines()), 5)
        for bad in ("?since=x", "?limit=0", "?limit=1001", "?format=x", "?unknown=1"):
            self.assertEqual(curl(self.node.url + "/v1/audit" + bad).status, 400)

    def test_values_are_not_told(self):
        self.put("v", "a-marker")
        self.assertNotIn("a-marker", json.dumps(self.ask()))

    def test_more_than_a_block(self):
        """Lines that lie across the blocks in which the file is read from its end."""
        mine = "confman/config/default/" + self.name()
        changes = [dict(key=self.name("%s-%03d" % ("k" * 150, i)), value=i) for i in range(100)]
        for i in range(16):
            changes[0]["value"] = 1000 + i
            for c in changes:
                c["value"] += 1
            answer = curl(self.node.url + "/v1/txn", "-X", "POST",
                          body=json.dumps(changes).encode())
            self.assertEqual(answer.status, 200, answer)
        size = os.path.getsize(self.node.args[1])
        self.assertGreater(size, 300000)
        told = self.ask("?limit=1000&prefix=" + mine)["items"]
        self.assertEqual(len(told), 16)
        self.assertEqual(sorted((i["revision"] for i in told), reverse=True),
                         [i["revision"] for i in told])

    def test_far_back(self):
        """Lines of one time come together, and one question's bound is where the next begins."""
        def line(second, user, fill=""):
            return json.dumps({"time": "2020-01-01T%02d:%02d:%02d.000Z" % (
                second // 3600, second // 60 % 60, second % 60), "user": user, "fill": fill})

        fill = "x" * 4000
        with open(self.node.args[1] + ".1", "w", encoding="utf-8") as f:
            f.write(line(0, "rare") + "\n")
            for i in range(1, 17500):      # 70 MB
                f.write(line(i, "often", fill) + "\n")
            for _ in range(30):
                f.write(line(17500, "twin") + "\n")
        try:
            for user, limit, wanted in (("rare", 100, 1), ("twin", 7, 30)):
                found, until, asked = [], "", 0
                while until is not None and asked < 5:
                    told = self.ask("?user=%s&limit=%d%s" % (user, limit,
                                                             until and "&until=" + until))
                    found += told["items"]
                    until, asked = told.get("next_until"), asked + 1
                self.assertEqual((len(found), until), (wanted, None))
        finally:
            os.unlink(self.node.args[1] + ".1")

    def test_off(self):
        with Node() as other:
            answer = curl(other.url + "/v1/audit")
            self.assertEqual((answer.status, answer.json["code"]), (404, "audit_off"))


@confman_only
class RightsTest(Commands):
    def test_rights(self):
        for words in (("user", "add", "root:r"), ("user", "add", "ann:a"), ("user", "add", "bob:b"),
                      ("role", "add", "root"), ("role", "add", "auditor"),
                      ("role", "grant-permission", "auditor", "read", "confman/audit/",
                       "--prefix"),
                      ("user", "grant-role", "root", "root"),
                      ("user", "grant-role", "ann", "auditor"), ("auth", "enable")):
            self.run_cli(*words)
        for user, status in (("root:r", 200), ("ann:a", 200), ("bob:b", 403)):
            answer = curl(self.node.url + "/v1/audit", "-u", user)
            self.assertEqual(answer.status, status, answer)
        self.assertEqual(curl(self.node.url + "/v1/audit").status, 401)


del Commands
if __name__ == "__main__":
    main()
