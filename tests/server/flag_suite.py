"""The public data of flag systems, counted: `make conformance` calls it. FLAG_SUITE is a folder of
copies, each of which may be missing: flagd-testbed (open-feature), flagd-schemas (open-feature) and
json-logic (json-logic/compat-tables). They are no part of this project."""
import base64
import glob
import json
import os
import re
import subprocess
import sys
import urllib.request

from node import ROOT, Node, confman_bin

TYPES = {"Boolean": bool, "String": str, "Integer": (int, float), "Float": (int, float),
         "Object": (dict, list)}


def post(node, path, body):
    request = urllib.request.Request(node.url + path, json.dumps(body).encode())
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as e:
        return json.load(e)


def put(node, key, value):
    """As it is, through a door that looks at nothing: the suite has broken flags too."""
    post(node, "/v3/kv/put", {"key": base64.b64encode(key.encode()).decode(),
                              "value": base64.b64encode(json.dumps(value).encode()).decode()})


# ---- flagd-testbed: its features, in so much of Gherkin as they use ----

def cells(line):
    return [c.strip() for c in line.strip().strip("|").split("|")]


def scenarios(text):
    """(name, tags, steps, tables of steps), the rows of outlines each for itself."""
    tags, found, current = [], [], None
    for line in (raw.strip() for raw in text.splitlines()):
        if not line or line.startswith("#"):
            continue
        if line.startswith("@"):
            tags = line.split()
        elif line.startswith(("Feature:", "Background:")):
            tags, current = [], None
        elif line.startswith("Scenario"):
            current = {"name": line.split(":", 1)[1].strip(), "tags": tags, "steps": [],
                       "examples": []}
            found.append(current)
            tags = []
        elif line.startswith("Examples") and current:
            current["examples"].append((tags, []))
            tags = []
        elif line.startswith("|") and current:
            rows = current["examples"][-1][1] if current["examples"] else current["steps"][-1][1]
            rows.append(cells(line))
        elif current and re.match(r"(Given|When|Then|And|But) ", line):
            current["steps"].append((line.split(" ", 1)[1], []))
    for s in found:
        for more, rows in s["examples"] or [([], [[], []])]:
            for row in rows[1:]:
                names = dict(zip(rows[0], row))

                def fill(text, names=names):
                    return re.sub(r"<(\w+)>", lambda m: names.get(m.group(1), m.group(0)), text)
                yield (s["name"], s["tags"] + more,
                       [(fill(step), [[fill(c) for c in r] for r in table])
                        for step, table in s["steps"]])


def typed(kind, text):
    if kind == "Boolean":
        return text.lower() == "true"
    if kind in ("Integer", "Float", "Long"):
        return float(text)
    return json.loads(text.replace("'", '"').replace('\\"', '"')) if kind == "Object" else text


class World:
    def __init__(self, node, environment):
        self.node, self.environment, self.context = node, environment, {}

    def evaluate(self):
        r = post(self.node, "/ofrep/v1/evaluate/flags/%s?environment=%s" % (
            self.name, self.environment), {"context": self.context})
        self.error, self.reason = r.get("errorCode"), r.get("reason", "ERROR")
        self.metadata = r.get("metadata", {})
        self.value = r.get("value", self.fallback)
        whole = self.kind == "Boolean" or not isinstance(self.value, bool)
        if "value" in r and not (isinstance(self.value, TYPES[self.kind]) and whole):
            self.error, self.reason, self.value = "TYPE_MISMATCH", "ERROR", self.fallback

    def step(self, text, table):
        """What is wrong, or None."""
        words = re.findall(r'"((?:[^"\\]|\\.)*)"', text)
        if m := re.match(r'an? (\w+)-flag with key "', text):
            self.kind, self.name = m.group(1), words[0]
            self.fallback = typed(self.kind, words[1])
        elif "a targeting key with value" in text:
            self.context["targetingKey"] = words[0]
        elif "nested property" in text:
            self.context.setdefault(words[0], {})[words[1]] = words[2]
        elif "a context containing a key" in text:
            self.context[words[0]] = typed(words[1], words[2])
        elif "was evaluated" in text:
            self.evaluate()
        elif "resolved details value should be" in text:
            want = typed(self.kind, words[0])
            return None if self.value == want else "%r, not %r" % (self.value, want)
        elif "reason should be" in text:
            return None if self.reason == words[0] else "%s, not %s" % (self.reason, words[0])
        elif "error-code should be" in text:
            same = (self.error or "") == words[0]
            return None if same else "%s, not %s" % (self.error, words[0])
        elif "metadata should contain" in text:
            for key, kind, value in table[1:]:
                if self.metadata.get(key) != typed(kind, value):
                    return "metadata %s" % key
        elif "metadata is empty" in text:
            return "metadata" if self.metadata else None
        elif text != "an evaluator":
            return "this step is not known: " + text
        return None


def testbed(node, folder):
    """With flagd's hash of before for the rows that are of that time."""
    for path in glob.glob(os.path.join(folder, "evaluator", "flags", "*.json")):
        with open(path, encoding="utf-8") as f:
            kit = json.load(f)
        for environment in ("now", "before"):
            put(node, "confman/flagset/" + environment,
                {"$evaluators": kit.get("$evaluators", {})})
            for name, flag in kit["flags"].items():
                old = {"bucketing": "flagd1"} if environment == "before" else {}
                put(node, "confman/flag/%s/%s" % (environment, name), dict(flag, **old))
    held = counted = 0
    for path in sorted(glob.glob(os.path.join(folder, "evaluator", "gherkin", "*.feature"))):
        with open(path, encoding="utf-8") as f:
            for name, tags, steps in scenarios(f.read()):
                world = World(node, "before" if "@fractional-v1" in tags else "now")
                wrong = next((w for w in (world.step(*s) for s in steps) if w), None)
                counted, held = counted + 1, held + (wrong is None)
                if wrong:
                    print("  flagd-testbed, %s, %s: %s" % (name, world.name, wrong))
    print("flagd-testbed: %d of %d scenarios" % (held, counted))
    return held


# ---- flagd-schemas: files that are flags, and files that are none ----

def takes(node, document):
    done = subprocess.run([confman_bin(), "flag", "import", "-", "--dry-run", "--endpoint",
                           node.endpoint], input=json.dumps(document), capture_output=True,
                          text=True, timeout=60)
    return done.returncode == 0


def schemas(node, folder):
    counts = {}
    for path in sorted(glob.glob(os.path.join(folder, "json", "test", "*", "*", "*.json"))):
        kind, sign = path.split(os.sep)[-3:-1]
        with open(path, encoding="utf-8") as f:
            document = json.load(f)
        if kind == "targeting":
            document.pop("$schema", None)
            document = {"$evaluators": {"some-ref": {"==": [1, 1]}},
                        "flags": {"f": {"state": "ENABLED", "variants": {"a": "A"},
                                        "targeting": document}}}
        same = takes(node, document) == (sign == "positive")
        held, counted = counts.get(sign, (0, 0))
        counts[sign] = held + same, counted + 1
        if not same:
            print("  flagd-schemas: %s is %s" % (os.path.relpath(path, folder),
                                                 "refused" if sign == "positive" else "taken"))
    for sign, what in (("positive", "taken"), ("negative", "refused")):
        print("flagd-schemas: %d of %d %s files are %s" % (*counts.get(sign, (0, 0)), sign, what))
    return counts.get("positive", (0, 0))[0]


def json_logic(_, folder):
    subprocess.run(["make", "-s", "MODE=asan", "build/asan/unit"], cwd=ROOT, check=True)
    done = subprocess.run(["build/asan/unit", "flag_rules_of_the_public_suite"], cwd=ROOT,
                          env=dict(os.environ, FLAG_SUITE=os.path.join(folder, "suites")),
                          capture_output=True, text=True)
    print(done.stdout.splitlines()[0] if done.stdout else done.stderr)
    return done.returncode == 0


def main():
    suite, failed = os.environ.get("FLAG_SUITE", ""), 0
    with Node(kind="confman") as node:
        for name, run in (("flagd-testbed", testbed), ("flagd-schemas", schemas),
                          ("json-logic", json_logic)):
            folder = os.path.join(suite, name)
            if suite and os.path.isdir(folder):
                failed += not run(node, folder)
            else:
                print("%s: skipped, FLAG_SUITE has no such folder" % name)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
