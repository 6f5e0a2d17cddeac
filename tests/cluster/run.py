"""Runs the tests of clusters, one after another, and adds up their sums:

    run.py [--target etcd] [--long] [--seconds S] [part...]     parts: see PARTS

--long: what `make soak` runs, S seconds of faults for 3 nodes and as many for 5.
"""
import argparse
import os
import re
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PART_SECONDS = 3600
SUM = re.compile(r"^(\d+) passed, (\d+) failed$", re.M)

# name: arguments of the short run, of the long ones; None: not run.
PARTS = {
    "history_test": ("", []),
    "chaos": ("--plan kill_leader,part_leader,kill_one --fault-seconds 3",
              ["--nodes 3 --seconds {s}", "--nodes 5 --seconds {s}"]),
    "rolling": ("--rounds 1", ["--rounds 5", "--nodes 5 --rounds 3"]),
    "wiped": ("--early", ["", "--early"]),
    "leaderless": ("", [""]),
    "json_door": (None, [""]),
    "library": (None, ["--rounds 5"]),
    "auth": ("", [""]),
    "push": ("--clients 300 --rate 40 --seconds 3 --kills 1",
             ["--seconds {s} --kills 20", "--storm"]),
    "corrupt": (None, [""]),
    "upgrade": (None, [""]),
    "failover": (None, ["--rounds 20", "--nodes 5 --rounds 20"]),
    "catchup": (None, [""]),
}


def run(part, arguments):
    """(passed, failed)"""
    began = time.monotonic()
    command = [sys.executable, os.path.join(HERE, part + ".py")] + arguments.split()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               errors="replace", start_new_session=True)
    try:
        output, _ = process.communicate(timeout=PART_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)      # its servers as well
        output = process.communicate()[0] + "\nit did not end"
    sums = SUM.findall(output)
    passed, failed = (int(n) for n in sums[-1]) if sums else (0, 1)
    if process.returncode and not failed:
        failed = 1
    if failed or part != "history_test":
        print(SUM.sub("", output).rstrip())
    print("%-12s %3d passed, %d failed in %.1f s" % (part, passed, failed,
                                                     time.monotonic() - began), flush=True)
    return passed, failed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--target")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS])
    options = parser.parse_args()
    if options.target:
        os.environ["CONFMAN_TARGET"] = options.target
    sums = []
    for part, (short, long) in PARTS.items():
        if options.parts and part not in options.parts:
            continue
        runs = long if options.long else [] if short is None else [short]
        sums += [run(part, arguments.format(s=options.seconds)) for arguments in runs]
    passed, failed = (sum(n) for n in zip(*sums)) if sums else (0, 0)
    print("%d passed, %d failed" % (passed, failed))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
