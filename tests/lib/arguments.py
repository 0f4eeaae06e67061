# SPDX-License-Identifier: Apache-2.0
"""What the test programs ask of their arguments, as types for argparse: what does not fit is refused before anything starts."""
import argparse
import os
import re

from lib.process import changes

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def whole_number(least):
    def number(text):
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", text) or int(text) < least:
            raise argparse.ArgumentTypeError(f'"{text}": expected a whole number from {least}')
        return int(text)
    return number


def folder_for_records(text):
    if not os.path.isdir(text) or not os.access(text, os.W_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f'"{text}": expected a folder that exists and can be written to')
    return text


def record_folder(text):
    """Of a runner that begins. A record is of a commit: what is changed must not be, but for the records of other runs."""
    changed = changes(ROOT, folder_for_records(text))
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise argparse.ArgumentTypeError(f"there are changes, and a record is of a commit: {', '.join(changed[:3])}{more}")
    return text


def program(text):
    if not os.path.isfile(text) or not os.access(text, os.X_OK):
        raise argparse.ArgumentTypeError(f'"{text}": expected a program')
    return os.path.abspath(text)


def build_folder(*programs):
    """With these programs in it."""
    def folder(text):
        for name in programs:
            if not os.path.isfile(os.path.join(text, name)):
                raise argparse.ArgumentTypeError(f'"{text}": expected a build folder, with {name} in it')
        return os.path.abspath(text)
    return folder
