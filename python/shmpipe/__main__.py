"""``python -m shmpipe PROGRAM ARGS...``: run a program on shmpipe as it is.

``python -m shmpipe -m MODULE ARGS...`` runs a module, and ``-c CODE ARGS...`` runs code.
"""

import io
import os
import runpy
import sys
import types

import shmpipe

USAGE = "usage: python -m shmpipe [-m MODULE | -c CODE | PROGRAM] [ARGS...]"


def _run_as_main(code, path):
    module = types.ModuleType("__main__")
    module.__builtins__ = __builtins__
    if path is not None:
        # A child that is started with a new interpreter finds the program by this.
        module.__file__ = path
        module.__cached__ = None
    # Kept for the functions of the program, which threads and exit handlers call after it.
    sys.modules["__main__"] = module
    exec(code, module.__dict__)


def main():
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE, file=sys.stderr if not arguments else sys.stdout)
        return 0 if arguments else 2
    shmpipe.install()
    option, rest = arguments[0], arguments[1:]
    if option in ("-m", "-c"):
        if not rest:
            print(USAGE, file=sys.stderr)
            return 2
        if option == "-m":
            sys.argv = rest
            sys.path[0] = os.getcwd()
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        else:
            sys.argv = ["-c", *rest[1:]]
            sys.path[0] = ""
            _run_as_main(compile(rest[0], "<string>", "exec"), None)
        return 0
    sys.argv = arguments
    path = os.path.abspath(option)
    sys.path[0] = os.path.dirname(path)
    with io.open_code(path) as file:
        source = file.read()
    _run_as_main(compile(source, option, "exec"), path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
