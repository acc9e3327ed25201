"""A user's process that a test can talk to: it runs the code it is sent, as ``__main__`` of a file called actor.py.

Given the number of a socket, it is a whole net in memory instead, and each peer of it is talked to as such a process is.
"""

import os
import pathlib
import pickle
import struct
import sys

sys.path.insert(0, str(pathlib.Path.cwd()))


def serve(questions, answers, namespace) -> None:
    """Run what is asked for, in this namespace, until nobody asks any more."""
    while head := questions.read(4):
        kind, code = pickle.loads(questions.read(struct.unpack("<I", head)[0]))
        try:
            if kind == "run":
                exec(compile(code, "<test>", "exec"), namespace)
                value = None
            else:
                value = eval(compile(code, "<test>", "eval"), namespace)
            answer = pickle.dumps((True, value))
        except BaseException as error:
            import traceback

            kinds = [kind.__name__ for kind in type(error).__mro__]
            cause = type(error.__cause__).__name__ if error.__cause__ else None
            said = (kinds, str(error), getattr(error, "ran", None), cause, traceback.format_exc())
            answer = pickle.dumps((False, said))
        answers.write(struct.pack("<I", len(answer)) + answer)
        answers.flush()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        from tests.api.in_memory import host

        host(int(sys.argv[1]))
    else:
        to_the_test = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)  # what the code prints goes to the log
        serve(os.fdopen(os.dup(0), "rb"), to_the_test, globals())
