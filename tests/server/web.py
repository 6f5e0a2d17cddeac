"""curl for tests: one request, one answer."""
import json
import os
import subprocess
import tempfile


class Answer:
    def __init__(self, status, version, headers, body):
        self.status, self.version, self.headers, self.body = status, version, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return "HTTP/%s %d %s %r" % (self.version, self.status, self.headers, self.body[:300])


def curl(url, *args, body=None, seconds=20, partial=False):
    """The Answer; raises CalledProcessError when there is none. partial: it may be cut off by
    curl's own time."""
    with tempfile.TemporaryDirectory() as folder:
        heads, out = os.path.join(folder, "heads"), os.path.join(folder, "out")
        command = ["curl", "-sS", "--globoff", "--noproxy", "*", "-m", str(seconds),
                   "-D", heads, "-o", out, "-w", "%{http_code} %{http_version}", *args, url]
        if body is not None:
            command += ["-H", "Expect:", "--data-binary", "@-"]
        done = subprocess.run(command, input=body, capture_output=True, check=False)
        if done.returncode and not (partial and done.returncode == 28):
            raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
        status, version = done.stdout.decode().split()
        with open(heads, encoding="latin-1") as f:
            last = f.read().strip().split("\n\n")[-1].splitlines()[1:]
        content = b""
        if os.path.exists(out):
            with open(out, "rb") as f:
                content = f.read()
    headers = {}
    for line in last:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return Answer(int(status), version, headers, content)
