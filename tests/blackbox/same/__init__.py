# SPDX-License-Identifier: MIT
"""The daemon beside a real Redis: the same commands, the same bytes.

A module makes the commands of one type of key if it has
    commands(m)     a list of functions that each answer with one command, a
                    list of strings, or with several, a list of such lists; m
                    is a Maker: random words, mostly right, on few keys
    COMPARE         {command name: f(command, ours, theirs) → bool} where the
                    same answer may have other bytes (optional)
"""
