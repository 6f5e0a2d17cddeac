"""Runs the black-box suite, its parts side by side, and adds up their sums:

    run.py [--target etcd] [part...]       parts: see PARTS; CONFMAN_BIN names another binary
"""
import concurrent.futures
import os
import re
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PARTS = ("door", "hostile", "full", "etcdctl", "npm", "rest", "gateway", "python", "stream",
         "tls", "http", "cli", "snapshot", "moving", "maintenance", "lock", "reflection",
         "limits", "ui", "etcd_start", "login", "auth", "secret", "vault", "marker", "seal", "flag",
         "flag_import", "flagd", "schema", "access", "oidc", "history", "draft", "audit", "import",
         "push", "client", "run", "docs")
PART_SECONDS = 400
SUM = re.compile(r"^(\d+) passed, (\d+) failed$", re.M)


def run(part):
    """(part, passed, failed, seconds, output)"""
    started = time.monotonic()
    try:
        done = subprocess.run([sys.executable, os.path.join(HERE, part + "_test.py")],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=PART_SECONDS)
        output, code = done.stdout.decode("utf-8", "replace"), done.returncode
    except subprocess.TimeoutExpired as e:
        output, code = (e.stdout or b"").decode("utf-8", "replace") + "\nit did not end", 1
    sums = SUM.findall(output)
    passed, failed = (int(n) for n in sums[-1]) if sums else (0, 1)
    if code and not failed:
        failed = 1
    return part, passed, failed, time.monotonic() - started, output


def main():
    arguments = sys.argv[1:]
    if arguments[:1] == ["--target"]:
        os.environ["CONFMAN_TARGET"] = arguments[1]
        arguments = arguments[2:]
    unknown = [a for a in arguments if a not in PARTS]
    if unknown:
        sys.exit("no part %s; there are: %s" % (", ".join(unknown), " ".join(PARTS)))
    parts = [p for p in PARTS if p in arguments or not arguments]
    all_passed = all_failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for part, passed, failed, seconds, output in pool.map(run, parts):
            if failed:
                print(SUM.sub("", output).rstrip())
            print("%-10s %3d passed, %d failed in %.1f s" % (part, passed, failed, seconds),
                  flush=True)
            all_passed, all_failed = all_passed + passed, all_failed + failed
    print("%d passed, %d failed" % (all_passed, all_failed))
    sys.exit(1 if all_failed else 0)


if __name__ == "__main__":
    main()
