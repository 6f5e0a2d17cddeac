"""The pages for users say what is there: their commands are typed, their names are looked up.

Blocks of docs/*.md and README.md that begin with one of these are run by bash, those of one page in
their order, in an empty folder, against a server of that page's own with nothing in it:

    ```sh            every command has to end with status 0; curl's with an answer below 400
    ```sh refused    the last command has to end with another status
    ```sh streams    has to print something, and is interrupted then

Other blocks are not run. Whatever stands there, the words and options of a `confman ...`,
parameters, metrics, paths and links have to be ones that there are.
"""
import os
import re
import shlex
import signal
import subprocess
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor

from node import Node, ROOT, confman_bin, main, target

DOCS = os.path.join(ROOT, "docs")
# What a page says of the server, beyond what `make run` starts.
SERVERS = {
    "start.md": ["--seal-key-file", "seal.key"],
    "secrets.md": ["--seal-key-file", "seal.key"],
    "history.md": ["--audit-log", "audit.log", "--seal-key-file", "seal.key"],
    "operations.md": ["--audit-log", "audit.log"],
    "schemas.md": ["--seal-key-file", "seal.key"],
}
BLOCK_SECONDS = 30
FENCE = re.compile(r"^```(.*?)\n(.*?)^```$", re.M | re.S)
HEAD = """set -e -o pipefail
curl() { command curl -sS --fail-with-body "$@"; }
"""


def pages():
    found = [os.path.join(ROOT, "README.md")]
    for folder, _, names in os.walk(DOCS):
        found += [os.path.join(folder, n) for n in sorted(names) if n.endswith(".md")]
    return found


def text_of(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def generated(what):
    return subprocess.run([confman_bin(), "docs", what], check=True, text=True,
                          capture_output=True).stdout


def commands(text):
    """Each `confman ...` that somebody could type: of blocks, and of `...` in a line."""
    blocks = [b for _, b in FENCE.findall(text)]
    rest = FENCE.sub("", text)
    blocks += re.findall(r"(?:^    .*\n)+", rest, re.M)
    lines = []
    for block in blocks:
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            lines.append(line.strip())
    lines += re.findall(r"`(confman [^`]+)`", rest.replace("\n", " "))
    for line in lines:
        for part in re.split(r"&&|\|\|?|;\s| -- ", line):
            part = re.sub(r"^(?:\$ |sudo |[A-Z_]+=\S+ )*", "", part.strip())
            if re.match(r"(?:\./)?confman\s", part):
                yield part


@unittest.skipIf(target() != "confman", "confman's own pages")
class Names(unittest.TestCase):
    """What the pages name is there."""

    def test_commands(self):
        known = {}
        for section in generated("cli").split("\n## confman ")[1:]:
            words = section.split()
            known[words[0]] = (section.splitlines()[0],
                               set(re.findall(r"^- `--([a-z-]+)", section, re.M)))
        server = set(re.findall(r"^\| `--([a-z0-9-]+)`", generated("parameters"), re.M))
        both = {"snapshot", "import"}  # what works on files takes the server's parameters too
        bad = []
        for path in pages():
            for line in commands(text_of(path)):
                try:
                    words = shlex.split(line, comments=True)[1:]
                except ValueError:
                    continue  # a quote goes on in the next line
                if not words or words[0] in ("help", "version", "COMMAND", "docs"):
                    continue
                verb = words[0]
                place = "%s: %s" % (os.path.relpath(path, ROOT), line)
                if verb in ("server", "etcd"):
                    options = server | {"help", "config-file"}
                elif verb not in known and not verb.startswith("-"):
                    bad.append(place)
                    continue
                else:
                    usage, options = known.get(verb, ("", set()))
                    if verb in both:
                        options = options | server
                    sub = words[1] if len(words) > 1 else ""
                    if re.match(r"%s [a-z-]+[ |]" % verb, usage + " ") and "|" in usage and \
                            re.fullmatch("[a-z-]+", sub) and not sub.startswith("-") and \
                            not re.search(r"[ |]%s(?![a-z-])" % sub, usage):
                        bad.append(place)
                if verb == "etcd":
                    continue
                for word in words[1:]:
                    if word.startswith("--") and len(word) > 2:
                        if word[2:].split("=")[0] not in options | {"help", "..."}:
                            bad.append("%s: %s" % (place, word))
        self.assertEqual(bad, [])

    def test_parameters_metrics_and_codes(self):
        metrics = set(re.findall(r"`(confman_[a-z0-9_]+)", generated("metrics")))
        params = set(re.findall(r"^\| `--([a-z0-9-]+)`", generated("parameters"), re.M))
        params |= set(re.findall(r"^- `--([a-z0-9-]+)", generated("cli"), re.M))
        params |= set(re.findall(r"`--([a-z0-9-]+)`", generated("etcd-flags")))
        params |= set(re.findall(r"^  --([a-z-]+)",
                                 text_of(os.path.join(ROOT, "contrib/rolling-upgrade")), re.M))
        bad = []
        for path in pages():
            if os.path.basename(path) in ("testing.md", "performance.md", "invariants.md"):
                continue
            text = text_of(path)
            for name in re.findall(r"`(confman_[a-z0-9_]+)(?:\{[^`]*)?`", text):
                if name not in metrics and not re.search(
                        r"\b%s\(|\b%s\b" % (name, name),
                        text_of(os.path.join(ROOT, "src/confman/confman.h"))):
                    bad.append("%s: the metric %s" % (os.path.relpath(path, ROOT), name))
            for name in re.findall(r"`--([a-z][a-z0-9-]*[a-z0-9])[ =`]", text):
                if name not in params and "run.md" not in path:
                    bad.append("%s: the parameter --%s" % (os.path.relpath(path, ROOT), name))
        self.assertEqual(bad, [])

    def test_paths(self):
        rest = generated("rest")
        routes = []
        for path in re.findall(r"^\| [A-Z, ]+ \| `([^`]+)`", rest, re.M):
            path = re.sub(r"\\\{(key|path|prefix)\\\}", ".+", re.escape(path))
            routes.append(re.compile(re.sub(r"\\\{[a-z]+\\\}", "[^/]+", path)))
        bad = []
        for path in pages():
            if "/formats/" in path:
                continue
            text = text_of(path)
            for found in re.findall(r"(?:localhost|127\.0\.0\.1):2379(/[^\s'\"`>]*)", text):
                wanted = found.split("?")[0].rstrip("\\").rstrip("/")
                if re.match("/v1/|/ofrep/", wanted) and \
                        not any(r.fullmatch(wanted) for r in routes):
                    bad.append("%s: %s" % (os.path.relpath(path, ROOT), found))
        self.assertEqual(bad, [])

    def test_links(self):
        def anchors(path):
            heads = re.findall(r"^#+ (.*)$", FENCE.sub("", text_of(path)), re.M)
            return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in heads}

        bad = []
        for path in pages() + [os.path.join(ROOT, n) for n in ("ARCHITECTURE.md", "HACKING.md")]:
            for link in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", text_of(path))):
                if re.match("https?:|mailto:", link):
                    continue
                file, _, anchor = link.partition("#")
                to = os.path.normpath(os.path.join(os.path.dirname(path), file)) if file else path
                if not os.path.exists(to) or (anchor and to.endswith(".md") and
                                              anchor not in anchors(to)):
                    bad.append("%s: %s" % (os.path.relpath(path, ROOT), link))
        self.assertEqual(bad, [])

    def test_every_page_is_found(self):
        """From README.md or another page."""
        links = set()
        for path in pages():
            for link in re.findall(r"\]\(([^)\s#]+)", text_of(path)):
                links.add(os.path.normpath(os.path.join(os.path.dirname(path), link)))
        folders = {link for link in links if os.path.isdir(link)}
        lost = [os.path.relpath(p, ROOT) for p in pages()[1:]
                if p not in links and os.path.dirname(p) not in folders]
        self.assertEqual(lost, [])


class Page:
    """Types what a page says."""

    def __init__(self, path):
        self.name = os.path.basename(path)
        self.blocks = [(mark.split(), body) for mark, body in FENCE.findall(text_of(path))
                       if mark.split()[:1] == ["sh"]]
        self.wrong = []

    def run(self):
        if not self.blocks:
            return self
        with tempfile.TemporaryDirectory(prefix="confman-docs-") as folder:
            with open(os.path.join(folder, "seal.key"), "wb") as f:
                os.fchmod(f.fileno(), 0o600)
                f.write(os.urandom(32))
            args = [os.path.join(folder, a) if a.endswith((".key", ".log")) else a
                    for a in SERVERS.get(self.name, [])]
            with Node(args=args) as node:
                self.type_all(node, folder)
        return self

    def type_all(self, node, folder):
        tools = os.path.join(folder, "bin")
        os.mkdir(tools)
        os.symlink(confman_bin(), os.path.join(tools, "confman"))
        os.symlink(confman_bin(), os.path.join(folder, "confman"))
        env = dict(os.environ, PATH=tools + ":" + os.environ["PATH"], HOME=folder,
                   CONFMAN_ENDPOINT=node.endpoint, ETCDCTL_API="3",
                   ETCDCTL_ENDPOINTS=node.endpoint)
        for mark, body in self.blocks:
            script = HEAD + re.sub(r"(localhost|127\.0\.0\.1):2379", node.endpoint, body)
            try:
                self.type(mark[1:], script, env, folder)
            except AssertionError as e:
                self.wrong.append("%s:\n%s%s" % (self.name, body, e))
                return

    def type(self, mark, script, env, folder):
        process = subprocess.Popen(["bash", "-c", script], env=env, cwd=folder, text=True,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, start_new_session=True)
        if mark == ["streams"]:
            line = process.stdout.readline()
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            assert line, "it printed nothing"
            return
        try:
            output, _ = process.communicate(timeout=BLOCK_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise AssertionError("it did not end; %s" % process.communicate()[0]) from None
        refused = mark == ["refused"]
        assert (process.returncode != 0) == refused, "status %d: %s" % (process.returncode, output)
        if os.environ.get("DOCS_SHOW"):
            print("$ %s\n%s" % (script[len(HEAD):], output))


@unittest.skipIf(target() != "confman", "confman's own pages")
class Commands(unittest.TestCase):
    def test_type_them(self):
        only = os.environ.get("DOCS_ONLY")
        todo = [Page(p) for p in pages() if not only or os.path.basename(p) == only]
        with ThreadPoolExecutor(4) as pool:
            done = list(pool.map(Page.run, todo))
        self.assertEqual([w for page in done for w in page.wrong], [])


if __name__ == "__main__":
    main()
