#!/usr/bin/env python3
"""Puts each bug of the table `mutants` into a copy of src/core/raft, and runs the simulator until
it finds it: mutants.py [--seeds N] [--markdown] [NAME...]. Prints how many seeds that took."""
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
RAFT = ROOT / 'src/core/raft'
FLAGS = ['-std=c11', '-D_GNU_SOURCE', '-O1', '-w']


def read_table():
    mutants, place = [], None
    for line in (HERE / 'mutants').read_text().splitlines():
        if line.startswith(('mutant ', 'hard ')): # hard: it may well not be found
            kind, name, what = line.split(' ', 2)
            mutants.append((name, what, [], kind == 'hard'))
        elif line.startswith('in '):
            place = (line[3:], [], [])
            mutants[-1][2].append(place)
        elif line.startswith('- '):
            if place[2]: # another change of the same file
                place = (place[0], [], [])
                mutants[-1][2].append(place)
            place[1].append(line[2:])
        elif line.startswith('+ '):
            place[2].append(line[2:])
    return mutants


def run(command):
    return subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)


def compile_to(folder, sources, includes):
    objects = []
    for source in sources:
        objects.append(str(folder / f'{source.parent.name}_{source.stem}.o'))
        done = run(['gcc', *FLAGS, *includes, '-c', '-o', objects[-1], str(source)])
        if done.returncode:
            raise SystemExit(done.stdout)
    return objects


def no_tests(folder):
    return sorted(p for p in folder.glob('*.c') if not re.search('_(test|fuzz)[.]c$', p.name))


def break_it(copy, places):
    for name, old, new in places:
        path = copy / 'core/raft' / name
        text = path.read_text()
        old, new = '\n'.join(old) + '\n', ''.join(line + '\n' for line in new)
        if ('\n' + text).count('\n' + old) != 1:
            return f'{name} has not exactly one place with:\n{old}'
        path.write_text(('\n' + text).replace('\n' + old, '\n' + new)[1:])
    return None


def try_one(work, common, mutant, seeds):
    """The seeds that it took, 0: not found; or a text: why it could not be tried."""
    name, _, places, _ = mutant
    copy = work / name
    shutil.copytree(RAFT, copy / 'core/raft')
    wrong = break_it(copy, places)
    if wrong:
        return wrong
    includes = [f'-I{copy}', '-Isrc']
    objects = compile_to(copy, no_tests(copy / 'core/raft'), includes)
    binary = str(copy / 'sim_raft')
    done = run(['gcc', '-o', binary, *common, *objects])
    if done.returncode:
        return done.stdout[-500:]
    done = run(['timeout', '600', binary, '--failures', '1', '--seeds', str(seeds)] +
               (['--lease'] if name.startswith('lease_') else []))
    if done.returncode == 0:
        return 0
    found = re.search(r'^seed (\d+):.*', done.stdout, re.M)
    reason = re.search(r'bug: expected (.*)|node \d+: (.*)', done.stdout)
    if not found:
        return done.stdout[-500:]
    return int(found[1]), (reason[1] or reason[2] if reason else found[0])[:90]


def main():
    arguments = sys.argv[1:]
    seeds = 2000
    if '--seeds' in arguments:
        at = arguments.index('--seeds')
        seeds = int(arguments[at + 1])
        del arguments[at:at + 2]
    markdown = '--markdown' in arguments
    names = [a for a in arguments if not a.startswith('--')]
    table = [m for m in read_table() if not names or m[0] in names]
    good = bad = 0
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        (work / 'common').mkdir()
        common = compile_to(work / 'common', no_tests(ROOT / 'src/base') + no_tests(HERE),
                            ['-Isrc'])
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            jobs = [pool.submit(try_one, work, common, m, seeds) for m in table]
            for (name, what, _, hard), job in zip(table, jobs):
                result = job.result()
                if isinstance(result, tuple):
                    good += 1
                    took, how = result
                    print(f'| {name} | {what} | {took} |' if markdown else
                          f'{name:26} found by seed {took}: {how}')
                else:
                    bad += not (hard and result == 0)
                    print(f'{name:26} NOT FOUND in {seeds} seeds' if result == 0 else
                          f'{name:26} NOT TRIED: {result}')
                sys.stdout.flush()
    print(f'{good} passed, {bad} failed')
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
