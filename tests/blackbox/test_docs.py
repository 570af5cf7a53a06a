# SPDX-License-Identifier: MIT
"""The manual pages and the completion know what the programs know; the
options of the configuration and the functions of scripts are looked up by
unit tests (test_conf, test_script_sandbox)."""
import os
import re
import subprocess

import pytest

from daemon import TOP, find_binary


def read(*path):
    with open(os.path.join(TOP, *path), encoding="utf-8") as f:
        return f.read()


def say(*argv):
    return subprocess.run([find_binary(argv[0]), *argv[1:]], check=True,
                          capture_output=True, text=True).stdout


def commands():
    """Each command of bellhopctl, of one word or two."""
    found = re.findall(r"^  (\S+(?: \S+)*?)  +\S", say("bellhopctl", "help"),
                       re.M)
    found = [c for c in found if not c.startswith("-")]
    assert len(found) > 30 and "schedule set" in found
    return found


def long_options(text):
    return sorted(set(re.findall(r"--[a-z][a-z-]+", text)))


def options_of(command):
    """Those of its own; "the options of add but --at" names one that is not."""
    return long_options(re.sub(r"but --[a-z]+", "", say(
        "bellhopctl", "help", *command.split())))


def described(page):
    """The commands that the entries of a manual page begin with."""
    part = page.split("\n# JOBS\n")[1].split("\n# ENVIRONMENT\n")[0]
    heads = re.findall(r"^\*.*\n\t", part, re.M)
    return [c for h in heads
            for c in re.findall(r"(?:^|, )\*([a-z][a-z ]*)\*", h)]


@pytest.fixture(scope="module")
def page():
    return read("doc", "bellhopctl.1.scd")


def test_the_manual_has_every_command_and_option(page):
    for command in commands():
        assert command in described(page), command
        for option in options_of(command):
            assert "*%s*" % option in page, (command, option)


def test_the_manual_has_no_command_that_is_gone(page):
    assert set(described(page)) <= set(commands())


def test_bellhopd_8_has_every_option():
    page = read("doc", "bellhopd.8.scd")
    for option in long_options(say("bellhopd", "--help")):
        if option != "--help":
            assert re.search(r"^\*%s\*" % option, page, re.M), option


def complete(*words):
    """What bash offers for the last of these words."""
    script = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_bellhopctl
printf '%s\\n' "${COMPREPLY[@]}"
"""
    out = subprocess.run(
        ["bash", "-c", script, "-",
         os.path.join(TOP, "etc", "bellhopctl.bash-completion"),
         "bellhopctl", *words], check=True, capture_output=True,
        text=True).stdout
    return out.split()


def test_completion_offers_every_command():
    offered = complete("")
    for command in commands():
        words = command.split()
        assert words[0] in offered, command
        if len(words) == 2:
            assert words[1] in complete(words[0], ""), command


def test_completion_offers_every_option():
    for command in commands():
        offered = complete(*command.split(), "--")
        for option in options_of(command):
            assert option in offered, (command, option)
