"""What is included and imported comes from the packages that tools/deps.sh installs: prints what
does not. A package that one of those asks for directly counts as named. Only where there is dpkg.
"""
import importlib.util
import os
import re
import shutil
import subprocess
import sys

INCLUDE = ("/usr/include", "/usr/include/x86_64-linux-gnu")


def lines(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.splitlines()


def texts(ending, *folders):
    for folder in folders:
        for at, _, names in os.walk(folder):
            for name in names:
                if name.endswith(ending) and "node_modules" not in at:
                    path = os.path.join(at, name)
                    with open(path, encoding="utf-8") as f:
                        yield path, f.read()


def headers():
    """{file of the system's: who includes it}"""
    found = {}
    for path, text in texts((".c", ".h"), "src", "tests"):
        for name in re.findall(r"^#\s*include <([^>]+)>", text, re.M):
            for folder in INCLUDE:
                if os.path.exists(os.path.join(folder, name)):
                    found.setdefault(os.path.realpath(os.path.join(folder, name)), path)
    return found


def modules():
    found, ours = {}, set()
    scripts = list(texts(".py", "tests", "tools"))
    for path, _ in scripts:
        ours.add(os.path.basename(path)[:-3])
        ours.update(os.path.relpath(path).split(os.sep)[:-1])
    for path, text in scripts:
        for name in re.findall(r"^\s*(?:import|from) ([a-zA-Z0-9_]+)", text, re.M):
            if name in sys.stdlib_module_names or name in ours:
                continue
            spec = importlib.util.find_spec(name)
            if spec:
                found.setdefault(spec.origin or list(spec.submodule_search_locations)[0], path)
    return found


def named():
    """The packages of deps.sh, and what each of them asks for by itself."""
    with open("tools/deps.sh", encoding="utf-8") as f:
        words = set(re.findall(r"[a-z0-9][a-z0-9+.-]+", " ".join(
            re.findall(r'^(?:build|test|suites)="([^"]*)"', f.read(), re.M))))
    asked = set()
    for line in lines("dpkg-query", "-W", "-f=${Depends}\n", *sorted(words)):
        asked.update(re.findall(r"(?:^|[,|] )([a-z0-9][a-z0-9+.-]+)", line))
    for line in lines("dpkg-query", "-W", "-f=${Depends}\n", "gcc-12"):
        asked.update(re.findall(r"(?:^|[,|] )([a-z0-9][a-z0-9+.-]+)", line))
    return words | asked


def main():
    if not shutil.which("dpkg"):
        print("0 passed, 0 failed")
        return
    bad = 0
    wanted = {**headers(), **modules()}
    packages = named()
    for line in lines("dpkg", "-S", *sorted(wanted)):
        package, _, file = line.partition(": ")
        package = package.split(":")[0]
        if package not in packages and file in wanted:
            bad += 1
            print("%s uses %s of the package %s, which tools/deps.sh does not name" %
                  (wanted[file], file, package))
    print("%d passed, %d failed" % (len(wanted) - bad, bad))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
