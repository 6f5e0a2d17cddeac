#!/usr/bin/env python3
"""The files of the page as a C table, each as it is and compressed: embed.py FOLDER OUT.h"""
import gzip
import hashlib
import os
import sys

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def array(name, data):
    lines = ["static const uint8_t %s[] = {" % name]
    for i in range(0, len(data), 24):
        lines.append("    " + ",".join(str(b) for b in data[i:i + 24]) + ",")
    return lines + ["};"]


def main():
    folder, out = sys.argv[1:]
    lines, rows = ["/* page_files: made from web/ by tools/embed.py. */", "#pragma once"], []
    for i, name in enumerate(sorted(os.listdir(folder))):
        kind = TYPES[os.path.splitext(name)[1]]    # another kind of file has no business there
        with open(os.path.join(folder, name), "rb") as f:
            plain = f.read()
        lines += array("plain_%d" % i, plain)
        lines += array("gzip_%d" % i, gzip.compress(plain, 9, mtime=0))
        tag = hashlib.sha256(plain).hexdigest()[:16]
        rows.append('    { "%s", "%s", "W/\\"%s\\"", plain_%d, gzip_%d, sizeof(plain_%d), '
                    "sizeof(gzip_%d) }," % (name, kind, tag, i, i, i, i))
    lines += ["static const struct page_file files[] = {"] + rows + ["};", ""]
    os.makedirs(os.path.dirname(out), exist_ok=True)
    with open(out + ".new", "w", encoding="ascii") as f:
        f.write("\n".join(lines))
    os.rename(out + ".new", out)


if __name__ == "__main__":
    main()
