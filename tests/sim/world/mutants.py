#!/usr/bin/env python3
"""Puts each bug of the table `mutants` into a copy of its source file, and runs the simulator until
it finds it: mutants.py [--seeds N] [--markdown] [NAME...]. Prints how many seeds that took."""
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
OUT = pathlib.Path(os.environ.get('O', 'build/release'))


def read_table():
    mutants, place = [], None
    for line in (HERE / 'mutants').read_text().splitlines():
        if line.startswith('mutant '):
            _, name, what = line.split(' ', 2)
            mutants.append((name, what, []))
        elif line.startswith('in '):
            place = (line[3:], [], [])
            mutants[-1][2].append(place)
        elif line.startswith('- '):
            place[1].append(line[2:])
        elif line.startswith('+ '):
            place[2].append(line[2:])
    return mutants


def run(*command, **more):
    return subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False, **more)


def link_line():
    """How make links the simulator: the words of its command."""
    done = run('make', f'-j{os.cpu_count()}', '--no-print-directory', 'MODE=release', f'O={OUT}',
               f'{OUT}/sim_world')
    if done.returncode:
        raise SystemExit(done.stdout)
    done = run('make', '-n', '-W', 'src/base/alloc.c', '--no-print-directory', 'MODE=release',
               f'O={OUT}', f'{OUT}/sim_world')
    return [line for line in done.stdout.splitlines() if f'-o {OUT}/sim_world' in line][-1].split()


def break_it(texts, places):
    for name, old, new in places:
        text = '\n' + texts.setdefault(name, (ROOT / 'src' / name).read_text())
        old, new = '\n'.join(old) + '\n', ''.join(line + '\n' for line in new)
        if text.count('\n' + old) != 1:
            return f'{name} has not exactly one place with:\n{old}'
        texts[name] = text.replace('\n' + old, '\n' + new)[1:]
    return None


def try_one(work, link, mutant, seeds):
    """(seeds that it took, what was seen), 0: not found; or a text: why it could not be tried."""
    name, _, places = mutant
    texts, words = {}, list(link)
    wrong = break_it(texts, places)
    if wrong:
        return wrong
    for path, text in texts.items():
        source = work / f'{name}_{path.replace("/", "_")}'
        source.write_text(text)
        made = str(source)[:-2] + '.o'
        done = run('gcc', '-std=c11', '-D_GNU_SOURCE', '-O1', '-w', '-Isrc', f'-I{OUT}/gen', '-c',
                   '-o', made, str(source))
        if done.returncode:
            return done.stdout
        words[words.index(f'{OUT}/src/{path[:-2]}.o')] = made
    binary = str(work / name)
    words[words.index('-o') + 1] = binary
    done = run(*[w for w in words if not w.startswith('-M')])
    if done.returncode:
        return done.stdout[-500:]
    done = run('timeout', '900', binary, '--seeds', str(seeds))
    if done.returncode == 0:
        return 0
    found = re.search(r'of seed (\d+):', done.stdout)
    reason = re.search(r'bug: expected (.*)|VIOLATED: (.*)', done.stdout)
    if not found:
        return f'ended with {done.returncode}: {done.stdout[-500:]}'
    return int(found[1]), (reason[1] or reason[2] if reason else '')[:100]


def main():
    arguments = sys.argv[1:]
    seeds = 500
    if '--seeds' in arguments:
        at = arguments.index('--seeds')
        seeds = int(arguments[at + 1])
        del arguments[at:at + 2]
    markdown = '--markdown' in arguments
    names = [a for a in arguments if not a.startswith('--')]
    table = [m for m in read_table() if not names or m[0] in names]
    good = bad = 0
    link = link_line()
    with tempfile.TemporaryDirectory() as folder:
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            jobs = [pool.submit(try_one, pathlib.Path(folder), link, m, seeds) for m in table]
            for (name, what, _), job in zip(table, jobs):
                result = job.result()
                if isinstance(result, tuple):
                    good += 1
                    print(f'| {name} | {what} | {result[0]} |' if markdown else
                          f'{name:22} found by seed {result[0]}: {result[1]}')
                else:
                    bad += 1
                    print(f'{name:22} NOT FOUND in {seeds} seeds' if result == 0 else
                          f'{name:22} NOT TRIED: {result}')
                sys.stdout.flush()
    print(f'{good} passed, {bad} failed')
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
