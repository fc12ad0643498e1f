#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
"""Makes man pages and bash completion from what the command says with --help, so that neither can say anything else.

usage: help_pages.py SYSTOLE man FOLDER          systole.1 and systole-COMMAND.1 for each command
       help_pages.py SYSTOLE completion FILE
"""
import os
import re
import subprocess
import sys


def ask(*arguments):
    return subprocess.run(arguments, check=True, stdout=subprocess.PIPE, text=True).stdout


def commands(systole):
    """(name, summary) of each command, in the order of the overview."""
    return re.findall(r"^  ([a-z]+) +(\S.*)$", ask(systole, "--help"), re.M)


class Help:
    """What `systole COMMAND --help` prints: usage, text, options as (short, long, argument, meaning)."""

    def __init__(self, systole, name):
        lines = ask(systole, name, "--help").rstrip("\n").split("\n")
        self.usage = re.fullmatch(rf"usage: systole {name} ?(.*)", lines[0]).group(1)
        self.text, self.options = [], []
        for line in lines[1:]:
            option = re.fullmatch(r"  (?:-(\w), )?--([\w-]+)(?: (\S+))?  +(\S.*)", line)
            if option:
                self.options.append(option.groups(default=""))
            else:
                self.text.append(line)


def escape(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", text)


def paragraphs(lines):
    """Blocks as they are: lines that begin with a blank keep their shape."""
    out, literal = [], False
    for line in "\n".join(lines).strip("\n").split("\n"):
        if line.startswith(" ") != literal:
            literal = not literal
            out.append(".RS 2\n.nf" if literal else ".fi\n.RE")
        out.append(escape(line) if line else ".PP")
    return out + ([".fi\n.RE"] if literal else [])


EXIT = """.SH EXIT STATUS
0 success; 1 a comparison failed; 2 bad usage, bad input or unsupported; 3 the device failed."""


def page(name, version, summary, synopsis, body, see):
    return "\n".join(
        [
            ".\\\" Made from `systole --help` by packaging/help_pages.py.",
            f'.TH {name.upper()} 1 "" "Systole {version}" "Systole"',
            ".SH NAME",
            f"{escape(name)} \\- {escape(summary)}",
            ".SH SYNOPSIS",
            synopsis,
            *body,
            EXIT,
            ".SH SEE ALSO",
            ", ".join(f".BR {escape(s)} (1)" for s in see[:1]) + "".join(f",\n.BR {escape(s)} (1)" for s in see[1:]),
        ]
    ) + "\n"


def write_man(systole, folder):
    version = ask(systole, "--version").split()[1]
    names = commands(systole)
    os.makedirs(folder, exist_ok=True)
    body = [".SH DESCRIPTION", escape(ask(systole, "--help").split("\n")[0]), ".SH COMMANDS"]
    for name, summary in names:
        body += [".TP", f".BR systole\\-{name} (1)", escape(summary)]
    pages = {
        "systole": page(
            "systole",
            version,
            "compiler, runtime and devices of an open neural accelerator",
            ".B systole\n.I COMMAND\n[\\fIARGUMENTS\\fR]\n.br\n.B systole \\-\\-version",
            body,
            [f"systole-{name}" for name, _ in names],
        )
    }
    for name, summary in names:
        told = Help(systole, name)
        body = [".SH DESCRIPTION", *paragraphs(told.text)]
        if told.options:
            body.append(".SH OPTIONS")
        for short, long, argument, meaning in told.options:
            left = (f"\\fB\\-{short}\\fR, " if short else "") + f"\\fB{escape('--' + long)}\\fR"
            body += [".TP", left + (f" \\fI{escape(argument)}\\fR" if argument else ""), escape(meaning)]
        pages[f"systole-{name}"] = page(
            f"systole-{name}", version, summary, f".B systole {name}\n{escape(told.usage)}", body, ["systole"]
        )
    for name, text in pages.items():
        with open(os.path.join(folder, f"{name}.1"), "w", encoding="utf-8") as file:
            file.write(text)


COMPLETION = """# bash completion of systole; made from its help texts.
_systole() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} i options= devices= files=yes
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "@COMMANDS@ --help --version" -- "$word"))
        return
    fi
    for ((i = 2; i < COMP_CWORD; i++)); do # behind -- another command begins
        if [ "${COMP_WORDS[i]}" = -- ]; then
            COMPREPLY=($(compgen -c -f -- "$word"))
            return
        fi
    done
    case "${COMP_WORDS[1]}" in
@CASES@
    esac
    case "$before" in
    --device) COMPREPLY=($(compgen -W "$devices" -- "$word")); return ;;
    --target) COMPREPLY=($(compgen -W "@TARGETS@" -f -- "$word")); return ;;
    @WORDS@) return ;;
    esac
    if [[ "$word" == -* ]]; then
        COMPREPLY=($(compgen -W "$options --help" -- "$word"))
    elif [ "$files" = yes ]; then
        COMPREPLY=($(compgen -f -- "$word"))
    fi
}
complete -o filenames -F _systole systole
"""


def write_completion(systole, path):
    names = [name for name, _ in commands(systole)]
    cases, words = [], set()
    for name in names:
        told = Help(systole, name)
        flags = [f"-{short}" for short, _, _, _ in told.options if short]
        flags += [f"--{long}" for _, long, _, _ in told.options]
        words |= {
            f"--{long}"
            for _, long, argument, _ in told.options
            if argument and not re.search("FILE|DIR|DEVICE|NAME", argument)
        }
        files = "yes" if re.search("FILE|MODEL|PROGRAM|DIR", told.usage) else "no"
        taken = "".join(meaning for _, long, _, meaning in told.options if long == "device")
        devices = " ".join(re.findall(r"\b(?:cpu|model|rtl|usb)\b(?!:)|usb:(?=N)", taken.split(";")[0]))
        cases.append(f'    {name}) options="{" ".join(flags)}" devices="{devices}" files={files} ;;')
    targets = re.findall(r"^(systole\d+)", ask(systole, "targets"), re.M)
    text = COMPLETION
    for key, value in {
        "COMMANDS": " ".join(names),
        "TARGETS": " ".join(dict.fromkeys(targets)),
        "WORDS": "|".join(sorted(words)) or "--",
        "CASES": "\n".join(cases),
    }.items():
        text = text.replace(f"@{key}@", value)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    binary, what, where = sys.argv[1:]
    {"man": write_man, "completion": write_completion}[what](binary, where)
