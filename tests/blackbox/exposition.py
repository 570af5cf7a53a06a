# SPDX-License-Identifier: MIT
"""A strict reader of Prometheus' text format 0.0.4."""
import re

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')
NUMBER = re.compile(
    r"(?:[+-]?(?:[0-9]+(?:\.[0-9]*)?(?:e[+-]?[0-9]+)?|Inf)|NaN)\Z")
TYPES = ("counter", "gauge", "histogram", "summary", "untyped")
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"),
            "summary": ("", "_sum", "_count")}


def unescape(s):
    return re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), s)


class Family:
    def __init__(self, name, help_):
        self.name = name
        self.help = help_
        self.type = None
        self.samples = {}       # (suffix, ((label, value), …)) → number


def read_labels(text):
    labels, at = [], 0
    while at < len(text):
        m = LABEL.match(text, at)
        assert m, "bad labels: " + text
        labels.append((m[1], unescape(m[2])))
        at = m.end()
        if at < len(text):
            assert text[at] == "," and at + 1 < len(text), text
            at += 1
    names = [k for k, _ in labels]
    assert len(set(names)) == len(names), "a label twice: " + text
    return tuple(sorted(labels))


def read_sample(family, line):
    m = re.match(r"([a-zA-Z0-9_:]+)(?:\{(.*)\})? (\S+)\Z", line)
    assert m, "bad sample: " + line
    assert m[1].startswith(family.name), line + " is outside of its family"
    suffix = m[1][len(family.name):]
    assert suffix in SUFFIXES.get(family.type, ("",)), line
    assert NUMBER.match(m[3]), line
    key = (suffix, read_labels(m[2] or ""))
    assert key not in family.samples, "a series twice: " + line
    family.samples[key] = float(m[3])


def check_histogram(family):
    series = {}
    for (suffix, labels), v in family.samples.items():
        rest = tuple(x for x in labels if x[0] != "le")
        s = series.setdefault(rest, {"buckets": []})
        if suffix == "_bucket":
            s["buckets"].append((float(dict(labels)["le"]), v))
        else:
            s[suffix] = v
    for s in series.values():
        assert {"_sum", "_count"} <= set(s), s
        bounds = [b for b, _ in s["buckets"]]
        counts = [n for _, n in s["buckets"]]
        assert bounds == sorted(bounds) and bounds[-1] == float("inf"), s
        assert counts == sorted(counts) and counts[-1] == s["_count"], s


def parse(text):
    """Families by name; an AssertionError says what is wrong."""
    assert text.endswith("\n")
    families, family = {}, None
    for line in text[:-1].split("\n"):
        assert line, "an empty line"
        if line.startswith("# HELP "):
            name, help_ = line[7:].split(" ", 1)
            assert NAME.match(name), line
            assert name not in families, "a family twice: " + line
            assert help_, line
            family = families[name] = Family(name, unescape(help_))
        elif line.startswith("# TYPE "):
            name, type_ = line[7:].split(" ")
            assert family and name == family.name, line
            assert family.type is None and not family.samples, line
            assert type_ in TYPES, line
            family.type = type_
        else:
            assert family and family.type, line + " comes before its TYPE"
            read_sample(family, line)
    for f in families.values():
        assert f.type, f.name
        if f.type == "histogram":
            check_histogram(f)
        if f.type == "counter":
            assert f.name.endswith("_total"), f.name
            assert all(v >= 0 for v in f.samples.values()), f.name
    return families


def value(families, name, suffix="", **labels):
    key = (suffix, tuple(sorted(labels.items())))
    return families[name].samples[key]
