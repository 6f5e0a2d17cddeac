#!/usr/bin/env python3
"""Makes C from a .proto text: structs, decoders, encoders, shapes, descriptors, a table of methods.

usage: protogen.py FILE.proto OUTDIR     writes OUTDIR/FILE_pb.h, FILE_pb.c and FILE_methods.def

Knows the part of proto3 that proto/*.proto use: scalars, bytes, strings, messages, repeated,
optional, maps, oneof, enum, services.
What the C looks like is told in src/wire/protobuf/protobuf.h.
"""

import os
import re
import sys

SCALARS = {
    "int64": "int64_t",
    "uint64": "uint64_t",
    "int32": "int32_t",
    "uint32": "uint32_t",
    "bool": "bool",
    "double": "double",
}
TEXTS = ("bytes", "string")


def snake(name):
    name = name.replace(".", "_")
    name = re.sub(r"([A-Z]+)([A-Z][a-z][a-z])", r"\1_\2", name)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()


class Field:
    def __init__(self, kind, name, number, label, oneof):
        self.kind, self.name, self.number = kind, snake(name), int(number)
        self.label = name  # as the text has it
        self.repeated, self.optional = label == "repeated", label == "optional"
        self.oneof, self.enum = oneof, None

    def resolve(self, message, enums):
        """Once all names are known: an enum of the message, one of the whole text, or a message."""
        for name in (f"{message}.{self.kind}", self.kind):
            if name in enums:
                self.kind, self.enum = "int32", name
        self.message = self.kind not in SCALARS and self.kind not in TEXTS
        self.wire = 2 if self.message or self.kind in TEXTS else 1 if self.kind == "double" else 0
        self.tag = self.number << 3 | self.wire
        self.has = self.optional and not self.message  # a message has its pointer
        if self.repeated and self.kind == "double":
            sys.exit(f"protogen: {message}.{self.name}: no list of doubles is known")

    def c_type(self):
        return (
            f"struct pb_{snake(self.kind)}"
            if self.message
            else SCALARS.get(self.kind, "struct span")
        )


CALLED = {}  # names that are others on the wire


def called(name):
    return CALLED.get(name, name)


def parse(text):
    """Also packages: of each message, top enum and service, the one that stands on the wire."""
    messages, enums, methods, packages, wire, renamed = {}, {}, [], {}, "", ""
    prefix = ""
    current = message = oneof = service = enum = None
    for line in text.splitlines():
        if mark := re.match(r"// wire: (\S+)( \S+)?", line):
            wire, renamed = mark.group(1), (mark.group(2) or "").strip()
            prefix, renamed = (renamed[:-1], "") if renamed.endswith("*") else ("", renamed)
        line = line.split("//")[0].strip()
        if m := re.match(r"message (\w+) \{", line):
            message = m.group(1)
            packages[message] = wire
            CALLED[message] = message.removeprefix(prefix)
            current = messages.setdefault(message, [])
        elif m := re.match(r"oneof (\w+) \{", line):
            oneof = m.group(1)
        elif m := re.match(r"enum (\w+) \{", line):
            scope = f"{message}." if current is not None else ""
            packages.setdefault(scope + m.group(1), wire)
            enum = enums.setdefault(scope + m.group(1), [])
        elif m := re.match(r"service (\w+) \{", line):
            service = f"{wire}.{renamed or m.group(1).removeprefix(prefix)}"
            packages[service] = wire
        elif m := re.match(r"rpc (\w+)\((stream )?(\w+)\) returns \((stream )?(\w+)\);", line):
            methods.append(
                (service, m.group(1), m.group(3), m.group(5), bool(m.group(2)), bool(m.group(4)))
            )
        elif enum is not None and (m := re.match(r"(\w+) = (\d+);", line)):
            enum.append((m.group(1), m.group(2)))
        elif current is not None and (m := re.match(r"map<string, (\w+)> (\w+) = (\d+);", line)):
            entry = f"{message}.{m.group(2).title().replace('_', '')}Entry"
            packages[entry] = wire
            messages[entry] = [
                Field("string", "key", 1, "", None),
                Field(m.group(1), "value", 2, "", None),
            ]
            current.append(Field(entry, m.group(2), m.group(3), "repeated", oneof))
        elif current is not None and (
            m := re.match(r"(repeated |optional |)(\w+) (\w+) = (\d+);", line)
        ):
            label = m.group(1).strip()
            current.append(Field(m.group(2), m.group(3), m.group(4), label, oneof))
        elif line == "}":
            if oneof:
                oneof = None
            elif enum is not None:
                enum = None
            else:
                current = service = None
        elif line and not re.match(r"(syntax|package) ", line):
            sys.exit(f"protogen: cannot read: {line}")
    for name, fields in messages.items():
        for f in fields:
            f.resolve(name, enums)
        fields.sort(key=lambda f: f.number)
    return messages, enums, methods, packages


def header(messages, enums, stem, shapes):
    out = [
        f"/* {stem}_pb: made by tools/protogen.py from proto/{stem}.proto. */",
        "#pragma once",
        '#include "wire/protobuf/protobuf.h"',
        "",
    ]
    for name, values in enums.items():
        scope = "".join(snake(part) + "_" for part in name.split(".")[:-1])  # the message's
        out += [f"enum pb_{scope}{snake(name.split('.')[-1])} {{"]
        out += [f"    PB_{scope.upper()}{n} = {v}," for n, v in values] + ["};"]
    out += [f"struct pb_{snake(n)};" for n in messages] + [""]
    out += [f"extern const struct pb_file {stem}_pb_files[];", ""]
    for name, fields in messages.items():
        out.append(f"struct pb_{snake(name)} {{")
        for oneof in dict.fromkeys(f.oneof for f in fields if f.oneof):
            out.append(
                f"    uint32_t which_{snake(oneof)}; /* number of the field that is set; 0: none */"
            )
        for f in fields:
            if f.has:
                out.append(f"    bool has_{f.name};")
            if f.repeated:
                out.append(f"    {f.c_type()} *{f.name};")
                out.append(f"    size_t n_{f.name};")
            else:
                out.append(f'    {f.c_type()} {"*" if f.message else ""}{f.name}; /* {f.number} */')
        if not fields:
            out.append("    char nothing;")
        s = snake(name)
        out += [
            "};",
            f"enum err pb_{s}_decode(struct span in, struct arena *arena, struct pb_{s} *out)",
            "    MUST_CHECK;",
            f"size_t pb_{s}_size(const struct pb_{s} *m);",
            f"/* p must have room for pb_{s}_size bytes */",
            f"uint8_t *pb_{s}_put(uint8_t *p, const struct pb_{s} *m);",
            f"void pb_{s}_encode(const struct pb_{s} *m, struct buf *out);",
            *([f"extern const struct pb_shape pb_{s}_shape;"] if shapes else []),
            "",
        ]
    return "\n".join(out) + "\n"


def decode_field(f, out):
    out.append(f"        case {f.tag}: /* {f.name} */")
    which = [f"            out->which_{snake(f.oneof)} = {f.number};"] if f.oneof else []
    which += [f"            out->has_{f.name} = true;"] if f.has else []
    bad = "return ERR_MESSAGE_MALFORMED;"
    if f.kind == "string":
        out += ["            if (!pb_utf8(f.bytes))", f"                {bad}"]
    if f.repeated and (f.message or f.kind in TEXTS):
        out += [
            f"            if (!out->{f.name})",
            f"                out->{f.name} = ARENA_ARRAY(arena, {f.c_type()},",
            "                    1 + pb_count(in, f.tag));",
        ]
        if f.message:
            out += [
                f"            if (merge_{snake(f.kind)}(f.bytes, arena, depth + 1,",
                f"                    &out->{f.name}[out->n_{f.name}++]) != ERR_OK)",
                f"                {bad}",
            ]
        else:
            out += [f"            out->{f.name}[out->n_{f.name}++] = f.bytes;"]
    elif f.message:
        out += [
            f"            if (!out->{f.name})",
            f"                out->{f.name} = ARENA_NEW(arena, {f.c_type()});",
            f"            if (merge_{snake(f.kind)}(f.bytes, arena, depth + 1,",
            f"                    out->{f.name}) != ERR_OK)",
            f"                {bad}",
        ]
    elif f.repeated:
        room = f"room_{f.name}"
        out += [
            f"        case {f.number << 3 | 2}: /* packed */",
            f"            if (!out->{f.name}) /* one byte at least each */",
            f"                out->{f.name} = ARENA_ARRAY(arena, {f.c_type()},",
            "                    1 + in.len + f.bytes.len);",
            f"            if (f.tag == {f.tag})",
            f"                out->{f.name}[out->n_{f.name}++] = ({f.c_type()})f.number;",
            "            while (f.bytes.len) {",
            "                uint64_t v;",
            "                if (!span_varint(&f.bytes, &v))",
            f"                    {bad}",
            f"                out->{f.name}[out->n_{f.name}++] = ({f.c_type()})v;",
            "            }",
        ]
    elif f.kind in TEXTS:
        out.append(f"            out->{f.name} = f.bytes;")
    elif f.kind == "bool":
        out.append(f"            out->{f.name} = f.number != 0;")
    elif f.kind == "double":
        out.append(f"            out->{f.name} = pb_double(f.number);")
    else:
        out.append(f"            out->{f.name} = ({f.c_type()})f.number;")
    out += which + ["            break;"]


def decoder(name, fields):
    s = snake(name)
    out = [
        f"static enum err merge_{s}(struct span in, struct arena *arena, int depth,",
        f"    struct pb_{s} *out)",
        "{",
        "    if (depth > PB_DEPTH_MAX)",
        "        return ERR_MESSAGE_MALFORMED;",
        "    while (in.len) {",
        "        struct pb_field f;",
        "        if (!pb_next(&in, &f))",
        "            return ERR_MESSAGE_MALFORMED;",
    ]
    if fields:
        out.append("        switch (f.tag) {")
        for f in fields:
            decode_field(f, out)
        out += ["        default:"]
        numbers = " || ".join(f"f.tag >> 3 == {f.number}" for f in fields)
        out += [
            f"            if ({numbers})",
            "                return ERR_MESSAGE_MALFORMED; /* another wire type */",
            "            break;",
            "        }",
        ]
    else:
        out.append("        (void)out;")
    out += [
        "    }",
        "    (void)arena;",
        "    return ERR_OK;",
        "}",
        "",
        f"enum err pb_{s}_decode(struct span in, struct arena *arena, struct pb_{s} *out)",
        "{",
        "    memset(out, 0, sizeof(*out));",
        f"    return merge_{s}(in, arena, 0, out);",
        "}",
        "",
    ]
    return out


def is_set(f):
    if f.oneof:
        return f"m->which_{snake(f.oneof)} == {f.number}"
    if f.has:
        return f"m->has_{f.name}"
    if f.kind == "double":
        return f"pb_double_bits(m->{f.name})"
    return f"m->{f.name}.len" if f.kind in TEXTS else f"m->{f.name}"


def value_of(f, item):
    return f"(uint64_t)(int64_t){item}" if f.kind in ("int32", "int64") else f"(uint64_t){item}"


def size_line(f, item, pad):
    if f.message:
        return f"{pad}n += pb_bytes_size({f.tag}, pb_{snake(f.kind)}_size({item}));"
    if f.kind in TEXTS:
        return f"{pad}n += pb_bytes_size({f.tag}, {item}.len);"
    if f.kind == "double":
        return f"{pad}n += pb_varint_size({f.tag}) + sizeof(uint64_t);"
    return f"{pad}n += pb_varint_size({f.tag}) + pb_varint_size({value_of(f, item)});"


def put_lines(f, item, pad):
    if f.message:
        s = snake(f.kind)
        return [
            f"{pad}p = pb_put_varint(p, {f.tag});",
            f"{pad}p = pb_put_varint(p, pb_{s}_size({item}));",
            f"{pad}p = pb_{s}_put(p, {item});",
        ]
    if f.kind in TEXTS:
        return [f"{pad}p = pb_put_bytes(p, {f.tag}, {item});"]
    if f.kind == "double":
        return [f"{pad}p = pb_put_double(p, {f.tag}, {item});"]
    return [
        f"{pad}p = pb_put_varint(p, {f.tag});",
        f"{pad}p = pb_put_varint(p, {value_of(f, item)});",
    ]


def each(f, one):
    """The lines for one field, one(item, pad) giving those of a single value."""
    if f.repeated:
        item = f'{"&" if f.message else ""}m->{f.name}[i]'
        return (
            [f"    for (size_t i = 0; i < m->n_{f.name}; i++) {{"]
            + one(item, "        ")
            + ["    }"]
        )
    guard = is_set(f) + (f" && m->{f.name}" if f.message and f.oneof else "")
    return [f"    if ({guard}) {{"] + one(f"m->{f.name}", "        ") + ["    }"]


def packed(f, put):
    """Repeated numbers go as one field of bytes."""
    out = [
        f"    if (m->n_{f.name}) {{",
        "        size_t len = 0;",
        f"        for (size_t i = 0; i < m->n_{f.name}; i++)",
        f'            len += pb_varint_size({value_of(f, f"m->{f.name}[i]")});',
    ]
    if put:
        out += [
            f"        p = pb_put_varint(pb_put_varint(p, {f.number << 3 | 2}), len);",
            f"        for (size_t i = 0; i < m->n_{f.name}; i++)",
            f'            p = pb_put_varint(p, {value_of(f, f"m->{f.name}[i]")});',
        ]
    else:
        out.append(f"        n += pb_bytes_size({f.number << 3 | 2}, len);")
    return out + ["    }"]


def encoder(name, fields):
    s = snake(name)
    out = [f"size_t pb_{s}_size(const struct pb_{s} *m)", "{", "    size_t n = 0;"]
    for f in fields:
        numbers = f.repeated and f.kind in SCALARS
        out += packed(f, False) if numbers else each(f, lambda item, pad: [size_line(f, item, pad)])
    out += [
        "    (void)m;",
        "    return n;",
        "}",
        "",
        f"uint8_t *pb_{s}_put(uint8_t *p, const struct pb_{s} *m)",
        "{",
    ]
    for f in fields:
        numbers = f.repeated and f.kind in SCALARS
        out += packed(f, True) if numbers else each(f, lambda item, pad: put_lines(f, item, pad))
    out += [
        "    (void)m;",
        "    return p;",
        "}",
        "",
        f"void pb_{s}_encode(const struct pb_{s} *m, struct buf *out)",
        "{",
        f"    size_t size = pb_{s}_size(m);",
        "    uint8_t *p = buf_room(out, size);",
        f"    CHECK(pb_{s}_put(p, m) == p + size);",
        "    out->len += size;",
        "}",
        "",
    ]
    return out


def enum_shape(name, values):
    s = snake(name.replace(".", "_"))
    rows = "".join(f'\n    {{ "{n}", {v} }},' for n, v in values)
    return [
        f"static const struct pb_enum_name {s}_names[] = {{{rows}\n}};",
        f"static const struct pb_enum {s}_enum = {{ {s}_names, {len(values)} }};",
        "",
    ]


def shape(name, fields):
    s = snake(name)
    oneofs = list(dict.fromkeys(f.oneof for f in fields if f.oneof))
    out = [f"static const struct pb_shape_field {s}_fields[] = {{"]
    for f in fields:
        kind = "MESSAGE" if f.message else "ENUM" if f.enum else f.kind.upper()
        inner = f"&pb_{snake(f.kind)}_shape" if f.message else "NULL"
        names = f"&{snake(f.enum.replace('.', '_'))}_enum" if f.enum else "NULL"
        out.append(
            f'    {{ "{f.label}", {f.number}, PB_IS_{kind}, {str(f.repeated).lower()}, '
            f"{oneofs.index(f.oneof) + 1 if f.oneof else 0}, {inner}, {names} }},"
        )
    if not fields:
        out.append('    { "", 0, PB_IS_BOOL, false, 0, NULL, NULL },')
    out += [
        "};",
        f'const struct pb_shape pb_{s}_shape = {{ "{name}", {s}_fields, {len(fields)} }};',
        "",
    ]
    return out


# ---- descriptors, as google/protobuf/descriptor.proto has them: what reflection tells ----

TYPES = {"double": 1, "int64": 3, "uint64": 4, "int32": 5, "bool": 8, "string": 9, "bytes": 12}
TYPES["uint32"] = 13
MESSAGE, ENUM, OPTIONAL, REPEATED = 11, 14, 1, 3


def varint(v):
    out = b""
    while v >= 0x80:
        out += bytes([v & 0x7F | 0x80])
        v >>= 7
    return out + bytes([v])


def number_field(number, v):
    return varint(number << 3) + varint(v)


def bytes_field(number, v):
    v = v.encode() if isinstance(v, str) else v
    return varint(number << 3 | 2) + varint(len(v)) + v


def enum_descriptor(name, values):
    out = bytes_field(1, name.split(".")[-1])
    for label, number in values:
        out += bytes_field(2, bytes_field(1, label) + number_field(2, int(number)))
    return out


def field_descriptor(f, oneofs, packages):
    kind = f.enum or f.kind
    out = bytes_field(1, f.label) + number_field(3, f.number)
    out += number_field(4, REPEATED if f.repeated else OPTIONAL)
    out += number_field(5, MESSAGE if f.message else ENUM if f.enum else TYPES[f.kind])
    if f.message or f.enum:
        out += bytes_field(6, f".{packages[kind]}.{called(kind)}")
    if f.oneof or f.optional:
        out += number_field(9, oneofs.index(f.oneof or "_" + f.label))
    return out + (number_field(17, 1) if f.optional else b"")


def message_descriptor(name, messages, enums, packages):
    """What is optional is a oneof of its own there, behind the others."""
    fields = messages[name]
    oneofs = list(dict.fromkeys(f.oneof for f in fields if f.oneof))
    oneofs += ["_" + f.label for f in fields if f.optional]
    out = bytes_field(1, called(name).split(".")[-1])
    for f in fields:
        out += bytes_field(2, field_descriptor(f, oneofs, packages))
    for inner in messages:
        if inner.startswith(name + "."):  # of a map
            entry = message_descriptor(inner, messages, enums, packages)
            out += bytes_field(3, entry + bytes_field(7, number_field(7, 1)))
    for e, values in enums.items():
        if e.startswith(name + "."):
            out += bytes_field(4, enum_descriptor(e, values))
    for o in oneofs:
        out += bytes_field(8, bytes_field(1, o))
    return out


def method_descriptor(method, packages):
    _, name, request, response, ins, outs = method
    out = bytes_field(1, name)
    out += bytes_field(2, f".{packages[request]}.{called(request)}")
    out += bytes_field(3, f".{packages[response]}.{called(response)}")
    return out + (number_field(5, 1) if ins else b"") + (number_field(6, 1) if outs else b"")


def needs(package, messages, methods, packages):
    """The other packages that one speaks of."""
    used = {f.enum or f.kind for m in messages if packages[m] == package for f in messages[m]}
    for service, _, request, response, _, _ in methods:
        if packages[service] == package:
            used |= {request, response}
    return sorted({packages[u] for u in used if u in packages} - {package})


def file_of(package):
    if package == "google.protobuf":
        return "google/protobuf/struct.proto"  # what all others call it
    return package.replace(".", "/") + ".proto"


def descriptor(package, messages, enums, methods, packages):
    """(its bytes, the names in it)"""
    names = []
    out = bytes_field(1, file_of(package)) + bytes_field(2, package)
    for other in needs(package, messages, methods, packages):
        out += bytes_field(3, file_of(other))
    for name in messages:
        if packages[name] == package and "." not in name:
            out += bytes_field(4, message_descriptor(name, messages, enums, packages))
    for name, values in enums.items():
        if packages[name] == package and "." not in name:
            out += bytes_field(5, enum_descriptor(name, values))
    names = [f"{package}.{called(n)}" for n in (*messages, *enums) if packages[n] == package]
    for service in dict.fromkeys(m[0] for m in methods if packages[m[0]] == package):
        own = [m for m in methods if m[0] == service]
        text = bytes_field(1, service.split(".")[-1])
        for m in own:
            text += bytes_field(2, method_descriptor(m, packages))
        out += bytes_field(6, text)
        names += [service] + [f"{service}.{m[1]}" for m in own]
    return out + bytes_field(12, "proto3"), names


def files(messages, enums, methods, packages, stem):
    rows, out = [], []
    for i, package in enumerate(dict.fromkeys(packages.values())):
        data, names = descriptor(package, messages, enums, methods, packages)
        others = [file_of(o) for o in needs(package, messages, methods, packages)]
        quoted = "".join(f'\n    "{n}",' for n in names)
        uses = "".join(f' "{o}",' for o in others)
        lines = [", ".join(str(b) for b in data[k : k + 24]) for k in range(0, len(data), 24)]
        out += [
            f"static const uint8_t {stem}_file_{i}[] = {{",
            *(f"    {line}," for line in lines),
            "};",
            f"static const char *const {stem}_names_{i}[] = {{{quoted}\n    NULL,\n}};",
            f"static const char *const {stem}_uses_{i}[] = {{{uses} NULL }};",
        ]
        rows.append(
            f'    {{ "{file_of(package)}", {stem}_names_{i}, {stem}_uses_{i}, {stem}_file_{i}, '
            f"sizeof({stem}_file_{i}) }},"
        )
    return out + [f"const struct pb_file {stem}_pb_files[] = {{", *rows] + [
        "    { NULL, NULL, NULL, NULL, 0 },\n};\n"
    ]


def main():
    source, folder = sys.argv[1:]
    stem = os.path.splitext(os.path.basename(source))[0]
    text = open(source, encoding="utf-8").read()
    messages, enums, methods, packages = parse(text)
    shapes = "\n// codec alone" not in text
    os.makedirs(folder, exist_ok=True)
    code = [
        f"/* Made by tools/protogen.py from {os.path.basename(source)}. */",
        f'#include "wire/protobuf/{stem}_pb.h"',
        '#include "base/check.h"',
        "",
    ]
    for name in messages:
        s = snake(name)
        code.append(
            f"static enum err merge_{s}(struct span in, struct arena *arena, int depth,\n"
            f"    struct pb_{s} *out);"
        )
    for name, values in enums.items() if shapes else ():
        code += enum_shape(name, values)
    for name, fields in messages.items():
        code += decoder(name, fields) + encoder(name, fields)
        code += shape(name, fields) if shapes else []
    code += files(messages, enums, methods, packages, stem)
    table = [
        f"/* PB_METHOD(path, service, name, request, response, client streams, server streams) */"
    ]
    for service, name, request, response, ins, outs in methods:
        table.append(
            f'PB_METHOD("/{service}/{name}", "{service}", "{name}", '
            f"{snake(request)}, {snake(response)}, "
            f"{str(ins).lower()}, {str(outs).lower()})"
        )
    for suffix, text in (
        ("_pb.h", header(messages, enums, stem, shapes)),
        ("_pb.c", "\n".join(code)),
        ("_methods.def", "\n".join(table) + "\n"),
    ):
        with open(os.path.join(folder, stem + suffix), "w", encoding="utf-8") as out:
            out.write(text)


main()
