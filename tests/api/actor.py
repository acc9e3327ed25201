"""A user's process that a test can talk to: it runs the code it is sent, as ``__main__`` of a file called actor.py."""

import os
import pathlib
import pickle
import struct
import sys

sys.path.insert(0, str(pathlib.Path.cwd()))
_answers = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)  # what the code prints goes to the log


def _serve() -> None:
    questions = os.fdopen(os.dup(0), "rb")
    while head := questions.read(4):
        kind, code = pickle.loads(questions.read(struct.unpack("<I", head)[0]))
        try:
            if kind == "run":
                exec(compile(code, "<test>", "exec"), globals())
                value = None
            else:
                value = eval(compile(code, "<test>", "eval"), globals())
            answer = pickle.dumps((True, value))
        except BaseException as error:
            import traceback

            kinds = [kind.__name__ for kind in type(error).__mro__]
            cause = type(error.__cause__).__name__ if error.__cause__ else None
            said = (kinds, str(error), getattr(error, "ran", None), cause, traceback.format_exc())
            answer = pickle.dumps((False, said))
        _answers.write(struct.pack("<I", len(answer)) + answer)
        _answers.flush()


if __name__ == "__main__":
    _serve()
