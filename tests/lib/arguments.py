# SPDX-License-Identifier: Apache-2.0
"""What the test programs ask of their arguments, as types for argparse: what does not fit is refused before anything starts."""
import argparse
import os
import re


def whole_number(least):
    def number(text):
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", text) or int(text) < least:
            raise argparse.ArgumentTypeError(f'"{text}": expected a whole number from {least}')
        return int(text)
    return number


def record_folder(text):
    if not os.path.isdir(text) or not os.access(text, os.W_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f'"{text}": expected a folder that exists and can be written to')
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
