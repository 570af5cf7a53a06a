# SPDX-License-Identifier: MIT
"""Answers that are the same with other bytes."""
import re


def split(raw):
    """The lengths and items of an answer, sorted."""
    return sorted(re.split(rb"(?=[$*~%:,_#]-?\d*\r\n)", raw))


def unordered(command, ours, theirs):
    """A flat array, set or map whose order nobody promises. Of a map the
    pairs are not kept together: a wrong one shows in HGET."""
    return ours[:1] == theirs[:1] and ours[:1] in b"*~%" and \
        split(ours) == split(theirs)


def same_length(command, ours, theirs):
    """Any element, or any elements, but so many."""
    if ours[:1] == theirs[:1] == b"$":
        return ours[1:2] != b"-" and theirs[1:2] != b"-"
    return ours.split(b"\r\n")[0] == theirs.split(b"\r\n")[0] and \
        ours[:1] in b"*~"


def near_time(command, ours, theirs):
    """What was said as a span counts from two different moments."""
    if theirs[:1] != b":" or ours[:1] != b":":
        return False
    a, b = int(ours[1:]), int(theirs[1:])
    slack = 20000 if command[0].upper().startswith("P") else 20
    return min(a, b) > 0 and abs(a - b) <= slack
