"""Import and export: JSON, YAML (read by python3-yaml too) and .env (by sh too)."""
import subprocess
import unittest

import yaml

from node import main
from history_test import History


class ImportTest(History):
    def bring(self, text, query):
        if isinstance(text, str):
            text = text.encode()
        return self.call("POST", "/v1/import?" + query, "-H", "Content-Type: text/plain",
                         body=text)

    def export(self, query):
        answer = self.call("GET", "/v1/export?" + query)
        self.assertEqual(answer.status, 200, answer)
        return answer

    def test_json(self):
        self.put("j/same", 1.50)
        self.put("j/gone", "x")
        file = '{"same": 1.5, "new": {"a": [1, 2.50]}, "text": "a\\nb", "no": null}'
        query = "format=json&prefix=" + self.name("j/")
        plan = self.done(self.bring(file, query + "&dry_run=true"))
        self.assertEqual(([i["key"][len(self.name("j/")):] for i in plan["items"]],
                          plan["unchanged"]), (["new", "no", "text"], 1))
        done = self.done(self.bring(file, query + "&change_log=a%20file"))
        self.assertEqual((done["changed"], done["change_log"]), (3, "a file"))
        self.assertEqual(self.value("j/new"), dict(a=[1, 2.5]))
        self.assertEqual(self.done(self.bring(file, query))["changed"], 0)
        swept = self.done(self.bring(file, query + "&replace=true"))
        self.assertEqual([(i["change"], i["key"]) for i in swept["items"]],
                         [("removed", self.name("j/gone"))])
        out = self.export(query).body
        self.assertEqual(out, b'{\n  "new": {"a":[1,2.50]},\n  "no": null,\n  "same": 1.5,\n'
                              b'  "text": "a\\nb"\n}\n')
        self.assertEqual(self.done(self.bring(out, query + "&replace=true"))["changed"], 0)

    def test_yaml(self):
        file = ("# a comment\napp:\n  timeout: 30\n  name: 'x y'\n  hosts: [a, b]\n"
                "  text: |\n    one\n    two\n  key: !!binary //4=\nenabled: yes\nratio: .5\n")
        query = "format=yaml&prefix=" + self.name()
        self.assertEqual(self.done(self.bring(file, query + "&nested=true"))["changed"], 7)
        self.assertEqual((self.value("app/timeout"), self.value("app/hosts"),
                          self.value("app/text"), self.value("enabled"), self.value("ratio")),
                         (30, ["a", "b"], "one\ntwo\n", "yes", 0.5))
        out = self.export(query)
        self.assertEqual(out.headers["content-type"], "application/yaml")
        self.assertEqual(yaml.safe_load(out.body), {
            "app/timeout": 30, "app/name": "x y", "app/hosts": ["a", "b"],
            "app/text": "one\ntwo\n", "app/key": b"\xff\xfe", "enabled": "yes", "ratio": 0.5})
        self.assertIn(b"app/hosts:\n  - \"a\"\n  - \"b\"\n", out.body)
        self.assertEqual(self.done(self.bring(out.body, query + "&replace=true"))["changed"], 0)
        told = self.problem(self.bring("a: [1\nb: 2", query), 400, "body_not_json")
        self.assertIn("line 2", told["detail"])
        self.assertIn("alias", self.problem(self.bring("a: &x 1\nb: *x", query), 400)["detail"])
        self.problem(self.bring("a: 1\na: 2\n", query), 400)
        self.problem(self.bring("- 1\n", query), 400)

    def test_env(self):
        self.put("e/PORT", 80)
        file = "# for the shell\nexport HOST=\"a \\\"b\\\" $c\\n\"\nPORT=8080 # not 80\nEMPTY=\n"
        file = file.replace("$c", "\\$c")
        query = "format=env&prefix=" + self.name("e/")
        self.assertEqual(self.done(self.bring(file, query))["changed"], 3)
        # What was a number stays one.
        self.assertEqual((self.value("e/PORT"), self.value("e/HOST"), self.value("e/EMPTY")),
                         (8080, 'a "b" $c\n', ""))
        out = self.export(query).body.decode()
        told = subprocess.run(["sh", "-c", out.replace("\\n", "@") + 'printf "%s" "$HOST$PORT"'],
                              capture_output=True, text=True, check=True).stdout
        self.assertEqual(told, 'a "b" $c@8080')
        self.assertEqual(self.done(self.bring(out, query))["changed"], 0)
        self.assertIn("line 2", self.problem(self.bring("A=1\nB\n", query), 400)["detail"])
        self.put("e/port", 1)
        self.problem(self.call("GET", "/v1/export?" + query), 409, "conflict")

    def test_inherited(self):
        self.put("i/a", 1)
        self.call("PUT", "/v1/environments/child", body=dict(parent="default"))
        self.call("PUT", self.config("i/b") + "?environment=child", body=dict(value=2))
        query = "format=json&environment=child&prefix=" + self.name("i/")
        self.assertEqual(self.export(query).json, dict(b=2))
        self.assertEqual(self.export(query + "&own=false").json, dict(a=1, b=2))

    def test_more_than_a_transaction(self):
        """Refused with the number, or taken in parts until nothing is left."""
        file = "".join("k%03d: %d\n" % (i, i) for i in range(300))
        query = "format=yaml&prefix=" + self.name("m/")
        told = self.problem(self.bring(file, query), 413, "changes")
        self.assertIn("300 changes", told["detail"])
        self.assertEqual(len(self.done(self.bring(
            file, query + "&partial=true&dry_run=true"))["items"]), 300)
        left = []
        while not left or left[-1]:
            left.append(self.done(self.bring(file, query + "&partial=true"))["left"])
        self.assertEqual(left, [180, 60, 0])
        self.assertEqual(len(self.export(query).body.splitlines()), 300)

    def test_refused(self):
        for query in ("", "format=toml", "format=json&unknown=1", "format=json&environment=a/b",
                      "format=json&replace=maybe", "format=json&prefix=" + "k" * 257):
            self.problem(self.bring("{}", query), 400)
        for text in ("", "7", "{", '{"a": 1, "a": 2}', '{"": 1}', '{"a": {"$bytes": "?"}}'):
            self.problem(self.bring(text, "format=json"), 400)
        for query in ("", "format=x", "format=json&revision=x", "format=json&own=maybe"):
            self.problem(self.call("GET", "/v1/export?" + query), 400)
        self.problem(self.call("GET", "/v1/export?format=json&revision=999999999"), 400)


del History
if __name__ == "__main__":
    main()
